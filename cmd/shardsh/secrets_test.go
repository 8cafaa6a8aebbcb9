//go:build linux

package main_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// planted are secrets, one for each place where one may come from; all of them are found by their common beginning.
const planted = "hunter2planted"

// secretScript uses them in every way: as settings, variables, in what fails, in what is only planned, and in lines that
// nobody understands. The rest is what a shell does, with its children.
const secretScript = `option trace on
let db_password ` + planted + `_variable
let
use demo
set_app_envs --force my.secret_key ` + planted + `_setting
set_app_envs --force my.setting $db_password
set_app_envs --force a.token "` + planted + ` quoted \" and more" --plan
set_app_envs --force a.token ` + planted + `_file --plan=plan.json
set_app_envs a.tokem ` + planted + `_typo b.passwd ` + planted + `_typo
set_app_env a.password ` + planted + `_unknown
set_app_envs --tabel x a.password ` + planted + `_flag
create t -e business.info=x,the.credential=` + planted + `_pair
create t --force --envs=the.credential=` + planted + `_forced
drop $db_password --yes=$db_password
app $db_password
use $db_password
rename demo $db_password --plan
get $db_password sort
wait --within 1ms --until false app $db_password
watch --times 1 app $db_password
let api_key ` + planted + `_extra one_too_many
confset auto_failover false --yes
apply plan.json
ls | sh -c 'for f in /proc/[0-9]*/cmdline; do tr "\0" " " < $f; echo; done > children.txt'
!for f in /proc/[0-9]*/cmdline; do tr '\0' ' ' < $f; echo; done >> children.txt
history
undo
holds
config show
set_app_envs a.password "` + planted + `_unterminated
`

// TestSecretsAreWrittenNowhere: whatever is done with a secret, it is in no file that the shell writes, in nothing that it
// says, and in no child's arguments.
func TestSecretsAreWrittenNowhere(t *testing.T) {
	home := t.TempDir()
	secretFile := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(secretFile, []byte(planted+"_file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(home, "config.ini")
	settings := fmt.Sprintf("[pegasus.clusters]\nother = 127.0.0.1:1\n[cluster.other]\nuser = u\npassword_file = %s\n", secretFile)
	if err := os.WriteFile(config, []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, run := range map[string]func(t *testing.T, home, config string) (said string){
		"a script": secretsInAScript, "the terminal": secretsAtTheTerminal,
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(home, strings.ReplaceAll(name, " ", "_"))
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			said := run(t, dir, config)
			if at := strings.Index(said, planted); at >= 0 {
				t.Errorf("the shell says …%s…", said[max(0, at-200):min(len(said), at+100)])
			}
			files := 0
			err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
				if err != nil || !d.Type().IsRegular() {
					return err
				}
				text, err := os.ReadFile(path)
				if at := bytes.Index(text, []byte(planted)); at >= 0 {
					t.Errorf("%s has …%s…", path, text[max(0, at-200):min(len(text), at+100)])
				}
				files++
				return err
			})
			if err != nil || files < 2 {
				t.Fatalf("%d files, %v", files, err)
			}
			// Nothing was found because everything was hidden, and not because nothing happened.
			for _, file := range []string{"state/shardsh/audit.jsonl", "children.txt"} {
				text, err := os.ReadFile(filepath.Join(dir, file))
				if err != nil || strings.HasSuffix(file, "jsonl") && bytes.Count(text, []byte("***")) < 4 || len(text) < 500 {
					t.Errorf("%s: %v\n%s", file, err, text)
				}
			}
		})
	}
}

func secretsInAScript(t *testing.T, dir, config string) string {
	t.Helper()
	cmd := exec.Command(program, "--config", config, "--keep-going", "--cluster", "onebox")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), isolated(dir)...)
	cmd.Env = append(cmd.Env, "TMPDIR="+t.TempDir()) // the sandbox's: a cluster keeps what it is told
	cmd.Stdin = strings.NewReader(secretScript)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	if !bytes.Contains(out, []byte(`a " is not closed`)) {
		t.Errorf("the script did not come to its end:\n%s", out)
	}
	return string(out)
}

// secretsAtTheTerminal types the same lines. What is typed is on the screen; what is said and stored is not.
func secretsAtTheTerminal(t *testing.T, dir, config string) (said string) {
	t.Helper()
	env := append(isolated(dir), "SHARDSH_CONFIG="+config, "SHARDSH_CLUSTER=onebox", "SHARDSH_PAGER=off", "TMPDIR="+t.TempDir())
	c := openConsole(t, 60, 250, env...)
	c.prompts(1)
	for _, line := range strings.Split(strings.TrimSpace(secretScript), "\n") {
		if strings.HasSuffix(line, "_unterminated") {
			continue
		}
		c.clear()
		c.enter(strings.ReplaceAll(line, "children.txt", filepath.Join(dir, "children.txt")))
		screen := c.until("the prompt after "+line, func(screen string) bool {
			return strings.Contains(screen, "\n") && strings.HasSuffix(screen, ">>>")
		})
		_, after, _ := strings.Cut(screen, "\n")
		said += after
	}
	c.enter("exit")
	c.leave()
	text, err := os.ReadFile(filepath.Join(dir, "state", "shardsh", "history"))
	if err != nil || bytes.Count(text, []byte("***")) < 8 {
		t.Errorf("the history is %v\n%s", err, text)
	}
	return said
}
