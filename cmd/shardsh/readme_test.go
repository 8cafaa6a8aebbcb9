//go:build !windows

package main_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// screen is what is typed for a block of the README, each line when the answer to the one before is there. {backup} is
// the id of the backup that was made last.
type screen struct {
	rows, cols int
	lines      []string
}

var screens = map[string]screen{
	"screen": {60, 126, []string{
		"cluster openmldb > /dev/null",
		"confget > /dev/null",
		"option trace on > /dev/null",
		"confset auto_failover false --yes --columns step,outcome",
		"option trace off > /dev/null",
		"sandbox kill .32:8541 > /dev/null",
		"wait --within 30s --until 'any(rows, .state == \"kOffline\")' showtablet > /dev/null",
		"offlineendpoint .32:8541 --yes --columns step --filter 'step contains \"flow\"'",
		"showopstatus --columns op_type,name,pid,status --filter 'name == \"flow\"'",
		"sandbox start .32:8541 > /dev/null",
		"wait --within 30s --until 'all(rows, .state == \"kHealthy\")' showtablet > /dev/null",
		"recoverendpoint .32:8541 --yes > /dev/null",
		"showtable flow --columns pid,endpoint,role,is_alive,offset --filter 'pid == 0'",
	}},
	"move": {90, 170, []string{
		"use TableA",
		"copy_data -c ClusterB -a TableB -t 10000 --create --verify --yes --columns step,outcome",
		"backup TableA hdfs_zjy /user/pegasus/backup --yes --columns backup_id,status,checked",
		"restore -c onebox -a TableA -i 1 -t {backup} -b hdfs_zjy -r /user/pegasus/backup -n TableA_2 --yes --columns step,outcome",
		"create TableC -p 16 > /dev/null",
		"split_backup hdfs_zjy:/user/pegasus/backup hdfs_zjy:/user/pegasus/split --table TableC --partitions 16 --yes > /dev/null",
		"start_bulk_load -a TableC -c onebox -p hdfs_zjy -r /user/pegasus/split --yes --columns step,outcome",
		"diff_data -c onebox -a TableC --columns source_rows,equal_rows,equal",
	}},
}

// TestREADME keeps the generated parts of the README true: the screen is made by typing at the real prompt, the matrix
// by asking the program. `go test ./cmd/shardsh -run TestREADME -update` writes them anew.
func TestREADME(t *testing.T) {
	path := filepath.Join(sourceDir, "..", "..", "README.md")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got := string(text)
	blocks := map[string]func(*testing.T) string{"matrix": readmeMatrix}
	for name, s := range screens {
		blocks[name] = s.typed
	}
	for name, make := range blocks {
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

// What changes with every run, and what the README has in its place.
var (
	versionLine = regexp.MustCompile(`(?m)^shardsh \S+$`)
	tookTime    = regexp.MustCompile(` \d+(\.\d+)?(ms|µs) `)
	sizeInBytes = regexp.MustCompile(`\b\d{5} bytes`)
	sizeInKiB   = regexp.MustCompile(`\b\d\d KiB`)
	neededKiB   = regexp.MustCompile(`\b[\d.]+ KiB needed`)
	backupID    = regexp.MustCompile(`\b1[7-9]\d{11}\b`)
)

// typed types the lines at the real prompt and answers the screen.
func (s screen) typed(t *testing.T) string {
	t.Helper()
	c := openConsole(t, s.rows, s.cols, "SHARDSH_TIMING=off") // a slow machine would add lines
	c.prompts(1)
	for i, l := range s.lines {
		ids := backupID.FindAllString(c.screen(), -1)
		if len(ids) > 0 {
			l = strings.ReplaceAll(l, "{backup}", ids[len(ids)-1])
		}
		c.keys(l)
		c.see(l)
		c.keys("\r")
		c.until("the prompt after "+l, func(text string) bool {
			last := text[strings.LastIndexByte(text, '\n')+1:]
			return strings.HasPrefix(last, "[sandbox]") && strings.HasSuffix(last, ">") && strings.Count("\n"+text, "\n[sandbox]") == i+2
		})
	}
	text := c.screen()
	text = text[:strings.LastIndexByte(text, '\n')]
	for _, m := range masks {
		if strings.HasPrefix(m.with, "127.0.N") {
			text = m.what.ReplaceAllString(text, "127.0.1.$1")
		}
	}
	if s.lines[0] == "use TableA" { // the banner is on the first screen
		text = text[strings.Index(text, "[sandbox]"):]
	}
	text = tookTime.ReplaceAllString(text, " 0.2ms ")
	text = versionLine.ReplaceAllString(text, "shardsh")
	text = freeRoom.ReplaceAllString(text, "52.1 GiB free")
	text = neededKiB.ReplaceAllString(text, "114.2 KiB needed")
	text = sizeInBytes.ReplaceAllString(text, "30720 bytes")
	text = sizeInKiB.ReplaceAllString(text, "38 KiB")
	text = backupID.ReplaceAllString(text, "1742888751127")
	c.keys("exit\r")
	<-c.done
	if err := c.cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	return "```\n" + text + "\n```"
}
