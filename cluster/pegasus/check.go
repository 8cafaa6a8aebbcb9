package pegasus

import (
	"context"
	"errors"
	"time"

	"shardsh/cluster/pegasus/wire"
	"shardsh/commands/spec"
)

// Incr adds to a row that holds a decimal integer, atomically, and answers the sum. A row that is not there, or is
// empty, counts as 0; its time to live stays as it is.
func (d *Driver) Incr(ctx context.Context, table string, hash, sort []byte, by int64) (int64, Ack, error) {
	op := "increment a row of " + table
	key, err := fullKey(op, hash, sort)
	if err != nil {
		return 0, Ack{}, err
	}
	h := wire.Hash(hash, sort)
	var a wire.IncrResponse
	args := wire.IncrRequest{Key: key, Increment: by}
	if err := partitionCall(ctx, d, op, table, byHash(h), h, &wire.Incr, &args, &a); err != nil {
		return 0, Ack{}, err
	}
	ack := Ack{AppID: a.AppID, Partition: int(a.Partition), Decree: a.Decree, Server: a.Server}
	if a.Error == wire.StatusInvalidArgument {
		return 0, ack, &spec.Error{
			Kind: spec.Failed, Op: op, Endpoint: a.Server, Err: errors.New("the value is no integer, or the sum does not fit 64 bits"),
		}
	}
	return a.NewValue, ack, statusError(op, a.Server, a.Error)
}

// Check is the condition of a write: what the row of a sort key must be like.
type Check struct {
	Sort []byte
	// Type is one of CheckTypes. Operand is what the value is compared with, for the types that compare.
	Type    string
	Operand []byte
	// Return asks for the value that was looked at.
	Return bool
}

// CheckTypes lists the types of a Check, as the store's own shell spells them ("int_less").
func CheckTypes() []string { return wire.CheckNames() }

// CheckNeedsOperand reports whether a type of Check compares the value with something.
func CheckNeedsOperand(name string) bool {
	c, _ := wire.ParseCheckType(name)
	return c.NeedsOperand()
}

// Checked is what became of a conditional write. A check that did not pass is not an error.
type Checked struct {
	Passed bool
	// Exists and Value are of the row that was looked at, when Returned.
	Returned, Exists bool
	Value            []byte
	Ack              Ack
}

// Mutation is one change of CheckAndMutate: a row set, with its time to live (0 leaves it to the table), or deleted.
type Mutation struct {
	Delete      bool
	Sort, Value []byte
	TTL         time.Duration
}

// CheckAndSet sets a row when the check passes on a row of the same hash key, in one step.
func (d *Driver) CheckAndSet(ctx context.Context, table string, hash []byte, c Check, sort, value []byte, ttl time.Duration) (Checked, error) {
	op := "check and set a row of " + table
	kind, err := checkType(op, hash, c)
	if err != nil {
		return Checked{}, err
	}
	expires, err := wire.ExpireTS(time.Now(), ttl)
	if err != nil {
		return Checked{}, &spec.Error{Kind: spec.Usage, Op: op, Err: err}
	}
	args := wire.CheckAndSetRequest{
		HashKey: hash, CheckSortKey: c.Sort, CheckType: kind, CheckOperand: c.Operand, SetDiffSortKey: true,
		SetSortKey: sort, SetValue: value, ExpireTS: expires, ReturnCheckValue: c.Return,
	}
	h := wire.Hash(hash, nil)
	var a wire.CheckResponse
	if err := partitionCall(ctx, d, op, table, byHash(h), h, &wire.CheckAndSet, &args, &a); err != nil {
		return Checked{}, err
	}
	return checked(op, &a)
}

// CheckAndMutate makes changes under one hash key, all of them or none, when the check passes on one of its rows. All
// of it must fit a write (1 MiB by default). Of several changes to one row the last one counts.
func (d *Driver) CheckAndMutate(ctx context.Context, table string, hash []byte, c Check, changes []Mutation) (Checked, error) {
	op := "check and mutate rows of " + table
	kind, err := checkType(op, hash, c)
	if err != nil {
		return Checked{}, err
	}
	if len(changes) == 0 {
		return Checked{}, &spec.Error{Kind: spec.Usage, Op: op, Err: errors.New("there is nothing to change")}
	}
	args := wire.CheckAndMutateRequest{
		HashKey: hash, CheckSortKey: c.Sort, CheckType: kind, CheckOperand: c.Operand, ReturnCheckValue: c.Return,
		Mutations: make([]wire.Mutation, len(changes)),
	}
	for i, m := range changes {
		args.Mutations[i] = wire.Mutation{Operation: wire.MutateDelete, SortKey: m.Sort}
		if m.Delete {
			continue
		}
		expires, err := wire.ExpireTS(time.Now(), m.TTL)
		if err != nil {
			return Checked{}, &spec.Error{Kind: spec.Usage, Op: op, Err: err}
		}
		args.Mutations[i] = wire.Mutation{Operation: wire.MutatePut, SortKey: m.Sort, Value: m.Value, ExpireTS: expires}
	}
	h := wire.Hash(hash, nil)
	var a wire.CheckResponse
	if err := partitionCall(ctx, d, op, table, byHash(h), h, &wire.CheckAndMutate, &args, &a); err != nil {
		return Checked{}, err
	}
	return checked(op, &a)
}

func checkType(op string, hash []byte, c Check) (wire.CheckType, error) {
	kind, ok := wire.ParseCheckType(c.Type)
	if !ok {
		return 0, &spec.Error{Kind: spec.Usage, Op: op, Err: errors.New("there is no check " + c.Type)}
	}
	return kind, checkHash(op, hash)
}

func checked(op string, a *wire.CheckResponse) (Checked, error) {
	c := Checked{
		Passed: a.Error == wire.StatusOK, Returned: a.CheckValueReturned, Exists: a.CheckValueExist, Value: a.CheckValue,
		Ack: Ack{AppID: a.AppID, Partition: int(a.Partition), Decree: a.Decree, Server: a.Server},
	}
	switch a.Error {
	case wire.StatusTryAgain:
		return c, nil
	case wire.StatusInvalidArgument:
		return c, &spec.Error{
			Kind: spec.Failed, Op: op, Endpoint: a.Server, Err: errors.New("the value that was looked at, or the operand, is no integer of 64 bits"),
		}
	}
	return c, statusError(op, a.Server, a.Error)
}
