package nameserver

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/ns"
)

// queues is how many operations can be under way: the first of each queue (name_server_task_max_concurrency).
const queues = 8

// maxDone bounds the list of ended operations (max_op_num).
const maxDone = 10000

// noParent is the parent of an operation that has none.
const noParent = math.MaxUint64

// op is an operation: what its node in the tree holds, and the tasks that are left, the current one first.
type op struct {
	info   *api.OPInfo
	tasks  []*task
	cancel context.CancelFunc // of the task at work, nil when there is none
}

func (o *op) id() uint64              { return o.info.GetOpId() }
func (o *op) status() api.TaskStatus  { return o.info.GetTaskStatus() }
func (o *op) table() tableName        { return tableName{o.info.GetDb(), o.info.GetName()} }
func (o *op) over() bool              { return o.status() > api.TaskStatus_kDoing }
func (o *op) become(s api.TaskStatus) { o.info.TaskStatus = s.Enum() }

// place is where an operation stands among others: where its parent stood, when it has one.
func (o *op) place() uint64 { return min(o.id(), o.info.GetParentId()) }

// read reads the plan that the record holds.
func (o *op) read(m proto.Message) error { return proto.Unmarshal(o.info.GetData(), m) }

// plan is an operation that shall be created.
type plan struct {
	kind        api.OPType
	table       tableName
	pid         uint32
	data        proto.Message // or text
	text        string
	concurrency uint32 // how many queues operations of its sort use, 0 for all
	parent      *op
	restore     bool // a candidate may be one that is not alive yet
}

// create creates an operation. Its number is used up even when its tasks cannot be laid out, in which case there is no
// operation and an error. l.mu is held.
func (l *lead) create(p *plan) error {
	id, err := l.add(l.at.opIndex, 1)
	if err != nil {
		l.log("%v", err)
		return refuse(codeSetZK, "set zk failed")
	}
	o := &op{info: &api.OPInfo{
		OpId: &id, OpType: p.kind.Enum(), TaskIndex: proto.Uint32(0), TaskStatus: api.TaskStatus_kInited.Enum(),
		StartTime: proto.Uint64(0), EndTime: proto.Uint64(0), Name: &p.table.name, Pid: &p.pid, ParentId: proto.Uint64(noParent),
		VecIdx: proto.Uint32(queueOf(p.pid, p.concurrency)), ForReplicaCluster: proto.Int32(0), Db: &p.table.db,
	}}
	if p.parent != nil {
		o.info.ParentId, o.info.VecIdx = p.parent.info.OpId, p.parent.info.VecIdx
	}
	if o.info.Data = []byte(p.text); p.data != nil {
		if o.info.Data, err = proto.Marshal(p.data); err != nil {
			return err
		}
	}
	if err := l.lay(o, p.restore); err != nil {
		l.log("op %d %s of %s/%d is not created: %v", id, p.kind, p.table.name, p.pid, err)
		return err
	}
	if err := l.saveOp(o); err != nil {
		l.log("%v", err)
		return refuse(codeAddOpData, "add op data failed")
	}
	l.enqueue(o)
	l.kick()
	return nil
}

func queueOf(pid, concurrency uint32) uint32 {
	if concurrency > 0 && concurrency < queues {
		return pid % concurrency
	}
	return pid % queues
}

// enqueue puts an operation into its queue: at the end, or right behind its parent.
func (l *lead) enqueue(o *op) {
	q := &l.queues[o.info.GetVecIdx()%queues]
	at := len(*q)
	if parent := o.info.GetParentId(); parent != noParent {
		if i := slices.IndexFunc(*q, func(other *op) bool { return other.id() == parent }); i >= 0 {
			at = i + 1
		}
	}
	*q = slices.Insert(*q, at, o)
}

func (l *lead) saveOp(o *op) error {
	data, err := proto.Marshal(o.info)
	if err != nil {
		return err
	}
	return l.write(l.at.op(o.id()), data)
}

// readOps takes over the operations of the last leader. Ended ones are forgotten, unless they failed.
func (l *lead) readOps() error {
	names, err := l.children(l.at.ops)
	if err != nil {
		return err
	}
	var all []*op
	for _, name := range names {
		data, err := l.read(l.at.ops + "/" + name)
		if err != nil {
			return err
		}
		o := &op{info: &api.OPInfo{}}
		if err := proto.Unmarshal(data, o.info); err != nil {
			l.log("%s/%s: %v", l.at.ops, name, err)
			continue
		}
		all = append(all, o)
	}
	slices.SortFunc(all, func(a, b *op) int { return cmp.Or(cmp.Compare(a.place(), b.place()), cmp.Compare(a.id(), b.id())) })
	for _, o := range all {
		if o.status() == api.TaskStatus_kDone || o.status() == api.TaskStatus_kCanceled {
			if err := l.remove(l.at.op(o.id())); err != nil {
				return err
			}
			continue
		}
		l.resume(o)
	}
	return nil
}

// resume goes on with an operation of the last leader. What the nameserver does itself is done again; what a tablet does
// counts as sent.
func (l *lead) resume(o *op) {
	begun := o.status() != api.TaskStatus_kInited
	err := l.lay(o, false)
	if err == nil && begun {
		if int(o.info.GetTaskIndex()) > len(o.tasks) {
			err = errors.New("it has fewer tasks than were done")
		} else {
			o.tasks = o.tasks[o.info.GetTaskIndex():]
		}
	}
	switch {
	case err != nil && !o.over():
		l.log("op %d %s cannot be resumed: %v", o.id(), o.info.GetOpType(), err)
		o.become(api.TaskStatus_kFailed)
		o.info.EndTime = now()
		if err := l.saveOp(o); err != nil {
			l.log("%v", err)
		}
	case begun && len(o.tasks) > 0 && !o.tasks[0].again:
		o.tasks[0].become(api.TaskStatus_kDoing)
		o.tasks[0].info.IsRpcSend = proto.Bool(true)
	}
	if o.over() {
		l.done = append(l.done, o)
		return
	}
	q := &l.queues[o.info.GetVecIdx()%queues]
	*q = append(*q, o)
}

