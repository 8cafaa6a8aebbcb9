package pegasus

import "testing"

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{
		"":               `""`,
		"plain 表格":       `"plain 表格"`,
		`a"b\c`:          `"a\"b\\c"`,
		"$x {{y}} {z}":   `"\$x \{{y}} {z}"`,
		"\x00\x7f\xff\n": `"\x00\x7f\xff\x0a"`,
		"\u202e\u0085":   `"\xe2\x80\xae\xc2\x85"`,
		"\uFFFD":         "\"\uFFFD\"",
	} {
		if got := quote(in); got != want {
			t.Errorf("quote(%q) = %s, want %s", in, got, want)
		}
	}
	for in, want := range map[string]bool{
		"": false, "-1": false, "reconfig*all": true, "20000*delay*100": true, "a b": false, "$x": false, "a;b": false,
		"a|b": false, "#": false, `"`: false, "表": false, "true": true, "{{x}}": false, "\x00": false,
	} {
		if got := plain(in); got != want {
			t.Errorf("plain(%q) = %t", in, got)
		}
	}
}
