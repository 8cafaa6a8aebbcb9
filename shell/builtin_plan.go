package shell

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"strings"

	"shardsh/commands/spec"
	"shardsh/shell/line"
)

// planFile is what --plan=FILE writes: a call and the digest of its plan, for somebody else to read and to apply. The
// plan itself is not in it: who applies it plans again.
type planFile struct {
	Cluster string     `json:"cluster"`
	Table   string     `json:"table,omitempty"`
	Line    string     `json:"line"`
	Title   string     `json:"title"`
	Class   string     `json:"class"`
	Digest  string     `json:"digest"`
	Steps   []planStep `json:"steps"`
	Notes   []string   `json:"notes,omitempty"`
	By      string     `json:"planned_by"`
}

type planStep struct {
	Text    string   `json:"step"`
	Objects []string `json:"objects,omitempty"`
	Class   string   `json:"class"`
	Undo    string   `json:"undo,omitempty"`
}

// planFileLimit bounds what apply reads.
const planFileLimit = 16 << 20

// writePlan writes a plan for somebody else. A file that exists is not replaced: it may be somebody's plan.
func writePlan(name string, call *spec.Call, p *spec.Plan) error {
	if call.Secret {
		return spec.Errorf(spec.Refused, "the line holds a secret, which a plan file must not").WithHint("--plan alone shows the plan")
	}
	out := planFile{
		Cluster: call.Cluster, Table: call.Table, Line: withoutPlanFlag(call.Line), Title: p.Title, Class: p.Class().String(),
		Digest: digest(call, p), Notes: p.Notes, By: userName(),
	}
	for _, st := range p.Steps {
		out.Steps = append(out.Steps, planStep{st.Text, st.Objects, st.Class.String(), st.Undo})
	}
	text, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		_, err = f.Write(append(text, '\n'))
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return spec.Errorf(spec.Usage, "write the plan: %w", err).WithHint("name a file that does not exist yet")
	}
	return nil
}

// withoutPlanFlag is the line that makes the change instead of planning it.
func withoutPlanFlag(text string) string {
	words, err := plainWords(text)
	if err != nil {
		return text
	}
	return line.QuoteAll(slices.DeleteFunc(words, func(w string) bool { return flagName(w) == "plan" }))
}

func applyWord(s *Shell) spec.Command {
	return spec.Command{
		Name: "apply", Topic: "shell", Offline: true,
		Summary: "apply a plan that --plan=FILE wrote, if it is still the same",
		Long: "Plans the recorded line again on its cluster and table, and refuses when the plan differs: the cluster is no longer " +
			"as the reader of the file knew it. Then it is confirmed, recorded and applied like any other change.",
		Args: []spec.Arg{{Name: "file", Kind: spec.ArgFile, Help: "what --plan=FILE wrote"}},
		Examples: []spec.Example{{
			Line: "apply plan.json", Says: "make the change that was planned", Setup: []string{"create logs --plan=plan.json"},
		}},
		SeeAlso: []string{"undo"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			recorded, err := readPlan(call.Arg(0))
			if err != nil {
				return nil, err
			}
			return s.replan(ctx, call, recorded)
		},
	}
}

func readPlan(name string) (planFile, error) {
	var p planFile
	f, err := os.Open(name)
	if err != nil {
		return p, spec.Errorf(spec.Usage, "read the plan: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, planFileLimit))
	if err == nil {
		err = json.Unmarshal(text, &p)
	}
	if err != nil || p.Line == "" || p.Digest == "" {
		return p, spec.Errorf(spec.Usage, "%s is no plan of --plan=FILE: %w", name, err)
	}
	return p, nil
}

// replan plans the recorded line again and makes the call its own, so that audit and digest speak of it.
func (s *Shell) replan(ctx context.Context, call *spec.Call, recorded planFile) (*spec.Plan, error) {
	words, err := plainWords(recorded.Line)
	if err != nil {
		return nil, err
	}
	back := s.session.aside()
	defer back()
	if recorded.Cluster != "" {
		if err := s.choose(recorded.Cluster); err != nil {
			return nil, err
		}
	}
	s.session.mu.Lock()
	s.session.table = recorded.Table
	s.session.mu.Unlock()
	inner, _, err := s.resolve(words)
	if err != nil {
		return nil, err
	}
	if inner.Command.Change == nil {
		return nil, spec.Errorf(spec.Usage, "%s changes nothing", recorded.Line)
	}
	inner.Line = line.QuoteAll(words)
	p, err := inner.Command.Change(ctx, inner)
	if err != nil {
		return nil, err
	}
	if now := digest(inner, p); now != recorded.Digest {
		return nil, &spec.Error{
			Kind: spec.Refused, Op: "apply", Err: errors.New("the plan is not the same any more: " + recorded.Line),
			Hint: "plan it again with --plan and compare; nothing was sent",
		}
	}
	call.Cluster, call.Table, call.Line = inner.Cluster, inner.Table, inner.Line
	return p, nil
}

func undoWord(s *Shell) spec.Command {
	return spec.Command{
		Name: "undo", Topic: "shell", Offline: true,
		Summary: "take back the last change of this shell, as far as its steps can be",
		Long:    "Runs the undo lines of the steps that took effect, the last one first, each confirmed as its own change. What has no undo is named.",
		Examples: []spec.Example{
			{Line: "undo", Says: "the setting is as it was", Setup: []string{"use demo", "set_app_envs replica.slow_query_threshold 100"}},
		},
		SeeAlso: []string{"apply", "history"},
		Query: func(ctx context.Context, _ *spec.Call) (*spec.Table, error) {
			last := s.lastDone
			if last == nil {
				return nil, spec.Errorf(spec.NotFound, "this shell has changed nothing yet")
			}
			return nil, s.undo(ctx, last)
		},
	}
}

// doneChange remembers what a plan did, for undo.
type doneChange struct {
	cluster, table, line string
	undo                 []string // of the steps that took effect, in order
	without              []string // steps that took effect and have none
}

// back are the lines that take it back, in their order, each once.
func (d *doneChange) back() []string {
	var lines []string
	for _, text := range slices.Backward(d.undo) {
		if !slices.Contains(lines, text) {
			lines = append(lines, text)
		}
	}
	return lines
}

func (s *Shell) undo(ctx context.Context, last *doneChange) error {
	if len(last.undo) == 0 {
		return spec.Errorf(spec.Unable, "%s cannot be taken back: %s", last.line, strings.Join(last.without, "; "))
	}
	back := s.session.aside()
	defer back()
	if last.cluster != "" {
		if err := s.choose(last.cluster); err != nil {
			return err
		}
	}
	s.session.mu.Lock()
	s.session.table = last.table
	s.session.mu.Unlock()
	for _, text := range last.back() {
		if strings.Contains(text, spec.Hidden) {
			return spec.Errorf(spec.Unable, "undo: %s: %s stands for a secret that was not kept", text, spec.Hidden).WithHint("type it with the secret in its place")
		}
		cmds, err := line.Parse(text)
		if err == nil {
			err = s.run(ctx, cmds)
		}
		if err != nil {
			return &spec.Error{Kind: spec.KindOf(err), Op: "undo: " + text, Err: err, Hint: spec.HintOf(err)}
		}
	}
	s.lastDone = nil
	if len(last.without) > 0 {
		return spec.Errorf(spec.PartlyDone, "these steps have no undo: %s", strings.Join(last.without, "; "))
	}
	return nil
}
