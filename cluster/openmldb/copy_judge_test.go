package openmldb

import (
	"context"
	"errors"
	"testing"

	"shardsh/cluster/openmldb/rpc"
	"shardsh/cluster/transfer"
)

func TestJudge(t *testing.T) {
	refusal := func(framework bool, code int32) error {
		return failure("put", true, &refusal{endpoint: "t1:1", code: code, text: "no", framework: framework})
	}
	lost := func(sent bool) error {
		return failure("put", true, &lostError{endpoint: "t1:1", sent: sent, err: errors.New("cut")})
	}
	for name, x := range map[string]struct {
		err  error
		want transfer.Verdict
	}{
		"nobody there":       {lost(false), transfer.Again},
		"answer lost":        {lost(true), transfer.Again},
		"closed by us":       {failure("put", true, &lostError{endpoint: "t1:1", err: errClosed}), transfer.Fatal},
		"follower":           {refusal(false, codeIsFollower), transfer.Again},
		"loading":            {refusal(false, 104), transfer.Again},
		"memory":             {refusal(false, codeMaxMemory), transfer.Again},
		"put failed":         {refusal(false, 116), transfer.Fatal},
		"bad dimension":      {refusal(false, 115), transfer.Fatal},
		"too many calls":     {refusal(true, rpc.CodeLimit), transfer.Slow},
		"overcrowded":        {refusal(true, rpc.CodeOvercrowded), transfer.Slow},
		"stopping":           {refusal(true, rpc.CodeLogoff), transfer.Again},
		"wrong credential":   {refusal(true, codeDenied), transfer.Fatal},
		"changed":            {errChanged, transfer.Again},
		"of another program": {context.Canceled, transfer.Fatal},
		"then sent":          {unsure("put", refusal(true, rpc.CodeLimit)), transfer.Slow},
	} {
		if got := judge(x.err); got != x.want {
			t.Errorf("%s: %v, not %v: %v", name, got, x.want, x.err)
		}
	}
}

// FuzzNormalRow: whatever a tablet sends for a row, it is refused or read.
func FuzzNormalRow(f *testing.F) {
	made, err := tableOf(flowInfo(1, "t1:1"))
	if err != nil {
		f.Fatal(err)
	}
	b := &made
	for _, values := range [][]any{{"c", "m", 1.5, int64(7)}, {nil, "", nil, int64(1)}} {
		row, err := b.Schema.Encode(values)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(row)
		f.Add(row[:len(row)-1])
	}
	f.Add([]byte{})
	f.Add([]byte{1, 2, 6, 0, 0, 0})
	f.Fuzz(func(t *testing.T, row []byte) {
		value, err := normalRow("read", b, append([]byte(nil), row...))
		if err != nil {
			return
		}
		_, _ = CopyRow{Value: value}.Values(b)
		_ = CopyRows{}.Sum(CopyRow{Key: "k", Value: value})
	})
}
