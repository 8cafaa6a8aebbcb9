package spec

import (
	"cmp"
	"slices"
	"strings"
)

// Suggest returns what was probably meant by a mistyped word, at most three, the nearest first: those at a
// Damerau–Levenshtein distance of at most 2, or 1 for words of up to three letters, whatever their case.
func Suggest(word string, among []string) []string {
	const maxWord = 64 // no name we know is longer, and the distance takes the product of the lengths
	typed := []rune(strings.ToLower(word))
	if len(typed) == 0 || len(typed) > maxWord {
		return nil
	}
	limit := 2
	if len(typed) <= 3 {
		limit = 1
	}
	type candidate struct {
		word     string
		distance int
	}
	var near []candidate
	for _, w := range among {
		known := []rune(strings.ToLower(w))
		if w == word || len(known)-len(typed) > limit || len(typed)-len(known) > limit {
			continue
		}
		if d := distance(typed, known); d <= limit {
			near = append(near, candidate{w, d})
		}
	}
	slices.SortStableFunc(near, func(a, b candidate) int { return cmp.Compare(a.distance, b.distance) })
	var words []string
	for _, c := range near {
		if !slices.Contains(words, c.word) && len(words) < 3 {
			words = append(words, c.word)
		}
	}
	return words
}

// distance counts the letters to insert, delete, replace or swap with their neighbour; no letter is touched twice.
func distance(a, b []rune) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			replace := last[j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			row[j] = min(replace, last[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
