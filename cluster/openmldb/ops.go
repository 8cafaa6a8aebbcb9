package openmldb

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/ns"
	"shardsh/commands/spec"
)

// Ops lists operations by id. The nameserver forgets the oldest that have ended, and with a new leader all that ended
// well.
func (d *Driver) Ops(ctx context.Context, filter OpFilter) ([]Op, error) {
	q := &ns.ShowOPStatusRequest{}
	if filter.Table.Name != "" {
		q.Name, q.Db = proto.String(filter.Table.Name), proto.String(filter.Table.DB)
		if filter.Partition >= 0 {
			q.Pid = proto.Uint32(uint32(filter.Partition))
		}
	}
	if filter.ID != 0 {
		q.OpId = proto.Uint64(filter.ID)
	}
	a := &ns.ShowOPStatusResponse{}
	if _, err := d.lookUp(ctx, "list the operations", "ShowOPStatus", q, a); err != nil {
		return nil, err
	}
	var all []Op
	for _, s := range a.GetOpStatus() {
		all = append(all, opOf(s))
	}
	return all, nil
}

func opOf(s *ns.OPStatus) Op {
	o := Op{
		ID: s.GetOpId(), Type: s.GetOpType(), Status: s.GetStatus(), Task: s.GetTaskType(), Partition: -1,
		Table: TableName{DB: s.GetDb(), Name: s.GetName()}, Start: unix(s.GetStartTime()), End: unix(s.GetEndTime()),
		ReplicaCluster: s.GetForReplicaCluster() == 1,
	}
	if o.Task == "-" {
		o.Task = ""
	}
	if s.Pid != nil {
		o.Partition = int(s.GetPid())
	}
	return o
}

// unix is a time in seconds, 0 for none.
func unix(seconds uint64) time.Time {
	if seconds == 0 || seconds > 1<<40 {
		return time.Time{}
	}
	return time.Unix(int64(seconds), 0)
}

// CancelOp cancels an operation that has not ended. Steps that were made are not taken back.
func (d *Driver) CancelOp(ctx context.Context, id uint64) error {
	return d.change(ctx, fmt.Sprintf("cancel operation %d", id), "CancelOP", &ns.CancelOPRequest{OpId: &id})
}

// DeleteOp has the nameserver forget an operation, whatever its state.
func (d *Driver) DeleteOp(ctx context.Context, id uint64) error {
	return d.change(ctx, fmt.Sprintf("delete operation %d", id), "DeleteOP", &ns.DeleteOPRequest{OpId: &id})
}

// DeleteOps has it forget those of a status that ended: "kDone", "kFailed" or "kCanceled"; of all databases for "".
func (d *Driver) DeleteOps(ctx context.Context, db, status string) error {
	n, known := api.TaskStatus_value[withK(status)]
	if !known || !(Op{Status: withK(status)}).Over() {
		return spec.Errorf(spec.Usage, "operations of status %q cannot be deleted", status).WithHint("kDone, kFailed or kCanceled")
	}
	q := &ns.DeleteOPRequest{Status: api.TaskStatus(n).Enum()}
	if db != "" {
		q.Db = proto.String(db)
	}
	return d.change(ctx, "delete operations that are "+withK(status), "DeleteOP", q)
}

// fanout bounds how many servers are asked at once.
const fanout = 16

// TraceOps finds what can be found about operations beyond their lines, with a call to each healthy tablet and, where
// the cluster was found in ZooKeeper, one for each operation. Tablets that do not answer are passed over.
func (d *Driver) TraceOps(ctx context.Context, ids ...uint64) (map[uint64]OpTrace, error) {
	tablets, err := d.Tablets(ctx)
	if err != nil {
		return nil, err
	}
	found := make(map[uint64]OpTrace, len(ids))
	for _, id := range ids {
		found[id] = OpTrace{Step: -1, Queue: -1}
	}
	var mu sync.Mutex
	var failed error
	each(ctx, ids, func(ctx context.Context, id uint64) {
		t, err := d.kept(ctx, id)
		mu.Lock()
		defer mu.Unlock()
		if found[id] = t; err != nil {
			failed = err
		}
	})
	if failed != nil {
		return nil, failed
	}
	tasks := make([][]OpTask, len(tablets))
	each(ctx, indexes(len(tablets)), func(ctx context.Context, i int) {
		if tablets[i].Healthy {
			tasks[i], _ = d.TabletTasks(ctx, tablets[i].Endpoint)
		}
	})
	for _, list := range tasks {
		for _, task := range list {
			if t, wanted := found[task.Op]; wanted {
				t.Tasks = append(t.Tasks, task)
				if t.Endpoint == "" {
					t.Endpoint = task.Endpoint
				}
				found[task.Op] = t
			}
		}
	}
	return found, failure("trace operations", false, ctx.Err())
}

