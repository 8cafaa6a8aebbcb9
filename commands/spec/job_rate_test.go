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

func TestKeysMoveTheLimit(t *testing.T) {
	none, by50 := Rate{}, Rate{Bytes: 50e6}
	for _, c := range []struct {
		from, step, raised, lowered string // "" where it is refused
	}{
		{"50MB/s", "50MB/s", "100MB/s", ""},
		{"100MB/s", "50MB/s", "150MB/s", "50MB/s"},
		{"120MB/s", "50MB/s", "170MB/s", "70MB/s"},
		{"70MB/s", "50MB/s", "120MB/s", "50MB/s"},
		{"30MB/s", "50MB/s", "80MB/s", ""}, // below the first step already: it goes no lower, and is not raised by -
		{"1000rows/s,50MB/s", "50MB/s", "1000rows/s,100MB/s", ""},
		{"1000rows/s", "50MB/s", "", ""}, // the step is of something else
		{"20MB/s", "none", "40MB/s", "10MB/s"},
		{"50001rows/s,20MB/s", "none", "100002rows/s,40MB/s", "25000rows/s,10MB/s"},
		{"1rows/s", "none", "2rows/s", ""},
		{"0.5rows/s", "none", "1rows/s", ""},
		{"1000000GB/s", "none", "", "500000GB/s"},
		{"none", "50MB/s", "", ""},
		{"none", "none", "", ""},
	} {
		from, step := parsed(t, c.from), parsed(t, c.step)
		for name, way := range map[string]struct {
			move func(Rate) (Rate, error)
			want string
		}{"raised": {from.Raised, c.raised}, "lowered": {from.Lowered, c.lowered}} {
			got, err := way.move(step)
			switch {
			case way.want == "" && (KindOf(err) != Refused || err == nil || got != from):
				t.Errorf("%s %s by %s is %s, %v", c.from, name, c.step, got, err)
			case way.want != "" && (err != nil || got.String() != way.want):
				t.Errorf("%s %s by %s is %s, %v; want %s", c.from, name, c.step, got, err, way.want)
			}
		}
	}
	if got, err := (Rate{Bytes: 2e15}).Raised(none); err == nil || got.Bytes != 2e15 {
		t.Errorf("what is beyond all bounds is raised to %s, %v", got, err)
	}
	if _, err := none.Lowered(by50); err == nil || err.Error() != "no limit is set that keys could lower" {
		t.Errorf("it says %v", err)
	}
}

func parsed(t *testing.T, text string) Rate {
	t.Helper()
	r, err := ParseRate(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
