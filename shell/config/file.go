package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"gopkg.in/ini.v1"

	"shardsh/commands/spec"
)

const (
	systemPath = "/etc/shardsh/config.ini"
	maxFile    = 1 << 20 // bytes
	maxLines   = 10_000  // the library looks for each key among all before it
)

// find returns the file to read and its content; path is "" when there is none.
func find(o Options) (path string, data []byte, warnings []string, err error) {
	for _, named := range []struct{ path, by string }{{o.Path, "--config"}, {o.Env("SHARDSH_CONFIG"), "$SHARDSH_CONFIG"}} {
		if named.path == "" {
			continue
		}
		path, data, err = read(named.path, false)
		if err != nil {
			err = &spec.Error{Kind: spec.Usage, Op: "read the configuration named by " + named.by, Err: err}
		}
		return path, data, nil, err
	}
	for i, candidate := range candidates(o) {
		path, data, err = read(candidate, i == 0)
		var bad *distrust
		switch {
		case err == nil:
			return path, data, warnings, nil
		case errors.As(err, &bad):
			warnings = append(warnings, err.Error())
		case !errors.Is(err, fs.ErrNotExist):
			return "", nil, nil, &spec.Error{Kind: spec.Usage, Op: "read the configuration", Err: err}
		}
	}
	return "", nil, warnings, nil
}

// candidates are the places searched; the first is in the working directory.
func candidates(o Options) []string {
	all := []string{filepath.Join(o.WorkDir, "config.ini")}
	if dir := o.Env("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		all = append(all, filepath.Join(dir, "shardsh", "config.ini"))
	} else if home := o.Env("HOME"); home != "" {
		all = append(all, filepath.Join(home, ".config", "shardsh", "config.ini"))
	} else if roaming := o.Env("APPDATA"); roaming != "" {
		all = append(all, filepath.Join(roaming, "shardsh", "config.ini"))
	}
	return append(all, o.system)
}

// distrust says why a file that happened to lie in the working directory is not read.
type distrust struct{ path, why string }

func (d *distrust) Error() string { return fmt.Sprintf("%s is not read: %s", d.path, d.why) }

// read reads a file. One that was found, not named, must be trustworthy: whoever can place it in a directory where
// the user works could otherwise point names at clusters of his own.
func read(path string, found bool) (string, []byte, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", nil, err
	}
	if found {
		link, err := os.Lstat(path)
		if err != nil {
			return "", nil, err
		}
		if why := foreign(link, os.Geteuid()); why != "" {
			return "", nil, &distrust{path, why}
		}
		if target, err := os.Stat(path); err == nil && !target.Mode().IsRegular() {
			return "", nil, &distrust{path, "it is not a file"}
		}
	}
	f, err := os.Open(path)
	if err != nil {
		return "", nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", nil, err
	}
	if found {
		why := foreign(info, os.Geteuid())
		if why == "" {
			why = writableByAll(info)
		}
		if why != "" {
			return "", nil, &distrust{path, why}
		}
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s is larger than %d KiB", path, maxFile>>10)
	}
	return path, data, err
}

// row is a section head (key "") or a key of a section that is ours.
type row struct {
	line         int
	section, key string
	value        string // without comment and blanks; quotes still around it
}

// parse cuts a file into rows. The library knows no line numbers, so the text it gets is numbered: what is ours in the
// file is passed on with the number of its line in front, NUL between, and the rest as empty lines.
func parse(path string, data []byte) ([]row, error) {
	numbered, err := number(path, data)
	if err != nil {
		return nil, err
	}
	file, err := ini.LoadSources(ini.LoadOptions{
		IgnoreContinuation:      true,
		IgnoreInlineComment:     true,
		PreserveSurroundedQuote: true,
		AllowNonUniqueSections:  true,
		KeyValueDelimiters:      "=",
	}, numbered)
	if err != nil {
		return nil, spec.Errorf(spec.Usage, "%s: %w", path, err)
	}
	var rows []row
	for _, s := range file.Sections() {
		line, section, ok := unnumber(s.Name())
		if !ok {
			continue // the library's own unnamed section
		}
		rows = append(rows, row{line: line, section: section})
		for _, k := range s.Keys() {
			line, key, _ := unnumber(k.Name())
			rows = append(rows, row{line: line, section: section, key: key, value: withoutComment(k.Value())})
		}
	}
	return rows, nil
}