// indexes are the numbers below n.
func indexes(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// each calls f for each of all, several at once, and returns when every call has.
func each[T any](ctx context.Context, all []T, f func(context.Context, T)) {
	var group sync.WaitGroup
	defer group.Wait()
	slots := make(chan struct{}, fanout)
	for _, x := range all {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		group.Go(func() {
			defer func() { <-slots }()
			f(ctx, x)
		})
	}
}

// kept reads what ZooKeeper has of an operation: nothing of one that ended well.
func (d *Driver) kept(ctx context.Context, id uint64) (OpTrace, error) {
	op := fmt.Sprintf("trace operation %d", id)
	none := OpTrace{Step: -1, Queue: -1}
	ctx, cancel := d.bound(ctx)
	defer cancel()
	data, err := d.finder.node(ctx, fmt.Sprint("/op/op_data/", id))
	switch {
	case errors.Is(err, errNoNode), errors.Is(err, errNoKeeper):
		return none, nil
	case err != nil:
		return none, failure(op, false, err)
	}
	t, err := traceOf(data)
	if err != nil {
		return none, malformed(op, "", "%w", err)
	}
	return t, nil
}

// traceOf reads an api.OPInfo.
func traceOf(data []byte) (OpTrace, error) {
	info := &api.OPInfo{}
	if err := proto.Unmarshal(data, info); err != nil {
		return OpTrace{}, err
	}
	t := OpTrace{Step: int(info.GetTaskIndex()), Queue: -1, Parent: info.GetParentId()}
	if t.Parent == math.MaxUint64 {
		t.Parent = 0
	}
	if info.VecIdx != nil {
		t.Queue = int(info.GetVecIdx())
	}
	var err error
	t.Endpoint, err = endpointOf(info)
	return t, err
}

// endpointOf finds the node an operation is about in its plan, whose form depends on the operation.
func endpointOf(info *api.OPInfo) (string, error) {
	endpoint := ""
	read := func(m proto.Message, get func() string) error {
		err := proto.Unmarshal(info.GetData(), m)
		endpoint = get()
		return err
	}
	var err error
	switch info.GetOpType() {
	case api.OPType_kAddReplicaOP:
		m := &ns.AddReplicaNSRequest{}
		err = read(m, m.GetEndpoint)
	case api.OPType_kChangeLeaderOP:
		m := &ns.ChangeLeaderData{}
		if err = read(m, m.GetLeader); endpoint == "" {
			endpoint = m.GetCandidateLeader()
		}
	case api.OPType_kMigrateOP:
		m := &ns.MigrateInfo{}
		err = read(m, m.GetDesEndpoint)
	case api.OPType_kRecoverTableOP, api.OPType_kReAddReplicaOP, api.OPType_kReAddReplicaNoSendOP,
		api.OPType_kReAddReplicaWithDropOP, api.OPType_kReAddReplicaSimplifyOP:
		m := &ns.RecoverTableData{}
		err = read(m, m.GetEndpoint)
	case api.OPType_kUpdatePartitionStatusOP:
		m := &ns.EndpointStatusData{}
		err = read(m, m.GetEndpoint)
	case api.OPType_kOfflineReplicaOP, api.OPType_kDelReplicaOP, api.OPType_kReLoadTableOP:
		endpoint = string(info.GetData())
	}
	if err == nil && endpoint != "" && notServer(endpoint) != "" {
		err = fmt.Errorf("the plan of operation %d names %q: %s", info.GetOpId(), said(endpoint), notServer(endpoint))
	}
	return endpoint, err
}
