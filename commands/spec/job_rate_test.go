package spec

import "testing"

func TestParseRate(t *testing.T) {
	for text, want := range map[string]struct {
		rate Rate
		back string
	}{
		"":                     {Rate{}, "none"},
		"none":                 {Rate{}, "none"},
		"50000":                {Rate{Rows: 50000}, "50000rows/s"},
		"50000rows/s":          {Rate{Rows: 50000}, "50000rows/s"},
		"20MB/s":               {Rate{Bytes: 20e6}, "20MB/s"},
		"20MiB/s":              {Rate{Bytes: 20 << 20}, "20MiB/s"},
		"0.5KB/s":              {Rate{Bytes: 500}, "500B/s"},
		"1GiB/s,7.5rows/s":     {Rate{Rows: 7.5, Bytes: 1 << 30}, "7.5rows/s,1GiB/s"},
		"10 rows/s, 300 KiB/s": {Rate{Rows: 10, Bytes: 300 << 10}, "10rows/s,300KiB/s"},
	} {
		got, err := ParseRate(text)
		if err != nil || got != want.rate || got.String() != want.back {
			t.Errorf("%q is %+v, %q, %v", text, got, got.String(), err)
		}
		if again, err := ParseRate(got.String()); err != nil || again != got {
			t.Errorf("%q does not read back: %+v, %v", got.String(), again, err)
		}
	}
	for _, text := range []string{"0", "-1", "NaN", "Inf", "x", "MB/s", "5mb", "1,2", "1MB/s,1KB/s", "1,", "none,1", "1e400"} {
		if r, err := ParseRate(text); err == nil || KindOf(err) != Usage {
			t.Errorf("%q is %+v, %v", text, r, err)
		}
	}
}