func now() *uint64 { return proto.Uint64(uint64(time.Now().Unix())) }

// each goes through all operations until one is enough; l.mu is held.
func (l *lead) each(visit func(*op) bool) {
	if slices.ContainsFunc(l.done, visit) {
		return
	}
	for _, q := range l.queues {
		if slices.ContainsFunc(q, visit) {
			return
		}
	}
}

// active says whether an operation of a table is under way or waits; l.mu is held.
func (l *lead) active(name tableName) bool {
	for _, q := range l.queues {
		if slices.ContainsFunc(q, func(o *op) bool { return o.table() == name && !o.over() }) {
			return true
		}
	}
	return false
}

func (l *lead) showOPStatus(_ context.Context, q *ns.ShowOPStatusRequest, a *ns.ShowOPStatusResponse) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.each(func(o *op) bool {
		i := o.info
		if q.Name != nil && q.GetName() != i.GetName() || q.Pid != nil && q.GetPid() != i.GetPid() ||
			q.Db != nil && q.GetDb() != i.GetDb() || q.OpId != nil && q.GetOpId() != i.GetOpId() {
			return false
		}
		s := &ns.OPStatus{
			OpId: i.OpId, OpType: proto.String(i.GetOpType().String()), Status: proto.String(o.status().String()),
			StartTime: proto.Uint64(i.GetStartTime()), EndTime: proto.Uint64(i.GetEndTime()), TaskType: proto.String(o.current()),
			Name: i.Name, Pid: i.Pid, ForReplicaCluster: i.ForReplicaCluster, Db: i.Db,
		}
		if l.s.config.Release2018 {
			s.ForReplicaCluster, s.Db = nil, nil
		}
		a.OpStatus = append(a.OpStatus, s)
		return false
	})
	slices.SortFunc(a.OpStatus, func(x, y *ns.OPStatus) int { return cmp.Compare(x.GetOpId(), y.GetOpId()) })
	return nil
}

// current is what showopstatus has as the current task.
func (o *op) current() string {
	if o.status() == api.TaskStatus_kInited || len(o.tasks) == 0 {
		return "-"
	}
	return o.tasks[0].info.GetTaskType().String()
}

func (l *lead) cancelOP(ctx context.Context, q *ns.CancelOPRequest, _ *ns.GeneralResponse) error {
	l.mu.Lock()
	found := false
	for _, queue := range l.queues {
		for _, o := range queue {
			if o.id() != q.GetOpId() || o.over() {
				continue
			}
			found = true
			o.become(api.TaskStatus_kCanceled)
			o.info.EndTime = now()
			for _, t := range o.tasks {
				t.become(api.TaskStatus_kCanceled)
			}
			if o.cancel != nil {
				o.cancel()
			}
			if err := l.saveOp(o); err != nil {
				l.log("%v", err)
			}
		}
	}
	healthy := l.healthyOnes()
	l.mu.Unlock()
	if !found {
		return refuse(codeOpEnded, "op status is not kDoing or kInited")
	}
	failed := l.onEach(ctx, healthy, func(ctx context.Context, endpoint string) error {
		return l.call(ctx, endpoint, "CancelOP", &api.CancelOPRequest{OpId: q.OpId}, &api.GeneralResponse{})
	})
	for endpoint, err := range failed {
		l.log("cancel op %d on %s: %v", q.GetOpId(), endpoint, err)
	}
	l.kick()
	return nil
}

func (l *lead) deleteOP(_ context.Context, q *ns.DeleteOPRequest, _ *ns.GeneralResponse) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	ofDB := func(o *op) bool { return q.Db == nil || q.GetDb() == o.info.GetDb() }
	if q.OpId == nil {
		switch q.GetStatus() {
		case api.TaskStatus_kInited, api.TaskStatus_kDoing:
			return refuse(codeInvalid, "cannot delete the Inited OP")
		}
		return l.drop(func(o *op) bool { return ofDB(o) && o.status() == q.GetStatus() })
	}
	known := false
	l.each(func(o *op) bool {
		known = known || o.id() == q.GetOpId() && ofDB(o)
		return known
	})
	if !known {
		return refuse(codeNoOp, "op id %s does not exist", strconv.FormatUint(q.GetOpId(), 10))
	}
	return l.drop(func(o *op) bool { return o.id() == q.GetOpId() && ofDB(o) })
}

// drop forgets operations with their records, whatever their state.
func (l *lead) drop(which func(*op) bool) error {
	failed := false
	gone := func(o *op) bool {
		if !which(o) {
			return false
		}
		if err := l.remove(l.at.op(o.id())); err != nil {
			l.log("%v", err)
			failed = true
			return false
		}
		if o.cancel != nil {
			o.cancel()
		}
		o.become(api.TaskStatus_kCanceled) // for a task that is at work
		return true
	}
	l.done = slices.DeleteFunc(l.done, gone)
	for i := range l.queues {
		l.queues[i] = slices.DeleteFunc(l.queues[i], gone)
	}
	l.kick()
	if failed {
		return refuse(codeDeleteNode, "delete zk op_node failed")
	}
	return nil
}
