package main_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// screenLines is what the README's screen types. Each is typed when the answer to the one before is there.
var screenLines = []string{
	"cluster openmldb > /dev/null",
	"confget > /dev/null",
	"option trace on > /dev/null",
	"confset auto_failover false --yes --columns step,outcome",
	"option trace off > /dev/null",
	"sandbox kill .32:8541 > /dev/null",
	"wait --within 30s --until 'any(rows, .state == \"kOffline\")' showtablet > /dev/null",
	"offlineendpoint .32:8541 --yes --columns step --filter 'step contains \"flow\"'",
	"showtable flow --columns pid,endpoint,role,is_alive,offset --filter 'pid == 0'",
	"sandbox start .32:8541 > /dev/null",
	"wait --within 30s --until 'all(rows, .state == \"kHealthy\")' showtablet > /dev/null",
	"recoverendpoint .32:8541 --yes > /dev/null",
	"showtable flow --columns pid,endpoint,role,is_alive,offset --filter 'pid == 0'",
}

// versionLine is the first line of the banner, which changes with every build.
var versionLine = regexp.MustCompile(`(?m)^shardsh \S+$`)

// TestREADME keeps the generated parts of the README true: the screen is made by typing at the real prompt, the matrix
// by asking the program. `go test ./cmd/shardsh -run TestREADME -update` writes them anew.
func TestREADME(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the screen needs a pseudo-terminal")
	}
	path := filepath.Join(sourceDir, "..", "..", "README.md")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got := string(text)
	for name, make := range map[string]func(*testing.T) string{"screen": readmeScreen, "matrix": readmeMatrix} {
		block := regexp.MustCompile(`(?s)(<!-- ` + name + `[^>]*-->\n).*?(\n<!-- /` + name + ` -->)`)
		if !block.MatchString(got) {
			t.Fatalf("the README has no block %q", name)
		}
		made := make(t)
		got = block.ReplaceAllStringFunc(got, func(old string) string {
			parts := block.FindStringSubmatch(old)
			return parts[1] + made + parts[2]
		})
	}
	if got == string(text) {
		return
	}
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatalf("the README is not what the program shows; it should be:\n%s", got)
}

// readmeMatrix lists, per topic, the words that each store has.
func readmeMatrix(t *testing.T) string {
	t.Helper()
	cmd := exec.Command(program, "-o", "json", "help", "matrix")
	cmd.Env = append(os.Environ(), isolated(t.TempDir())...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var rows []map[string]any
	if err := json.Unmarshal(out, &rows); err != nil {
		t.Fatal(err)
	}
	systems := []string{"pegasus", "openmldb"}
	var topics []string
	words := map[string]map[string][]string{}
	for _, row := range rows {
		topic := row["topic"].(string)
		if words[topic] == nil {
			words[topic] = map[string][]string{}
			topics = append(topics, topic)
		}
		for name, has := range row {
			if has == true {
				words[topic][name] = append(words[topic][name], "`"+row["command"].(string)+"`")
			}
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "| | %s |\n|---|%s\n", strings.Join(systems, " | "), strings.Repeat("---|", len(systems)))
	for _, topic := range topics {
		fmt.Fprintf(&b, "| %s |", topic)
		for _, system := range systems {
			fmt.Fprintf(&b, " %s |", strings.Join(words[topic][system], " "))
		}
		b.WriteString("\n")
	}
	return strings.TrimSpace(b.String())
}
