package main_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/rogpeppe/go-internal/txtar"

	"shardsh/cluster/pegasus/backuptest"
)

// program is the binary under test: the real one, built once, because the sandbox is a process of its own.
var program string

// patience bounds the wait for one thing to appear; a slow machine needs seconds, never this.
const patience = 30 * time.Second

// sourceDir is this folder.
var sourceDir string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	if shape := os.Getenv(fleetShape); shape != "" {
		return serveFleet(shape)
	}
	if target := os.Getenv(writerTarget); target != "" {
		return writeRows(target)
	}
	dir, err := os.MkdirTemp("", "shardsh-test")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "shardsh")
	args := []string{"build", "-o", program}
	if raceEnabled {
		args = append(args, "-race")
	}
	build := exec.Command("go", append(args, ".")...)
	if sourceDir, err = os.Getwd(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build the program:", err)
		return 1
	}
	return m.Run()
}

// TestTranscripts runs the program as people and scripts do: input and exact output.
func TestTranscripts(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the transcripts use /bin/sh")
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/transcripts",
		RequireExplicitExec: true,
		Setup:               setupTranscript,
		Cmds:                transcriptCmds(),
	})
}

// transcriptCmds are the commands of transcripts beyond testscript's own.
func transcriptCmds() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){
		"exits": cmdExits, "cmpmasked": cmdMasked, "coldbackup": cmdColdBackup,
	}
}

// later are times of day that are hours away, for what must not begin while a transcript runs. Outputs have 03:00 and 04:00.
var later = []string{"LATER", "STILL_LATER"}

func setupTranscript(env *testscript.Env) error {
	for _, kv := range isolated(env.WorkDir) {
		name, value, _ := strings.Cut(kv, "=")
		env.Setenv(name, value)
	}
	for i, name := range later {
		at := time.Now().UTC().Add(time.Duration(6+i) * time.Hour)
		env.Setenv(name, at.Format("15")+":37")
	}
	env.Setenv("PATH", filepath.Dir(program)+string(os.PathListSeparator)+env.Getenv("PATH"))
	return nil
}

// isolated is the environment that keeps a run away from the user's files.
func isolated(dir string) []string {
	return []string{
		"HOME=" + dir, "XDG_STATE_HOME=" + filepath.Join(dir, "state"), "XDG_CONFIG_HOME=" + filepath.Join(dir, "config"),
		"TZ=UTC", "TERM=xterm-256color", "NO_COLOR=", "SHARDSH_CONFIG=",
	}
}

// perNodeSetting is the environment's way to have the shell's own sandbox run a process per node.
const perNodeSetting = "SHARDSH_PROCESS_PER_NODE"

// cmdExits runs a program and demands its exit code: `exits 5 shardsh -e 'drop demo'`. `exits 0 stdin FILE shardsh …`
// feeds it a file.
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE [stdin FILE] PROGRAM ARG…")
	}
	want, args := args[0], args[1:]
	var in *os.File
	if args[0] == "stdin" {
		f, err := os.Open(ts.MkAbs(args[1]))
		ts.Check(err)
		defer f.Close()
		in, args = f, args[2:]
	}
	cmd := exec.Command(filepath.Join(filepath.Dir(program), args[0]), args[1:]...)
	if args[0] != "shardsh" {
		cmd = exec.Command(args[0], args[1:]...)
	}
	cmd.Dir, cmd.Env = ts.Getenv("WORK"), []string{"PATH=" + ts.Getenv("PATH"), "TMPDIR=" + ts.Getenv("TMPDIR")}
	cmd.Env = append(cmd.Env, isolated(ts.Getenv("WORK"))...)
	if setting := ts.Getenv(perNodeSetting); setting != "" {
		cmd.Env = append(cmd.Env, perNodeSetting+"="+setting)
	}
	if in != nil {
		cmd.Stdin = in
	}
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	fmt.Fprint(ts.Stdout(), out.String())
	fmt.Fprint(ts.Stderr(), errs.String())
	if cmd.ProcessState == nil {
		ts.Fatalf("run %v: %v", args, err)
	}
	if got := fmt.Sprint(cmd.ProcessState.ExitCode()); got != want {
		ts.Fatalf("exit %s, want %s\nstdout:\n%s\nstderr:\n%s", got, want, out.String(), errs.String())
	}
}

