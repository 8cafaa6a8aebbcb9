package commands

import "fmt"

// Plural writes how many there are of what a noun names: "1 table", "3 tables".
func Plural[N int | int64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Rows writes a number of rows.
func Rows(n int64) string { return Plural(n, "row") }

// Word is a cell for a text of which "" means that there is none.
func Word(s string) any {
	if s == "" {
		return nil
	}
	return s
}
