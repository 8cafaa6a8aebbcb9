package main_test

import (
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

// layers is who may import whom, in this module. The first line that matches a file, or the folder it is in, holds.
// SYSTEM stands for one folder and is the same one on both sides; * for any one folder. Everything below the program's
// own loop is free of terminals, every store is free of the others, and only one file links the emulators.
var layers = []struct {
	from string
	may  []string
}{
	{"cmd/shardsh/sandbox.go", []string{"commands/spec", "cluster/sandbox", "cluster/sandbox/engine", "cluster/*/sandbox"}},
	// What the servers of the sandbox are handed as a block service.
	{"cmd/shardsh/sandbox_blocks.go", []string{"commands/spec", "cluster/pegasus/rocksdb", "storage"}},
	{"cmd/shardsh", []string{"commands/spec", "commands", "cluster", "cluster/systems", "cluster/sandbox", "shell", "shell/*"}},

	{"shell", []string{
		"commands/spec", "commands", "commands/*", "cluster", "cluster/systems", "cluster/sandbox", "storage", "storage/*", "shell/*",
	}},
	{"shell/*", []string{"commands/spec"}},

	{"commands/spec", nil},
	{"commands", []string{"commands/spec", "cluster", "cluster/transfer", "storage", "storage/*"}},
	{"commands/SYSTEM", []string{
		"commands/spec", "commands", "cluster", "cluster/transfer", "cluster/SYSTEM", "storage", "storage/*",
		// What lies on a block service is read without a driver.
		"cluster/SYSTEM/coldbackup", "cluster/SYSTEM/rocksdb", "cluster/SYSTEM/wire", "cluster/SYSTEM/backup",
	}},

	{"cluster", []string{"commands/spec"}},
	{"cluster/systems", []string{"cluster", "cluster/*"}},
	{"cluster/sandbox", []string{"commands/spec", "cluster"}},
	{"cluster/sandbox/engine", []string{"commands/spec", "cluster", "cluster/sandbox"}},
	{"cluster/sandbox/listen", nil},
	{"cluster/sandbox/link", []string{"cluster/sandbox/listen"}},
	{"cluster/sandbox/fault", []string{"commands/spec", "cluster/sandbox"}},
	{"cluster/transfer", []string{"commands/spec", "cluster"}},
	{"cluster/pool", nil},
	{"cluster/clustertest", []string{"commands/spec", "cluster"}},
	{"cluster/SYSTEM", []string{"commands/spec", "cluster", "cluster/pool", "cluster/transfer", "cluster/SYSTEM/*", "cluster/SYSTEM/pb/*"}},
	// An emulator shares the wire format with its driver, and nothing else.
	{"cluster/SYSTEM/sandbox", []string{
		"commands/spec", "cluster/sandbox", "cluster/sandbox/*", "cluster/SYSTEM/*", "cluster/SYSTEM/pb/*", "cluster/SYSTEM/sandbox/*",
	}},
	{"cluster/SYSTEM/sandbox/*", []string{
		"commands/spec", "cluster/sandbox", "cluster/sandbox/*", "cluster/SYSTEM/*", "cluster/SYSTEM/pb/*", "cluster/SYSTEM/sandbox/*",
	}},
	{"cluster/SYSTEM/pb/*", []string{"cluster/SYSTEM/pb/*"}},
	{"cluster/SYSTEM/rocksdb", []string{"commands/spec", "cluster/SYSTEM/wire"}},
	// Where a store has no backup of its own, one is made of its rows.
	{"cluster/SYSTEM/backup", []string{
		"commands/spec", "cluster/transfer", "cluster/SYSTEM", "cluster/SYSTEM/wire", "cluster/SYSTEM/pb/*", "storage",
	}},
	{"cluster/SYSTEM/*", []string{"commands/spec", "cluster", "cluster/SYSTEM/*", "cluster/SYSTEM/pb/*"}},

	{"storage", []string{"commands/spec"}},
	{"storage/*", []string{"commands/spec", "storage", "storage/*"}},
}

// isEmulator tells the packages that are linked in one place only, whatever a line of the table says.
func isEmulator(pkg string) bool {
	return matches("cluster/*/sandbox", pkg, "") || matches("cluster/*/sandbox/*", pkg, "") || matches("cluster/sandbox/*", pkg, "")
}

// Tests may reach further than what they test, but not up into the shell.
func TestImports(t *testing.T) {
	checked := 0
	for _, f := range goFiles(t) {
		if !strings.Contains(f.name, "/") || strings.HasPrefix(f.name, ".ci/") {
			continue
		}
		checked++
		for _, pkg := range f.imports(t) {
			if why := forbidden(f.name, pkg); why != "" {
				t.Errorf("%s imports %s: %s", f.name, pkg, why)
			}
		}
	}
	if checked < 20 {
		t.Fatalf("only %d files were found", checked)
	}
}

// forbidden says why a file of the module may not import a package of it, "" when it may.
func forbidden(file, pkg string) string {
	dir := path.Dir(file)
	if strings.HasSuffix(file, "_test.go") {
		top, _, _ := strings.Cut(dir, "/")
		if up, _, _ := strings.Cut(pkg, "/"); (up == "shell" || up == "cmd") && top != "shell" && top != "cmd" {
			return "not even a test of a lower layer knows the shell"
		}
		return ""
	}
	for _, l := range layers {
		system, ok := capture(l.from, file)
		if !ok {
			system, ok = capture(l.from, dir)
		}
		if !ok {
			continue
		}
		if isEmulator(pkg) && l.from != "cmd/shardsh/sandbox.go" && !isEmulator(l.from) {
			return "only cmd/shardsh/sandbox.go links the emulators"
		}
		if slices.ContainsFunc(l.may, func(p string) bool { return matches(p, pkg, system) }) {
			return ""
		}
		return l.from + " may import " + strings.Join(append(l.may, "nothing else of the module"), ", ")
	}
	return "its folder has no line in the table of layers"
}

// capture matches a pattern of the table and answers what SYSTEM stands for.
func capture(pattern, name string) (system string, ok bool) {
	p, n := strings.Split(pattern, "/"), strings.Split(name, "/")
	if len(p) != len(n) {
		return "", false
	}
	for i := range p {
		switch {
		case p[i] == "SYSTEM":
			system = n[i]
		case p[i] != "*" && p[i] != n[i]:
			return "", false
		}
	}
	return system, true
}

func matches(pattern, name, system string) bool {
	_, ok := capture(strings.ReplaceAll(pattern, "SYSTEM", system), name)
	return ok
}

// The table itself must say no where it should.
func TestForbidden(t *testing.T) {
	for _, c := range []struct {
		file, pkg string
		allowed   bool
	}{
		{"commands/spec/plan.go", "cluster", false},
		{"cluster/cluster.go", "commands/spec", true},
		{"cluster/cluster.go", "storage", false},
		{"cluster/pegasus/driver.go", "storage", false},
		{"cluster/pegasus/driver.go", "cluster/pegasus/wire", true},
		{"cluster/pegasus/driver.go", "cluster/zankv", false},
		{"cluster/pegasus/driver.go", "cluster/zankv/wire", false},
		{"cluster/pegasus/driver.go", "cluster/pegasus/sandbox", false},
		{"cluster/pegasus/wire/codec.go", "cluster/pegasus", false},
		{"cluster/pegasus/rocksdb/split.go", "cluster/pegasus/wire", true},
		{"cluster/pegasus/rocksdb/split.go", "cluster/pegasus", false},
		{"cluster/pegasus/sandbox/meta.go", "cluster/sandbox/engine", true},
		{"cluster/pegasus/sandbox/meta.go", "cluster/pegasus/wire", true},
		{"cluster/pegasus/sandbox/meta.go", "cluster/pegasus", false},
		{"cluster/pegasus/sandbox/meta.go", "cluster/zankv/sandbox", false},
		{"cluster/openmldb/driver.go", "cluster/openmldb/pb/ns", true},
		{"cluster/openmldb/driver.go", "cluster/openmldb/sandbox/tablet", false},
		{"cluster/openmldb/pb/ns/ns.pb.go", "cluster/openmldb/wire", false},
		{"cluster/openmldb/sandbox/tablet/tablet.go", "cluster/sandbox/engine", true},
		{"cluster/openmldb/sandbox/tablet/tablet.go", "cluster/openmldb", false},
		{"cluster/openmldb/sandbox/cluster.go", "cluster/openmldb/sandbox/tablet", true},
		{"cluster/sandbox/serve.go", "cluster/sandbox/engine", false},
		{"cluster/systems/systems.go", "cluster/pegasus", true},
		{"storage/local.go", "cluster", false},
		{"storage/backup/set.go", "storage", true},
		{"commands/ls.go", "cluster/pegasus", false},
		{"commands/ls.go", "cluster/systems", false},
		{"commands/ls.go", "shell", false},
		{"commands/pegasus/ls.go", "cluster/pegasus", true},
		{"commands/pegasus/ls.go", "cluster/zankv", false},
		{"commands/pegasus/ls.go", "commands", true},
		{"commands/pegasus/ls_backup.go", "cluster/pegasus/coldbackup", true},
		{"commands/openmldb/ls.go", "cluster/pegasus/coldbackup", false},
		{"cluster/pegasus/coldbackup/load.go", "storage", false},
		{"shell/shell.go", "cluster/pegasus", false},
		{"shell/shell.go", "cluster/sandbox", true},
		{"shell/shell.go", "cluster/sandbox/engine", false},
		{"shell/render/json.go", "shell/line", false},
		{"shell/render/json.go", "commands/spec", true},
		{"cmd/shardsh/main.go", "shell", true},
		{"cmd/shardsh/main.go", "cluster/pegasus/sandbox", false},
		{"cmd/shardsh/sandbox.go", "cluster/pegasus/sandbox", true},
		{"cluster/pegasus/driver_test.go", "cluster/pegasus/sandbox", true},
		{"cluster/pegasus/driver_test.go", "shell/line", false},
		{"elsewhere/a.go", "commands/spec", false},
	} {
		if why := forbidden(c.file, c.pkg); (why == "") != c.allowed {
			t.Errorf("%s imports %s: %q", c.file, c.pkg, why)
		}
	}
}

// The lean program leaves out the sandbox with all that only it needs; the full one has it on every system.
func TestLinked(t *testing.T) {
	const engine = "github.com/cockroachdb/pebble/v2"
	for _, system := range []string{"linux", "darwin", "windows"} {
		lean := linked(t, system, "nosandbox")
		for _, pkg := range lean {
			own, _ := strings.CutPrefix(pkg, "shardsh/")
			if strings.HasPrefix(pkg, engine) || strings.HasPrefix(pkg, "go.etcd.io/etcd/server/") || isEmulator(own) {
				t.Errorf("%s: the lean program links %s", system, pkg)
			}
		}
		if !slices.Contains(lean, "shardsh/shell") {
			t.Errorf("%s: the lean program has no shell", system)
		}
		if !slices.Contains(linked(t, system, ""), engine) {
			t.Errorf("%s: the program has no sandbox", system)
		}
	}
}

// linked lists the packages the program consists of.
func linked(t *testing.T, system, tags string) []string {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-tags", tags, "./cmd/shardsh")
	cmd.Dir = root(t)
	cmd.Env = append(cmd.Environ(), "GOOS="+system, "CGO_ENABLED=0", "GOFLAGS=")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, stderr.String())
	}
	return strings.Fields(string(out))
}
