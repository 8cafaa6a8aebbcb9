package shell

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"shardsh/commands/spec"
)

func completionWord(s *Shell) spec.Command {
	return spec.Command{
		Name: "completion", Topic: "shell", Offline: true,
		Summary: "write the completion script for the system's shell",
		Long:    "bash: shardsh completion bash > /etc/bash_completion.d/shardsh. It completes the program's flags, the commands and their flags.",
		Args:    []spec.Arg{{Name: "shell", Kind: spec.ArgEnum, Values: []string{"bash", "zsh", "fish"}, Help: "for which shell"}},
		Examples: []spec.Example{
			{Line: "completion bash --output plain", Says: "the script for bash"},
		},
		Query: func(_ context.Context, call *spec.Call) (*spec.Table, error) {
			script := map[string]func(*Shell) string{"bash": bashScript, "zsh": zshScript, "fish": fishScript}[call.Arg(0)]
			return &spec.Table{Text: script(s)}, nil
		},
	}
}

// programLong lists the program's long flags.
func programLong() []string {
	var all []string
	programFlags(&flags{}).VisitAll(func(f *pflag.Flag) { all = append(all, "--"+f.Name) })
	return all
}

// wordTree lists the words that may follow each first word: the second words of two-word names, and flags.
func (s *Shell) wordTree() (first []string, follow map[string][]string) {
	follow = map[string][]string{}
	for _, name := range s.words.names("") {
		head, second, two := strings.Cut(name, " ")
		if !slices.Contains(first, head) && !strings.HasPrefix(head, `\`) {
			first = append(first, head)
		}
		if two {
			follow[head] = append(follow[head], second)
		}
		for _, c := range s.words.byName[name] {
			for _, f := range c.Flags {
				if label := f.Label(); !slices.Contains(follow[head], label) {
					follow[head] = append(follow[head], label)
				}
			}
		}
	}
	return first, follow
}

func bashScript(s *Shell) string {
	first, follow := s.wordTree()
	var b strings.Builder
	fmt.Fprintf(&b, "_shardsh() {\n  local cur=\"${COMP_WORDS[COMP_CWORD]}\" i word=\"\"\n")
	fmt.Fprintf(&b, "  for ((i = 1; i < COMP_CWORD; i++)); do\n    case \"${COMP_WORDS[i]}\" in\n      -*) ;;\n")
	fmt.Fprintf(&b, "      %s) word=\"${COMP_WORDS[i]}\"; break ;;\n    esac\n  done\n  case \"$word\" in\n", strings.Join(first, "|"))
	for _, w := range first {
		if len(follow[w]) > 0 {
			fmt.Fprintf(&b, "    %s) COMPREPLY=($(compgen -W \"%s\" -- \"$cur\")) ;;\n", w, strings.Join(follow[w], " "))
		}
	}
	fmt.Fprintf(&b, "    \"\") COMPREPLY=($(compgen -W \"%s %s\" -- \"$cur\")) ;;\n  esac\n}\n",
		strings.Join(first, " "), strings.Join(programLong(), " "))
	b.WriteString("complete -o default -F _shardsh shardsh\n")
	return b.String()
}

func zshScript(s *Shell) string {
	return "#compdef shardsh\nautoload -U +X bashcompinit && bashcompinit\n" + bashScript(s)
}

func fishScript(s *Shell) string {
	first, follow := s.wordTree()
	var b strings.Builder
	b.WriteString("complete -c shardsh -f\n")
	programFlags(&flags{}).VisitAll(func(f *pflag.Flag) {
		short := ""
		if f.Shorthand != "" {
			short = " -s " + f.Shorthand
		}
		fmt.Fprintf(&b, "complete -c shardsh -l %s%s -d %s\n", f.Name, short, fishQuote(f.Usage))
	})
	fmt.Fprintf(&b, "complete -c shardsh -n __fish_use_subcommand -a %s\n", fishQuote(strings.Join(first, " ")))
	for _, w := range first {
		if len(follow[w]) > 0 {
			fmt.Fprintf(&b, "complete -c shardsh -n %s -a %s\n", fishQuote("__fish_seen_subcommand_from "+w),
				fishQuote(strings.Join(follow[w], " ")))
		}
	}
	return b.String()
}

func fishQuote(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'"
}