// cmdColdBackup writes a backup below a directory: `coldbackup DIR`, of two tables with `coldbackup DIR NAME`.
func cmdColdBackup(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: coldbackup DIR [NAME]")
	}
	tables := []backuptest.Table{backuptest.Single()}
	if len(args) == 2 {
		tables = append(tables, backuptest.Table{Name: args[1], ID: 9, Partitions: 2, Rows: 20})
	}
	ts.Check(backuptest.Write(ts.MkAbs(args[0]), tables...))
}

// masks are the only things a transcript may hide: which loopback network was free, moments, process ids, durations,
// a directory of this run, and the room on this machine's disk.
var masks = []struct {
	what *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`127\.0\.\d+\.(\d+)`), "127.0.N.$1"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?`), "<time>"},
	{regexp.MustCompile(`\b\d+(\.\d+)?(ms|µs)\b`), "<took>"},
	{regexp.MustCompile(`\b1[789]\d{8}\b`), "<dup_id>"},               // Unix seconds
	{regexp.MustCompile(`\b1(7[6-9]|[89]\d)\d{10}\b`), "<backup_id>"}, // Unix milliseconds, of later than 2025
	{regexp.MustCompile(`[\d.]+ (MB|files|partitions|rows)/s\b`), "<n> $1/s"},
	{regexp.MustCompile(`\b\d+s (\d+ (?:files|partitions|rows) <n>)`), "<took> $1"},
	{regexp.MustCompile(`\bballot \d+, primary`), "ballot <n>, primary"}, // a learner that had to begin again counts, too
	{regexp.MustCompile(`"age":[\d.]+`), `"age":<age>`},
	{regexp.MustCompile(`(\bop \d+ k\w+OP) \d+s`), "${1} <took>"},
	{regexp.MustCompile(`(ALIVE +(?:\| )?)\d+s`), "${1}<age>"},
	{freeRoom, "<n> free"},
	{regexp.MustCompile(`"free":\d+,"capacity":\d+`), `"free":<n>,"capacity":<n>`},
	{regexp.MustCompile(`(sandbox +\| - +\| +)[\d.]+ [KMGTPE]iB( +\| +)[\d.]+ [KMGTPE]iB`), "${1}<n>${2}<n>"},
}

// freeRoom is said of a block service, "52.1 GiB free of 100 GiB".
var freeRoom = regexp.MustCompile(`[\d.]+ [KMGTPE]?i?B free( of [\d.]+ [KMGTPE]iB)?`)

func cmdMasked(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: cmpmasked GOT WANT")
	}
	got, want := ts.ReadFile(args[0]), ts.ReadFile(args[1])
	got = strings.ReplaceAll(got, ts.Getenv("WORK"), "$WORK")
	for _, m := range masks {
		got = m.what.ReplaceAllString(got, m.with)
	}
	for i, name := range later {
		got = strings.ReplaceAll(got, ts.Getenv(name), fmt.Sprintf("%02d:00", 3+i))
	}
	if squeeze(got) != squeeze(want) && *update {
		rewrite(ts, args[1], got)
		return
	}
	if squeeze(got) != squeeze(want) {
		ts.Fatalf("%s differs from %s; masked it is:\n%s", args[0], args[1], got)
	}
}

// update makes a run write what it saw into the transcripts, for a person to read in the diff.
var update = flag.Bool("update", false, "write the masked output into the transcripts")

func rewrite(ts *testscript.TestScript, name, text string) {
	script := strings.TrimPrefix(filepath.Base(ts.Getenv("WORK")), "script-")
	path := filepath.Join(sourceDir, "testdata", "transcripts", script+".txtar")
	archive, err := txtar.ParseFile(path)
	ts.Check(err)
	for i := range archive.Files {
		if archive.Files[i].Name == name {
			archive.Files[i].Data = []byte(text)
		}
	}
	ts.Check(os.WriteFile(path, txtar.Format(archive), 0o644))
}

var blanks = regexp.MustCompile(` {2,}|-{3,}|─{3,}`)

// squeeze makes columns comparable whose widths depend on what was masked.
func squeeze(text string) string {
	lines := strings.Split(blanks.ReplaceAllString(text, "  "), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}
