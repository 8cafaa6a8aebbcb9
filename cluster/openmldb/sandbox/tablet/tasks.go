package tablet

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/sandbox/port"
	"shardsh/cluster/sandbox"
)

// tasks are the parts of a nameserver's operations that this tablet was asked for. They are kept, whatever became of
// them, until the nameserver deletes them.
type tasks struct {
	mu  sync.Mutex
	all map[uint64][]*api.TaskInfo // by operation; the statuses are the tablet's
}

// taskTypes are those that a tablet runs.
var taskTypes = []api.TaskType{
	api.TaskType_kMakeSnapshot, api.TaskType_kPauseSnapshot, api.TaskType_kRecoverSnapshot, api.TaskType_kSendSnapshot,
	api.TaskType_kLoadTable, api.TaskType_kAddReplica, api.TaskType_kDelReplica, api.TaskType_kDropTable,
}

// TaskPoints are the fault points of a tablet's tasks: "tablet.task:load-table".
func TaskPoints() []sandbox.Point {
	var all []sandbox.Point
	for _, kind := range taskTypes {
		all = append(all, sandbox.Point{Name: taskPoint(kind), Says: "the task is begun, does nothing, and fails"})
	}
	return all
}

// HoldPoints are those that hold the tasks that go on after their call was answered: "tablet.hold:load-table".
func HoldPoints() []sandbox.Point {
	var all []sandbox.Point
	for _, kind := range longTasks {
		all = append(all, sandbox.Point{Name: holdPoint(kind), Says: "the task is begun, and does nothing until the point is disarmed"})
	}
	return all
}

// longTasks are those that go on after their call was answered.
var longTasks = []api.TaskType{
	api.TaskType_kMakeSnapshot, api.TaskType_kSendSnapshot, api.TaskType_kLoadTable, api.TaskType_kDropTable,
}

func holdPoint(kind api.TaskType) string { return Role + ".hold:" + port.PointName(kind.String()[1:]) }

// hold waits while a fault point holds a task.
func (t *Tablet) hold(task *api.TaskInfo) {
	for task != nil && t.c.Points.Armed(holdPoint(task.GetTaskType())) {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-t.ctx.Done():
			return
		}
	}
}

func taskPoint(kind api.TaskType) string { return Role + ".task:" + port.PointName(kind.String()[1:]) }

// add keeps a task as under way. It answers false when the operation has that task already, or the task is of another
// type than the call it came with.
func (ts *tasks) add(asked *api.TaskInfo, kind api.TaskType) (*api.TaskInfo, bool) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for _, other := range ts.all[asked.GetOpId()] {
		if sameTask(asked, other) {
			return nil, false
		}
	}
	task := proto.CloneOf(asked)
	task.Status = api.TaskStatus_kDoing.Enum()
	if asked.GetTaskType() != kind {
		task.Status = api.TaskStatus_kFailed.Enum()
	}
	if ts.all == nil {
		ts.all = map[uint64][]*api.TaskInfo{}
	}
	ts.all[asked.GetOpId()] = append(ts.all[asked.GetOpId()], task)
	return task, asked.GetTaskType() == kind
}

// sameTask compares what the asked task names.
func sameTask(asked, other *api.TaskInfo) bool {
	same := func(a, b *uint32) bool { return a == nil || b != nil && *a == *b }
	return asked.GetTaskType() == other.GetTaskType() && same(asked.Tid, other.Tid) && same(asked.Pid, other.Pid) &&
		(asked.TaskId == nil || other.TaskId != nil && *asked.TaskId == *other.TaskId)
}

// end says how a task ended; nil is a call without one.
func (ts *tasks) end(task *api.TaskInfo, done bool) {
	if task == nil {
		return
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	task.Status = api.TaskStatus_kFailed.Enum()
	if done {
		task.Status = api.TaskStatus_kDone.Enum()
	}
}

// begin keeps the task that a call came with; nil, and good, for a call without one.
func (t *Tablet) begin(asked *api.TaskInfo, kind api.TaskType) (*api.TaskInfo, bool) {
	if asked == nil {
		return nil, true
	}
	return t.tasks.add(asked, kind)
}

// fails says whether a fault point makes a task fail.
func (t *Tablet) fails(task *api.TaskInfo) bool {
	return task != nil && t.c.Points.Live() && t.c.Points.Take(taskPoint(task.GetTaskType()))
}

// atOnce runs a task within the call that asks for it. The codes are those, beside ok, that end it well.
func (t *Tablet) atOnce(asked *api.TaskInfo, kind api.TaskType, run func() status, well ...int32) status {
	task, added := t.begin(asked, kind)
	if !added {
		return taskNotAdded
	}
	if t.fails(task) {
		t.tasks.end(task, false)
		return ok
	}
	s := run()
	t.tasks.end(task, s.good() || slices.Contains(well, s.code))
	return s
}

// beside runs a task after the call was answered. check says whether it can be begun; run, whether it ended well.
func (t *Tablet) beside(asked *api.TaskInfo, kind api.TaskType, check func() (run func() bool, s status)) status {
	task, added := t.begin(asked, kind)
	if !added {
		return taskNotAdded
	}
	fails := t.fails(task)
	if !fails {
		run, s := check()
		if !s.good() {
			t.tasks.end(task, false)
			return s
		}
		t.wg.Go(func() {
			t.hold(task)
			done := run()
			if t.ctx.Err() == nil {
				t.tasks.end(task, done)
			}
		})
		return s
	}
	t.tasks.end(task, false)
	return ok
}

func (t *Tablet) getTaskStatus(_ context.Context, _ *port.Call, _ *api.TaskStatusRequest, a *api.TaskStatusResponse) error {
	ts := &t.tasks
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for _, op := range slices.Sorted(maps.Keys(ts.all)) {
		for _, task := range ts.all[op] {
			a.Task = append(a.Task, proto.CloneOf(task))
		}
	}
	ok.into(&a.Code, &a.Msg)
	return nil
}

func (t *Tablet) deleteOPTask(_ context.Context, _ *port.Call, q *api.DeleteTaskRequest, a *api.GeneralResponse) error {
	ts := &t.tasks
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for _, op := range q.GetOpId() {
		delete(ts.all, op)
	}
	ok.general(a)
	return nil
}

// cancelOP marks what is under way as canceled; it goes on all the same.
func (t *Tablet) cancelOP(_ context.Context, _ *port.Call, q *api.CancelOPRequest, a *api.GeneralResponse) error {
	ts := &t.tasks
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for _, task := range ts.all[q.GetOpId()] {
		if s := task.GetStatus(); s == api.TaskStatus_kInited || s == api.TaskStatus_kDoing {
			task.Status = api.TaskStatus_kCanceled.Enum()
		}
	}
	ok.general(a)
	return nil
}
