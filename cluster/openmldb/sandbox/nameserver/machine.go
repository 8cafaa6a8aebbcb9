package nameserver

import (
	"context"
	"errors"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
)

// task is one step of an operation.
type task struct {
	info *api.TaskInfo
	// run does it or, when remote is set, hands it to the tablet info.endpoint, which is asked for its state from then on.
	run    func(ctx context.Context) error
	remote bool
	again  bool // a next leader does it again
	missed int  // times that its tablet did not know it
}

func (t *task) become(s api.TaskStatus)  { t.info.Status = s.Enum() }
func (t *task) is(s api.TaskStatus) bool { return t.info.GetStatus() == s }

// errNothing is what run says of a remote task that there is nothing to do for.
var errNothing = errors.New("there is nothing to do")

// maxMissed is how often a tablet may not know a task that was sent to it.
const maxMissed = 5

func (l *lead) kick() {
	select {
	case l.kicked <- struct{}{}:
	default:
	}
}

// operate runs the first operation of every queue, a task at a time.
func (l *lead) operate() {
	ended := make(chan struct{}, 1)
	l.work.Go(func() { l.attend(ended) })
	for {
		if !l.passes() {
			return
		}
		if l.step() {
			select {
			case ended <- struct{}{}:
			default:
			}
		}
		select {
		case <-l.kicked:
		case <-l.ctx.Done():
			return
		}
	}
}

// attend asks tablets about their tasks while there are operations, and clears away those that ended.
func (l *lead) attend(ended <-chan struct{}) {
	tick := time.NewTicker(l.times.tasks)
	defer tick.Stop()
	for {
		ticked := false
		select {
		case <-ended:
		case <-tick.C:
			ticked = true
		case <-l.ctx.Done():
			return
		}
		if !l.passes() {
			return
		}
		if ticked && l.busy() {
			l.askTasks(false)
		}
		if l.clear() || ticked {
			l.kick()
		}
	}
}

func (l *lead) busy() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.queues[:], func(q []*op) bool { return len(q) > 0 })
}

// step advances the first operation of every queue as far as that goes; it says whether some have ended.
func (l *lead) step() (ended bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, q := range l.queues {
		if len(q) == 0 || l.ctx.Err() != nil {
			continue
		}
		for l.advance(q[0]) {
		}
		ended = ended || q[0].over()
	}
	return ended
}

// advance takes an operation one state further; false when it has to wait or has ended.
func (l *lead) advance(o *op) bool {
	switch {
	case o.over():
		return false
	case o.status() == api.TaskStatus_kInited:
		o.become(api.TaskStatus_kDoing)
		o.info.StartTime = now()
		if err := l.saveOp(o); err != nil {
			l.log("%v", err)
			o.become(api.TaskStatus_kInited)
			return false
		}
		return true
	case len(o.tasks) == 0:
		return l.close(o, api.TaskStatus_kDone)
	}
	switch t := o.tasks[0]; t.info.GetStatus() {
	case api.TaskStatus_kInited:
		return l.launch(o, t)
	case api.TaskStatus_kDone:
		o.tasks = o.tasks[1:]
		o.info.TaskIndex = proto.Uint32(o.info.GetTaskIndex() + 1)
		if len(o.tasks) == 0 {
			return l.close(o, api.TaskStatus_kDone)
		}
		if err := l.saveOp(o); err != nil {
			l.log("%v", err)
		}
		return true
	case api.TaskStatus_kFailed:
		return l.close(o, api.TaskStatus_kFailed)
	}
	l.abandoned(o.tasks[0])
	return o.tasks[0].is(api.TaskStatus_kFailed)
}

// close ends an operation.
func (l *lead) close(o *op, as api.TaskStatus) bool {
	o.become(as)
	o.info.EndTime = now()
	if err := l.saveOp(o); err != nil {
		l.log("%v", err)
	}
	return false
}

// abandoned fails a task whose tablet has been offline for longer than the heartbeat timeout.
func (l *lead) abandoned(t *task) {
	at := l.tablets[t.info.GetEndpoint()]
	if t.remote && at != nil && !at.healthy && time.Since(at.since) > l.times.heartbeat {
		t.become(api.TaskStatus_kFailed)
	}
}

