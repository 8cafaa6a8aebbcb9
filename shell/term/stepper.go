package term

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// Stepper gives the lines of a script one by one, each after somebody at the terminal has agreed to it. Questions of
// the commands themselves go to the terminal.
type Stepper struct {
	next     func() (string, error)
	terminal LineReader
	all      bool
}

// NewStepper steps through what next answers, until io.EOF, asking at the terminal.
func NewStepper(next func() (string, error), terminal LineReader) *Stepper {
	return &Stepper{next: next, terminal: terminal}
}

// ReadLine shows the next line and asks what to do with it: Enter or y runs it, s leaves it out, a runs it and all that
// follow; q, Ctrl-C and Ctrl-D end.
func (s *Stepper) ReadLine(Prompt) (string, error) {
	for {
		line, err := s.next()
		if err != nil || s.all || strings.TrimSpace(line) == "" || strings.HasPrefix(strings.TrimSpace(line), "#") {
			return line, err
		}
		verdict, err := s.ask(line)
		if errors.Is(err, ErrInterrupted) {
			return "", io.EOF
		}
		if err != nil {
			return "", err
		}
		switch verdict {
		case 'y':
			return line, nil
		case 'a':
			s.all = true
			return line, nil
		case 'q':
			return "", io.EOF
		}
	}
}

func (s *Stepper) ask(line string) (byte, error) {
	for {
		answer, err := s.terminal.Confirm(fmt.Sprintf("%s\n  run it? [Y]es, [s]kip, [a]ll, [q]uit: ", line))
		if err != nil {
			return 0, err
		}
		switch strings.ToLower(strings.TrimSpace(answer)) {
		case "", "y", "yes":
			return 'y', nil
		case "s", "skip", "n", "no":
			return 's', nil
		case "a", "all":
			return 'a', nil
		case "q", "quit":
			return 'q', nil
		}
	}
}

// Confirm asks at the terminal.
func (s *Stepper) Confirm(question string) (string, error) { return s.terminal.Confirm(question) }

// ReadSecret asks at the terminal.
func (s *Stepper) ReadSecret(question string) (string, error) { return s.terminal.ReadSecret(question) }

// Close leaves the terminal to whoever opened it.
func (s *Stepper) Close() error { return nil }

var _ LineReader = (*Stepper)(nil)