func unnumber(text string) (line int, rest string, ok bool) {
	number, rest, ok := strings.Cut(text, "\x00")
	line, _ = strconv.Atoi(number)
	return line, strings.TrimSpace(rest), ok
}

func number(path string, data []byte) ([]byte, error) {
	var out bytes.Buffer
	section, ours := "", false
	line := 0
	fail := func(format string, args ...any) *spec.Error {
		err := spec.Errorf(spec.Usage, format, args...)
		err.Op = fmt.Sprintf("%s:%d", path, line)
		return err
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	for text := range strings.Lines(string(data)) {
		line++
		if line > maxLines {
			return nil, fail("the file has more than %d lines", maxLines)
		}
		if strings.IndexByte(text, 0) >= 0 {
			return nil, fail("a NUL byte").WithHint("save the file as UTF-8")
		}
		text = strings.TrimSpace(text)
		switch {
		case text == "", text[0] == ';', text[0] == '#':
		case text[0] == '[':
			end := strings.IndexByte(text, ']')
			if end < 0 {
				return nil, fail("the name of a section wants a ] after it")
			}
			section = strings.TrimSpace(text[1:end])
			ours = isOurs(section)
			if problem := unprintable(section); problem != "" {
				return nil, fail("%s", problem)
			}
			fmt.Fprintf(&out, "[%d\x00%s]", line, section)
		case section == "":
			return nil, fail("a key stands before the first section").WithHint("begin with [shell]")
		case ours:
			if problem := malformed(text); problem != "" {
				return nil, fail("%s", problem)
			}
			fmt.Fprintf(&out, "%d\x00%s", line, text)
		}
		out.WriteByte('\n')
	}
	return out.Bytes(), nil
}

// malformed says what is wrong with a line that should be a key and its value.
func malformed(text string) string {
	key, value, ok := strings.Cut(text, "=")
	value = strings.TrimSpace(value)
	switch {
	case !ok:
		return "a line is KEY = VALUE, [SECTION] or a comment"
	case strings.TrimSpace(key) == "":
		return "a key is missing before ="
	case strings.HasPrefix(value, "`"), strings.HasPrefix(value, `"""`):
		return "a value cannot begin with ` or three quotes"
	}
	return unprintable(text)
}

func unprintable(text string) string {
	if !utf8.ValidString(text) {
		return "the line is not UTF-8"
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r != '\t' && !unicode.IsPrint(r) }) {
		return "the line holds a control character"
	}
	return ""
}

// withoutComment cuts a value before a ; or # that follows a blank and is not in quotes. A quote counts where a word
// begins, and when it is closed.
func withoutComment(value string) string {
	wordStart := true
	for i := 0; i < len(value); i++ {
		c := value[i]
		switch {
		case wordStart && (c == ';' || c == '#'):
			return strings.TrimSpace(value[:i])
		case wordStart && (c == '"' || c == '\''):
			if n := strings.IndexByte(value[i+1:], c); n >= 0 {
				i += n + 1
			}
		}
		wordStart = c == ' ' || c == '\t'
	}
	return strings.TrimSpace(value)
}

// unquote takes off quotes around the whole value.
func unquote(value string) string {
	if n := len(value); n >= 2 && (value[0] == '"' || value[0] == '\'') && strings.IndexByte(value[1:], value[0]) == n-2 {
		return value[1 : n-1]
	}
	return value
}

// fields splits at blanks; quotes keep a field together.
func fields(value string) []string {
	var all []string
	for value = strings.TrimLeft(value, " \t"); value != ""; value = strings.TrimLeft(value, " \t") {
		end := strings.IndexAny(value, " \t")
		if c := value[0]; c == '"' || c == '\'' {
			if n := strings.IndexByte(value[1:], c); n >= 0 {
				all = append(all, value[1:n+1])
				value = value[n+2:]
				continue
			}
		}
		if end < 0 {
			end = len(value)
		}
		all = append(all, value[:end])
		value = value[end:]
	}
	return all
}
