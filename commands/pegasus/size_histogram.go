package pegasus

import (
	"math"
	"math/bits"

	"shardsh/commands/spec"
)

// sizeHistogram counts sizes in steps that grow with them: sixteen in each power of two, so that a percentile is at
// most 1/16 above what it stands for. Sizes up to 16 are exact.
type sizeHistogram struct {
	steps      [sizeSteps * (32 - 3)]int64
	count, sum int64
	least      int
	most       int
}

const sizeSteps = 16

func sizeStep(n int) int {
	n = min(max(n, 0), math.MaxInt32)
	if n < sizeSteps {
		return n
	}
	shift := bits.Len(uint(n)) - 5 // n >> shift is 16 to 31
	return (shift+1)*sizeSteps + n>>shift - sizeSteps
}

// stepEnd is the largest size of a step.
func stepEnd(i int) int {
	if i < sizeSteps {
		return i
	}
	shift := i/sizeSteps - 1
	return (i%sizeSteps+sizeSteps+1)<<shift - 1
}

func (h *sizeHistogram) add(n int) {
	h.steps[sizeStep(n)]++
	if h.count == 0 || n < h.least {
		h.least = n
	}
	h.most = max(h.most, n)
	h.count++
	h.sum += int64(n)
}

func (h *sizeHistogram) merge(other *sizeHistogram) {
	if other.count == 0 {
		return
	}
	if h.count == 0 || other.least < h.least {
		h.least = other.least
	}
	h.most = max(h.most, other.most)
	h.count += other.count
	h.sum += other.sum
	for i, n := range other.steps {
		h.steps[i] += n
	}
}

// percentile is the size that share of the rows do not exceed, or a little more.
func (h *sizeHistogram) percentile(share float64) int64 {
	left := int64(math.Ceil(share * float64(h.count)))
	for i, n := range h.steps {
		if left -= n; left <= 0 {
			return int64(min(stepEnd(i), h.most))
		}
	}
	return int64(h.most)
}

// row is the histogram in the columns of sizesTable; there is nothing to say of no rows.
func (h *sizeHistogram) row(name string) spec.Row {
	if h.count == 0 {
		return spec.Row{name, nil, nil, nil, nil, nil, nil, int64(0)}
	}
	return spec.Row{
		name, int64(h.least), h.sum / h.count, h.percentile(0.5), h.percentile(0.9), h.percentile(0.99), int64(h.most), h.sum,
	}
}
