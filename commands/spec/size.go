package spec

import (
	"math"
	"strconv"
)

// AppendSize writes bytes as people read them, with at most one decimal: 512 B, 1.5 MiB.
func AppendSize(dst []byte, n int64) []byte {
	value, unit := float64(n), 0
	units := [...]string{" B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"}
	for unit < len(units)-1 && math.Abs(math.Round(value*10)/10) >= 1024 {
		value /= 1024
		unit++
	}
	return append(strconv.AppendFloat(dst, math.Round(value*10)/10, 'f', -1, 64), units[unit]...)
}

// SizeText is AppendSize for what is said in words.
func SizeText(n int64) string { return string(AppendSize(nil, n)) }
