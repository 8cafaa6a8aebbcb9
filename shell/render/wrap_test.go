package render

import "testing"

func TestWrap(t *testing.T) {
	for _, c := range []struct {
		text string
		room int
		want string
	}{
		{"short", 40, "short"},
		{"one two three four five six", 20, "one two three four\nfive six"},
		{"one two three four five six", 10, "one two three four five six"},
		{"averyveryverylongwordthatfitsnowhere and more", 20, "averyveryverylongwordthatfitsnowhere\nand more"},
		{"表格 表格 表格 表格 表格 表格", 20, "表格 表格 表格 表格\n表格 表格"},
		{"two  blanks  are  kept  between  words", 20, "two  blanks  are \nkept  between  words"},
	} {
		if got := wrap(c.text, c.room); got != c.want {
			t.Errorf("%q in %d: %q, want %q", c.text, c.room, got, c.want)
		}
	}
}
