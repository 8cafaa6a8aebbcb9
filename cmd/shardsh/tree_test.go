package main_test

import (
	"bytes"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	maxFileLines = 500
	maxFuncLines = 60
)

// topLevel is all that the root of the repository holds.
var topLevel = []string{
	"cmd", "shell", "commands", "cluster", "storage", "config.ini", "go.mod", "go.sum", "Makefile", "README.md", "LICENSE",
	".ci", ".gitignore", ".gitattributes",
}

// unwanted is what no file holds: folders of the machine it was written on. (Put together here, to leave this file clean.)
var unwanted = []string{"/" + "work/", "/" + "root/"}

func TestTopLevel(t *testing.T) {
	for _, name := range files(t) {
		if top, _, _ := strings.Cut(name, "/"); !slices.Contains(topLevel, top) {
			t.Errorf("%s: the top level of the repository holds only %s", name, strings.Join(topLevel, " "))
		}
	}
}

func TestUnwantedWords(t *testing.T) {
	for _, name := range files(t) {
		text := read(t, name)
		for _, word := range unwanted {
			if at := bytes.Index(text, []byte(word)); at >= 0 {
				t.Errorf("%s:%d holds %q", name, 1+bytes.Count(text[:at], []byte("\n")), word)
			}
		}
	}
}

func TestSizes(t *testing.T) {
	for _, f := range goFiles(t) {
		file := f.parse(t, parser.SkipObjectResolution)
		if ast.IsGenerated(file) {
			continue
		}
		if n := bytes.Count(f.text, []byte("\n")); n > maxFileLines {
			t.Errorf("%s has %d lines; %d is the most", f.name, n, maxFileLines)
		}
		if strings.HasSuffix(f.name, "_test.go") {
			continue
		}
		for _, decl := range file.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			first, last := f.fset.Position(fn.Pos()).Line, f.fset.Position(fn.End()).Line
			if n := last - first + 1; n > maxFuncLines {
				t.Errorf("%s:%d: %s has %d lines; %d is the most", f.name, first, fn.Name.Name, n, maxFuncLines)
			}
		}
	}
}

// goFile is a Go file of the repository, tests included, whatever its build tags.
type goFile struct {
	name string // from the root, with slashes
	text []byte
	fset *token.FileSet
}

func goFiles(t *testing.T) []goFile {
	t.Helper()
	var all []goFile
	for _, name := range files(t) {
		if strings.HasSuffix(name, ".go") && !strings.Contains(name, "/testdata/") {
			all = append(all, goFile{name: name, text: read(t, name), fset: token.NewFileSet()})
		}
	}
	return all
}

func (f goFile) parse(t *testing.T, mode parser.Mode) *ast.File {
	t.Helper()
	file, err := parser.ParseFile(f.fset, f.name, f.text, mode|parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// imports lists the packages of this module that a file imports, without the module's name.
func (f goFile) imports(t *testing.T) []string {
	t.Helper()
	var own []string
	for _, spec := range f.parse(t, parser.ImportsOnly).Imports {
		pkg, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		if rest, ok := strings.CutPrefix(pkg, "shardsh/"); ok {
			own = append(own, rest)
		}
	}
	return own
}

// files lists the repository's files, with slashes, from its root: what git knows or would add; without git, what is
// not in a folder that .gitignore names.
func files(t *testing.T) []string {
	t.Helper()
	cmd := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	cmd.Dir = root(t)
	out, err := cmd.Output()
	_, noGit := os.Stat(filepath.Join(root(t), ".git"))
	if err != nil || noGit != nil {
		return walk(t)
	}
	var all []string
	for name := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		if info, err := os.Lstat(filepath.Join(root(t), filepath.FromSlash(name))); err == nil && info.Mode().IsRegular() {
			all = append(all, name)
		}
	}
	return all
}

func walk(t *testing.T) []string {
	t.Helper()
	ignored := []string{".git"}
	for line := range strings.Lines(string(read(t, ".gitignore"))) {
		ignored = append(ignored, strings.Trim(strings.TrimSpace(line), "/"))
	}
	var all []string
	tree := os.DirFS(root(t))
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains(ignored, name):
			return fs.SkipDir
		case d.Type().IsRegular():
			all = append(all, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Both ways of listing must find this very file, and agree on what is there.
func TestFiles(t *testing.T) {
	listed, walked := files(t), walk(t)
	for _, name := range listed {
		if !slices.Contains(walked, name) {
			t.Errorf("%s is found by git only", name)
		}
	}
	if !slices.Contains(walked, "cmd/shardsh/tree_test.go") {
		t.Errorf("this file is not among %d", len(walked))
	}
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root(t), filepath.FromSlash(name)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // removed since it was listed
	}
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// root is the top folder of the repository: tests run in the folder of their package.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
