package sandbox

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/sandbox/link"
)

// The links between servers in processes of their own. Each method of nodeLink and metaLink is one call: a name, a
// plain value that is asked, one that is answered.

// linkErrors stay what they are on their way from process to process.
var linkErrors = []error{
	errDead, errStale, errFreezed, errGap, errInactive, errSilent, errUnsure, syscall.EADDRINUSE,
}

// linkWithin bounds a call between servers. One that was stopped is cut off long before, see watch.go.
const linkWithin = 10 * time.Second

// What calls of more than one parameter ask.
type (
	askReconfigure struct {
		PID           wire.GPID
		Ballot        int64
		Primary, Node nodeID
		At            point
	}
	askLearner struct {
		PID    wire.GPID
		Ballot int64
		Node   nodeID
	}
	askLearn struct {
		PID    wire.GPID
		Ballot int64
		Clear  bool
	}
	askLearnRows struct {
		PID          wire.GPID
		Ballot, Copy int64
		Repr         []byte
	}
	askLearnEnd struct {
		PID          wire.GPID
		Ballot, Copy int64
		At           point
	}
	askSpawn struct {
		Parent, Child wire.GPID
		Ballot        int64
	}
	askDiscard struct {
		Child  wire.GPID
		Ballot int64
	}
)

// done is the answer of what has none but an error.
func done(err error) (link.None, error) { return false, err }

var (
	callLost = link.New("lost", func(m metaLink, q askReconfigure) (group, error) {
		return m.lost(q.PID, q.Ballot, q.Primary, q.Node)
	})
	callLearned = link.New("learned", func(m metaLink, q askReconfigure) (group, error) {
		return m.learned(q.PID, q.Ballot, q.Primary, q.Node, q.At)
	})
	callRegister = link.New("register", func(m metaLink, q askReconfigure) (group, error) {
		return m.register(q.PID, q.Ballot, q.Primary, q.At)
	})
	metaCalls = []link.Answerable[metaLink]{callLost, callLearned, callRegister}
)

var (
	callAssign     = link.New("assign", func(n nodeLink, q assignment) (link.None, error) { return done(n.assign(q)) })
	callUpdateApp  = link.New("updateApp", func(n nodeLink, q app) (link.None, error) { return done(n.updateApp(q)) })
	callForget     = link.New("forget", func(n nodeLink, q int32) (link.None, error) { return done(n.forget(q)) })
	callReport     = link.New("report", func(n nodeLink, q wire.GPID) (report, error) { return n.report(q) })
	callInventory  = link.New("inventory", func(n nodeLink, fence bool) (inventory, error) { return n.inventory(fence) })
	callAddLearner = link.New("addLearner", func(n nodeLink, q askLearner) (link.None, error) {
		return done(n.addLearner(q.PID, q.Ballot, q.Node))
	})
	callSplit     = link.New("split", func(n nodeLink, q splitOrder) (bool, error) { return n.split(q) })
	callDuplicate = link.New("duplicate", func(n nodeLink, q dupOrder) (dupReport, error) { return n.duplicate(q) })
	callBackup    = link.New("backup", func(n nodeLink, q backupOrder) (backupReport, error) { return n.backup(q) })
	callRestore   = link.New("restore", func(n nodeLink, q restoreOrder) (restoreReport, error) { return n.restore(q) })
	callBulk      = link.New("bulk", func(n nodeLink, q bulkOrder) (bulkReport, error) { return n.bulk(q) })
	callPrepare   = link.New("prepare", func(n nodeLink, q mutation) (link.None, error) {
		w, err := n.prepare(q)
		if err == nil {
			err = w.Wait()
		}
		return done(err)
	})
	callLearn = link.New("learn", func(n nodeLink, q askLearn) (report, error) {
		return n.learn(q.PID, q.Ballot, q.Clear)
	})
	callLearnRows = link.New("learnRows", func(n nodeLink, q askLearnRows) (link.None, error) {
		return done(n.learnRows(q.PID, q.Ballot, q.Copy, q.Repr))
	})
	callLearnEnd = link.New("learnEnd", func(n nodeLink, q askLearnEnd) (link.None, error) {
		return done(n.learnEnd(q.PID, q.Ballot, q.Copy, q.At))
	})
	callSpawn = link.New("spawn", func(n nodeLink, q askSpawn) (int64, error) {
		return n.spawn(q.Parent, q.Child, q.Ballot)
	})
	callDiscard = link.New("discard", func(n nodeLink, q askDiscard) (link.None, error) {
		return done(n.discard(q.Child, q.Ballot))
	})
	nodeCalls = []link.Answerable[nodeLink]{
		callAssign, callUpdateApp, callForget, callReport, callInventory, callAddLearner, callSplit, callDuplicate, callBackup, callRestore, callBulk, callPrepare, callLearn,
		callLearnRows, callLearnEnd, callSpawn, callDiscard,
	}
)

