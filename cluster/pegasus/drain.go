package pegasus

import (
	"context"
	"encoding/json"
	"strings"

	"shardsh/commands/spec"
)

// blackListCommand keeps the meta server from placing secondaries on some nodes. It lives in the memory of the primary
// meta server: a new leader has forgotten it.
const blackListCommand = "meta.lb.assign_secondary_black_list"

// BlackList lists the nodes on which the meta server places no secondaries.
func (d *Driver) BlackList(ctx context.Context) ([]string, error) {
	leader, err := d.leader(ctx)
	if err != nil {
		return nil, err
	}
	text, err := d.RemoteCommand(ctx, leader, blackListCommand)
	if err != nil {
		return nil, err
	}
	list, ok := blackListAnswer(text)
	if !ok {
		return nil, &spec.Error{
			Kind: spec.Failed, Op: "read the black list", Endpoint: leader, Err: spec.Errorf(spec.Failed, "the answer was %q", text),
		}
	}
	return list, nil
}

// SetBlackList replaces the list; an empty one clears it.
func (d *Driver) SetBlackList(ctx context.Context, nodes []string) error {
	leader, err := d.leader(ctx)
	if err != nil {
		return err
	}
	arg := strings.Join(nodes, ",")
	if arg == "" {
		arg = "clear"
	}
	text, err := d.RemoteCommand(ctx, leader, blackListCommand, arg)
	if err != nil {
		return err
	}
	if _, ok := blackListAnswer(text); !ok {
		return &spec.Error{
			Kind: spec.Failed, Op: "set the black list", Endpoint: leader, Err: spec.Errorf(spec.Failed, "the answer was %q", text),
		}
	}
	return nil
}

// blackListAnswer reads both forms of the answer: words up to 2.5 ("get ok: a,b", "set ok", "clear ok"), JSON after it.
func blackListAnswer(text string) ([]string, bool) {
	text = strings.TrimSpace(text)
	var answer struct {
		Error string `json:"error"`
		List  string `json:"assign_secondary_black_list"`
	}
	if json.Unmarshal([]byte(text), &answer) == nil {
		return splitList(answer.List), answer.Error == "ok"
	}
	for _, prefix := range []string{"get ok:", "set ok", "clear ok"} {
		if rest, ok := strings.CutPrefix(text, prefix); ok {
			return splitList(strings.TrimSpace(rest)), true
		}
	}
	return nil, false
}

// leader asks which meta server is the primary one.
func (d *Driver) leader(ctx context.Context) (string, error) {
	info, err := d.Info(ctx)
	if err != nil {
		return "", err
	}
	if info.Leader == "" {
		return "", &spec.Error{Kind: spec.Failed, Op: "find the primary meta server", Err: spec.Errorf(spec.Failed, "the cluster does not tell")}
	}
	return info.Leader, nil
}
