package shell

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"shardsh/commands/spec"
)

// secretWord is a word that takes secrets in every way there is, and says everything it knows of them.
func secretWord() spec.Command {
	w := change("keep", nil)
	w.Args = []spec.Arg{{Name: "key", Names: true, Optional: true}, {Name: "value", Optional: true, Repeated: true}}
	w.Flags = []spec.Flag{{Name: "pass-word", Short: "P", Secret: true}, {Name: "envs", Short: "e", Kind: spec.ArgPair}, {Name: "fail", Kind: spec.ArgBool}}
	w.Change = func(_ context.Context, call *spec.Call) (*spec.Plan, error) {
		all := strings.Join(append(call.Args, call.String("pass-word"), call.String("envs")), " ")
		p := &newDeed(spec.Alter).plan
		p.Title, p.Notes, p.Name = "keep "+all, []string{all}, "victim"
		p.Steps[0].Text, p.Steps[0].Undo = "keep "+all, "keep "+all
		p.Steps[0].Apply = func(_ context.Context, report spec.Report) error {
			report.Detail("kept %s", all)
			if call.Bool("fail") {
				return errors.New("cannot keep " + all)
			}
			return nil
		}
		return p, nil
	}
	return w
}

func TestSecretsStayInTheShell(t *testing.T) {
	const secret = "hunter2 of 表\"格"
	typed := `"hunter2 of 表\"格"`
	for _, line := range []string{
		"keep --pass-word " + typed, "keep --pass_word=" + typed, "keep -P " + typed, "keep -P" + typed, "keep --envs a=1,the.token=" + typed,
		"keep -e the.token=" + typed + ",b=2", "keep db_password " + typed, "keep a b db.secret " + typed, "keep -P " + typed + " --fail",
		"keep -P " + typed + " --plan", "let my_token " + typed + "; keep a $my_token --fail",
		"kep -P " + typed, "keep --pas-word " + typed, "keep a_secret " + typed + " 'unterminated",
		"let my_token " + typed + " 1", "let my_token " + typed + "; let", "let my_token " + typed + "; help $my_token; use $my_token; watch --times 1 let a $my_token",
		"let my_token " + typed + "; option trace on; keep x $my_token --plan=" + "plan.json",
	} {
		b := newBench(t, secretWord())
		t.Chdir(b.dir)
		err := b.script(t.Context(), strings.NewReader(line+"\n"), "test")
		b.history.add(b.Shell, line, err)
		if err := b.audit.close(); err != nil {
			t.Fatal(err)
		}
		seen := b.out.String() + b.err.String()
		filepath.WalkDir(b.dir, func(path string, d os.DirEntry, _ error) error {
			if text, err := os.ReadFile(path); err == nil {
				seen += path + ": " + string(text)
			}
			return nil
		})
		if strings.Contains(seen, "hunter2") || strings.Contains(seen, secret) {
			t.Errorf("%s: the secret is in\n%s", line, seen)
		}
		if !strings.Contains(seen, "***") {
			t.Errorf("%s: there was nothing to hide:\n%s", line, seen)
		}
	}
}

func TestSecretsThatWereNotKept(t *testing.T) {
	b := newBench(t, secretWord())
	b.want("keep -P '***'\n", ExitUsage)
	b.wantText("stands for a secret that was not kept")
	b.want("keep -P hunter2 --plan=plan.json\n", ExitRefused)
	b.wantText("the line holds a secret")
	b.want("keep -P hunter2\nundo\n", ExitUsage)
	b.wantText("stands for a secret that was not kept")
}

// What is no secret stays as it is, and a short one hides nothing but itself.
func TestWhatIsNoSecretStays(t *testing.T) {
	b := newBench(t, secretWord())
	for line, want := range map[string]string{
		"keep key value":             "keep key value",
		"keep -P no a no":            "keep -P *** a ***",
		"let pin_token 1; keep a 12": "let pin_token ***; keep a 12",
		"keep a password":            "keep a password",
		"keep $x password":           "keep $x password",
		"kep token":                  "*** (a line that was not understood and may hold a secret)",
		"help password":              "help password",
		"keep -e a=1,b=2":            "keep -e a=1,b=2",
	} {
		if got := b.withoutSecrets(line); got != want {
			t.Errorf("%q is stored as %q, want %q", line, got, want)
		}
	}
}
