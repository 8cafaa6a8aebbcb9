package pegasus

import (
	"context"
	"fmt"
	"time"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// CheckAndMutate changes rows on a condition.
func CheckAndMutate(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "check_and_mutate",
		Systems: systems,
		Topic:   "rows",
		Summary: "set and delete rows if one of the same hash key is as expected, all or none",
		Long: "Looks at one row and makes changes under the same hash key, in one step that no other write comes between. The changes " +
			"stand behind the hash key, as many as wanted: `set SORT_KEY VALUE [TTL]` and `del SORT_KEY`, what one types into the dialogue of the " +
			"stores' own shell. Of several changes to one row the last one counts. A word that starts with - needs -- somewhere before it. " + checkLong,
		Args: []spec.Arg{
			keyArgs[0],
			{Name: "change", Kind: spec.ArgBytes, Optional: true, Repeated: true, Help: "set SORT_KEY VALUE [TTL], or del SORT_KEY; several behind each other"},
		},
		Flags: conditionFlags,
		Examples: []spec.Example{
			{Line: "check_and_mutate job_1 -c owner -t bytes_equal -o me set state done del owner", Says: "finish a job and give back its lock", Setup: []string{"use demo", "set job_1 owner me"}},
			{Line: "check_and_mutate user_1 -c name -t not_exist set name alice set session 42 3600", Says: "two rows, one of them for an hour", Setup: []string{"use demo"}},
			{Line: "check_and_mutate user_1 -c credit -t int_greater -o 0 -r -- set credit -5", Says: "a value that starts with -", Setup: []string{"use demo", "set user_1 credit 7"}},
		},
		SeeAlso: []string{"check_and_set", "multi_set", "multi_del"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			return checkAndMutate(ctx, env, call)
		},
	}
}

func checkAndMutate(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Plan, error) {
	check, err := checkOf(call)
	if err != nil {
		return nil, err
	}
	changes, err := mutations(call.Rest(1))
	if err != nil {
		return nil, err
	}
	if err := checkTotal(call.Arg(0), append(call.Rest(1), string(check.Sort), string(check.Operand))); err != nil {
		return nil, err
	}
	c, k, err := openHash(ctx, env, call)
	if err != nil {
		return nil, err
	}
	k.sort = string(check.Sort)
	sets := 0
	for _, m := range changes {
		if !m.Delete {
			sets++
		}
	}
	text := fmt.Sprintf("set %d and del %d rows under %s", sets, len(changes)-sets, k.under())
	p := checkedPlan(text, "mutate_succeed", k, check, func(ctx context.Context) (driver.Checked, error) {
		return c.CheckAndMutate(ctx, k.table, []byte(k.hash), check, changes)
	})
	p.Steps[0].Objects = []string{quote(k.hash)}
	return p, nil
}

// mutations reads changes that stand behind each other. Behind a set, a word that is a duration is its time to live;
// neither `set` nor `del` is one, so nothing is read in two ways.
func mutations(words []string) ([]driver.Mutation, error) {
	if len(words) == 0 {
		return nil, spec.Errorf(spec.Usage, "no change is named").WithHint("%s", mutationHint)
	}
	var list []driver.Mutation
	take := func() []byte { w := words[0]; words = words[1:]; return []byte(w) }
	for len(words) > 0 {
		switch verb := string(take()); {
		case verb == "del" && len(words) > 0:
			list = append(list, driver.Mutation{Delete: true, Sort: take()})
		case verb == "set" && len(words) > 1:
			m := driver.Mutation{Sort: take(), Value: take()}
			if len(words) > 0 && words[0] != "set" && words[0] != "del" {
				var err error
				if m.TTL, err = spec.ParseDuration(words[0], time.Second); err != nil || words[0] == "" {
					return nil, spec.Errorf(spec.Usage, "%s is neither set, del nor a time to live", quote(words[0])).WithHint("%s", mutationHint)
				}
				if err := checkTTL(m.TTL); err != nil {
					return nil, err
				}
				take()
			}
			list = append(list, m)
		case verb == "set" || verb == "del":
			return nil, spec.Errorf(spec.Usage, "the last %s is not complete", verb).WithHint("%s", mutationHint)
		default:
			return nil, spec.Errorf(spec.Usage, "%s is neither set nor del", quote(verb)).WithHint("%s", mutationHint)
		}
	}
	return list, nil
}

const mutationHint = "changes are `set SORT_KEY VALUE [TTL]` and `del SORT_KEY`, one behind the other"