// way leads to another process.
type way interface {
	Conn() (*link.Conn, error)
}

// over asks something of another process.
func over[S, Q, A any](w way, call *link.Call[S, Q, A], q Q) (A, error) {
	conn, err := w.Conn()
	if err != nil {
		var none A
		return none, unreached(err)
	}
	a, err := call.Do(conn, linkWithin, q)
	return a, unanswered(err)
}

// unreached is why a call was not sent.
func unreached(err error) error {
	if errors.Is(err, link.ErrLost) {
		return fmt.Errorf("%w: %w", errDead, err)
	}
	return err
}

// unanswered tells what a server answered from what became of the connection.
func unanswered(err error) error {
	if errors.Is(err, link.ErrLost) || errors.Is(err, link.ErrTimeout) {
		return fmt.Errorf("%w: %w", errUnsure, err)
	}
	return err
}

// farMetaLink is the link to the leading meta server.
type farMetaLink struct{ way way }

var _ metaLink = farMetaLink{}

func (f farMetaLink) lost(pid wire.GPID, ballot int64, primary, node nodeID) (group, error) {
	return over(f.way, callLost, askReconfigure{PID: pid, Ballot: ballot, Primary: primary, Node: node})
}

func (f farMetaLink) learned(pid wire.GPID, ballot int64, primary, node nodeID, at point) (group, error) {
	return over(f.way, callLearned, askReconfigure{PID: pid, Ballot: ballot, Primary: primary, Node: node, At: at})
}

func (f farMetaLink) register(pid wire.GPID, ballot int64, primary nodeID, at point) (group, error) {
	return over(f.way, callRegister, askReconfigure{PID: pid, Ballot: ballot, Primary: primary, At: at})
}

// farNodeLink is the link to a replica server.
type farNodeLink struct{ way way }

var _ nodeLink = farNodeLink{}

func (f farNodeLink) assign(a assignment) error {
	_, err := over(f.way, callAssign, a)
	return err
}

func (f farNodeLink) updateApp(a app) error {
	_, err := over(f.way, callUpdateApp, a)
	return err
}

func (f farNodeLink) forget(appID int32) error {
	_, err := over(f.way, callForget, appID)
	return err
}

func (f farNodeLink) report(pid wire.GPID) (report, error) { return over(f.way, callReport, pid) }

func (f farNodeLink) inventory(fence bool) (inventory, error) {
	return over(f.way, callInventory, fence)
}

func (f farNodeLink) addLearner(pid wire.GPID, ballot int64, node nodeID) error {
	_, err := over(f.way, callAddLearner, askLearner{pid, ballot, node})
	return err
}

func (f farNodeLink) split(o splitOrder) (bool, error) { return over(f.way, callSplit, o) }

func (f farNodeLink) duplicate(o dupOrder) (dupReport, error) { return over(f.way, callDuplicate, o) }

func (f farNodeLink) backup(o backupOrder) (backupReport, error) { return over(f.way, callBackup, o) }

func (f farNodeLink) restore(o restoreOrder) (restoreReport, error) {
	return over(f.way, callRestore, o)
}

func (f farNodeLink) bulk(o bulkOrder) (bulkReport, error) { return over(f.way, callBulk, o) }

// prepare sends the mutation and does not wait: what the server refuses comes out of the waiter, too.
func (f farNodeLink) prepare(m mutation) (waiter, error) {
	conn, err := f.way.Conn()
	if err != nil {
		return nil, unreached(err)
	}
	return farWaiter{callPrepare.Start(conn, m)}, nil
}

type farWaiter struct{ pending *link.Pending[link.None] }

func (w farWaiter) Wait() error {
	_, err := w.pending.Wait(linkWithin)
	return unanswered(err)
}

func (f farNodeLink) learn(pid wire.GPID, ballot int64, clear bool) (report, error) {
	return over(f.way, callLearn, askLearn{pid, ballot, clear})
}

func (f farNodeLink) learnRows(pid wire.GPID, ballot, copy int64, repr []byte) error {
	_, err := over(f.way, callLearnRows, askLearnRows{pid, ballot, copy, repr})
	return err
}

func (f farNodeLink) learnEnd(pid wire.GPID, ballot, copy int64, at point) error {
	_, err := over(f.way, callLearnEnd, askLearnEnd{pid, ballot, copy, at})
	return err
}

func (f farNodeLink) spawn(parent, child wire.GPID, ballot int64) (copy int64, err error) {
	return over(f.way, callSpawn, askSpawn{parent, child, ballot})
}

func (f farNodeLink) discard(child wire.GPID, ballot int64) error {
	_, err := over(f.way, callDiscard, askDiscard{child, ballot})
	return err
}