// launch starts a task, unless the nameserver dies at that point.
func (l *lead) launch(o *op, t *task) bool {
	if l.s.config.Points.Take(OpPoint(int(o.info.GetTaskIndex()) + 1)) {
		l.cancel()
		l.s.config.Die()
		return false
	}
	t.become(api.TaskStatus_kDoing)
	ctx, cancel := context.WithCancel(l.ctx)
	o.cancel = cancel
	l.work.Go(func() {
		defer cancel()
		err := errors.New("the nameserver ends")
		if l.passes() {
			err = t.run(ctx)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		o.cancel = nil
		if l.ctx.Err() != nil || !t.is(api.TaskStatus_kDoing) {
			return // the process is at its end, or the operation was cancelled
		}
		switch {
		case errors.Is(err, errNothing) || err == nil && !t.remote:
			t.become(api.TaskStatus_kDone)
		case err == nil:
			t.info.IsRpcSend = proto.Bool(true)
		default:
			t.become(api.TaskStatus_kFailed)
			l.log("op %d %s of %s/%d: %s: %v", o.id(), o.info.GetOpType(), o.info.GetName(), o.info.GetPid(), t.info.GetTaskType(), err)
		}
		l.kick()
	})
	return false
}

// askTasks asks all healthy tablets for the states of their tasks. A new leader takes what they do not know for failed.
func (l *lead) askTasks(fresh bool) {
	ctx, cancel := context.WithTimeout(l.ctx, max(l.times.tasks, time.Second))
	defer cancel()
	l.onEach(ctx, l.allHealthy(), func(ctx context.Context, endpoint string) error {
		var a api.TaskStatusResponse
		if err := l.call(ctx, endpoint, "GetTaskStatus", &api.TaskStatusRequest{}, &a); err != nil {
			return err
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, q := range l.queues {
			if len(q) > 0 && !q[0].over() && len(q[0].tasks) > 0 {
				l.match(q[0].tasks[0], endpoint, a.GetTask(), fresh)
			}
		}
		return nil
	})
}

// match takes the state of a task from what its tablet says.
func (l *lead) match(t *task, endpoint string, said []*api.TaskInfo, fresh bool) {
	if !t.is(api.TaskStatus_kDoing) || !t.info.GetIsRpcSend() || t.info.GetEndpoint() != endpoint {
		return
	}
	for _, s := range said {
		if s.GetOpId() != t.info.GetOpId() || s.GetTaskType() != t.info.GetTaskType() ||
			s.Tid != nil && t.info.Tid != nil && s.GetTid() != t.info.GetTid() ||
			s.Pid != nil && t.info.Pid != nil && s.GetPid() != t.info.GetPid() {
			continue
		}
		t.missed = 0
		if s.GetStatus() != api.TaskStatus_kInited {
			t.become(s.GetStatus())
		}
		return
	}
	if t.missed++; fresh || t.missed > maxMissed {
		l.log("task %s of op %d is not known to %s", t.info.GetTaskType(), t.info.GetOpId(), endpoint)
		t.become(api.TaskStatus_kFailed)
	}
}

// clear moves operations that ended to the list of those, once every healthy tablet has forgotten their tasks. Until
// then they stand at the front of their queues. It says whether it moved any.
func (l *lead) clear() (moved bool) {
	l.mu.Lock()
	var ids []uint64
	for _, q := range l.queues {
		if len(q) > 0 && q[0].over() {
			ids = append(ids, q[0].id())
		}
	}
	healthy := l.healthyOnes()
	l.mu.Unlock()
	if len(ids) == 0 {
		return false
	}
	ctx, cancel := context.WithTimeout(l.ctx, max(l.times.tasks, time.Second))
	defer cancel()
	failed := l.onEach(ctx, healthy, func(ctx context.Context, endpoint string) error {
		return l.call(ctx, endpoint, "DeleteOPTask", &api.DeleteTaskRequest{OpId: ids}, &api.GeneralResponse{})
	})
	if len(failed) > 0 || l.ctx.Err() != nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, q := range l.queues {
		if len(q) == 0 || !q[0].over() || !slices.Contains(ids, q[0].id()) {
			continue
		}
		o := q[0]
		if o.status() != api.TaskStatus_kFailed {
			if err := l.remove(l.at.op(o.id())); err != nil {
				l.log("%v", err)
				continue
			}
		}
		l.queues[i] = slices.Delete(q, 0, 1)
		l.keep(o)
		moved = true
	}
	return moved
}

// keep puts an operation on the list of ended ones; the oldest one makes room.
func (l *lead) keep(o *op) {
	if l.done = append(l.done, o); len(l.done) <= maxDone {
		return
	}
	if err := l.remove(l.at.op(l.done[0].id())); err != nil {
		l.log("%v", err)
	}
	l.done = slices.Delete(l.done, 0, 1)
}
