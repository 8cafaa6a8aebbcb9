package spec

import (
	"math"
	"strconv"
	"strings"
)

// rateUnits are what a rate may be counted in, by the end of its text. Without a unit it is rows.
var rateUnits = []struct {
	unit  string
	bytes float64 // 0 for rows
}{
	{"rows/s", 0},
	{"KiB/s", 1 << 10},
	{"MiB/s", 1 << 20},
	{"GiB/s", 1 << 30},
	{"KB/s", 1e3},
	{"MB/s", 1e6},
	{"GB/s", 1e9},
	{"B/s", 1},
}

// ParseRate reads "50000", "50000rows/s", "20MB/s", "20MiB/s", a limit of each kind joined by a comma, or "none". Rates are
// above 0; "" is no limit.
func ParseRate(text string) (Rate, error) {
	var r Rate
	if text == "" || text == "none" {
		return r, nil
	}
	wrong := func(why string) error {
		return Errorf(Usage, "%q is no rate: %s; write 50000rows/s, 20MB/s, both with a comma, or none", text, why)
	}
	for part := range strings.SplitSeq(text, ",") {
		number, bytes := part, 0.0
		for _, u := range rateUnits {
			if n, ok := strings.CutSuffix(part, u.unit); ok {
				number, bytes = n, u.bytes
				break
			}
		}
		limit := &r.Rows
		if bytes > 0 {
			limit = &r.Bytes
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		switch {
		case err != nil:
			return Rate{}, wrong("the units are rows/s, KB/s, MB/s, GB/s, KiB/s, MiB/s, GiB/s")
		case !(n > 0) || math.IsInf(n, 0):
			return Rate{}, wrong("it must be above 0")
		case *limit > 0:
			return Rate{}, wrong("it limits the same thing twice")
		}
		*limit = n * max(bytes, 1)
	}
	return r, nil
}

// String is the rate as ParseRate reads it: "50000rows/s,20MB/s", "none".
func (r Rate) String() string {
	var parts []string
	if r.Rows > 0 {
		parts = append(parts, plainNumber(r.Rows)+"rows/s")
	}
	if r.Bytes > 0 {
		unit, size := "B/s", 1.0
		for _, u := range rateUnits {
			if u.bytes > size && math.Mod(r.Bytes, u.bytes) == 0 {
				unit, size = u.unit, u.bytes
			}
		}
		parts = append(parts, plainNumber(r.Bytes/size)+unit)
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ",")
}

// mostRate bounds what keys raise a limit to: far beyond what any machine does, and a number that prints.
const mostRate = 1e15

// Raised is the limit after the key + of a job with that RateStep. The error, of kind Refused, says why there is none.
func (r Rate) Raised(step Rate) (Rate, error) {
	return r.moved(step, "raise", func(limit, by float64) float64 {
		if by == 0 {
			by = limit
		}
		return max(limit, min(limit+by, mostRate))
	})
}

// Lowered is the limit after the key -, see Raised.
func (r Rate) Lowered(step Rate) (Rate, error) {
	return r.moved(step, "lower", func(limit, by float64) float64 {
		if by == 0 {
			return max(math.Floor(limit/2), min(limit, 1))
		}
		return max(limit-by, min(limit, by))
	})
}

func (r Rate) moved(step Rate, what string, move func(limit, by float64) float64) (Rate, error) {
	next, limited := r, false
	for _, kind := range []struct {
		limit *float64
		by    float64
	}{{&next.Rows, step.Rows}, {&next.Bytes, step.Bytes}} {
		if *kind.limit > 0 && (kind.by > 0 || step == Rate{}) {
			*kind.limit, limited = move(*kind.limit, kind.by), true
		}
	}
	switch {
	case !limited:
		return r, Errorf(Refused, "no limit is set that keys could %s", what)
	case next == r:
		return r, Errorf(Refused, "the limit is %s, and keys %s it no further", r, what)
	}
	return next, nil
}

func plainNumber(n float64) string { return strconv.FormatFloat(n, 'f', -1, 64) }

// Rate returns a flag declared ArgRate, no limit when it has neither value nor default.
func (c *Call) Rate(name string) Rate {
	r, _ := ParseRate(c.String(name))
	return r
}
