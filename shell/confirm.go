package shell

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"shardsh/commands/spec"
	"shardsh/shell/render"
	"shardsh/shell/term"
)

// confirm asks what a plan's class demands and answers how it was confirmed ("", "yes", "name"). Unconfirmed is
// Refused, and nothing was sent.
func (s *Shell) confirm(p *spec.Plan, x extras) (string, error) {
	class := p.Class()
	if class < spec.Risky && (class < spec.Alter || s.option("confirm").Value != "change" || rowsOnly(p)) {
		return "", nil
	}
	if p.Name == "" {
		p.Name, _ = s.session.where()
	}
	yes := x.Yes
	if yes == nil {
		yes = s.flags.yes
	}
	switch {
	case yes != nil && *yes == p.Name:
		return "--yes=" + p.Name, nil
	case yes != nil && class < spec.Destroy && *yes == "":
		return "--yes", nil
	case yes != nil && *yes != "":
		return "", refused(p, fmt.Errorf("--yes=%s is not the name %s", *yes, p.Name), class)
	case s.terminal == nil:
		return "", refused(p, errors.New("not confirmed"), class)
	}
	return s.ask(p, class)
}

func refused(p *spec.Plan, why error, class spec.Class) error {
	hint := "--yes confirms it"
	if class == spec.Destroy {
		hint = "--yes=" + p.Name + " confirms it"
	}
	return &spec.Error{Kind: spec.Refused, Op: p.Title, Err: why, Hint: hint + "; --plan shows the steps; nothing was sent"}
}

// typedPrefix begins how a plan was confirmed at the terminal.
const typedPrefix = "typed "

// ask shows the plan at the terminal and reads the answer from it.
func (s *Shell) ask(p *spec.Plan, class spec.Class) (string, error) {
	_, err := render.Write(context.Background(), s.stderr, s.stderr, planTable(p), render.Options{
		Format: "auto", Terminal: true, Width: s.width(), Color: s.color,
	})
	if err != nil {
		return "", err
	}
	fmt.Fprintf(s.stderr, "plan: %s\n", render.Escape(p.Title))
	for _, note := range p.Notes {
		fmt.Fprintf(s.stderr, "  %s\n", render.Escape(note))
	}
	question := fmt.Sprintf("%s. Go on? [y/N] ", class)
	if class == spec.Destroy {
		question = fmt.Sprintf("%s. Type %s to go on: ", class, render.Escape(p.Name))
	}
	answer, err := s.reader.Confirm(question)
	if err != nil && !errors.Is(err, term.ErrInterrupted) {
		return "", refused(p, err, class)
	}
	answer = strings.TrimSpace(answer)
	switch {
	case class == spec.Destroy && answer == p.Name:
		return typedPrefix + "the name", nil
	case class < spec.Destroy && (strings.EqualFold(answer, "y") || strings.EqualFold(answer, "yes")):
		return typedPrefix + answer, nil
	}
	return "", &spec.Error{Kind: spec.Refused, Op: p.Title, Err: errors.New("not confirmed; nothing was sent")}
}
