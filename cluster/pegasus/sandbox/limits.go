package sandbox

import (
	"strconv"
	"strings"
	"sync"
	"time"

	"shardsh/cluster/pegasus/wire"
)

// What a table's envs forbid its clients. They apply per partition, each with its share of the table's number.

const (
	envDeny           = "replica.deny_client_request"
	envWriteThrottle  = "replica.write_throttling"
	envWriteSize      = "replica.write_throttling_by_size"
	envReadThrottle   = "replica.read_throttling"
	envReadSize       = "replica.read_throttling_by_size"
	envBackupThrottle = "replica.backup_request_throttling"
)

// codeSilence in place of a header error: the client gets no answer.
const codeSilence = "silence"

// limits is what holds for one replica, made of the envs when they change.
type limits struct {
	mu    sync.Mutex
	app   *app // whose envs these are
	kinds map[string]*limit
}

// limit counts what happens in a second. Beyond some of it requests are delayed, beyond more they are rejected.
type limit struct {
	delayAt, rejectAt   int64 // 0 never
	delayFor, rejectFor time.Duration

	second int64
	count  int64
}

// verdict is what becomes of a request: after some time it is refused with a code, or carried out.
type verdict struct {
	after time.Duration
	code  string
}

// writes answers whether a write of that many bytes may be made now.
func (l *limits) writes(a *app, in *inbound) verdict {
	if code := a.denies("write"); code != "" {
		return verdict{code: code}
	}
	v := l.control(a, envWriteThrottle, 1, in.req.TimeoutMillis)
	if v == (verdict{}) {
		v = l.control(a, envWriteSize, int64(in.bodySize()), in.req.TimeoutMillis)
	}
	return v
}

// reads does so for a read, which for a read from a secondary is never answered when it is refused.
func (l *limits) reads(a *app, in *inbound) verdict {
	if code := a.denies("read"); code != "" {
		return verdict{code: code}
	}
	if in.req.Backup {
		v := l.control(a, envBackupThrottle, 1, in.req.TimeoutMillis)
		if v.code != "" {
			v = verdict{code: codeSilence}
		}
		return v
	}
	v := l.control(a, envReadThrottle, 1, in.req.TimeoutMillis)
	if v == (verdict{}) {
		v = l.control(a, envReadSize, 0, in.req.TimeoutMillis) // what it costs is known when it is answered
		in.charge = func(bytes int) { l.control(a, envReadSize, int64(bytes), 0) }
	}
	return v
}

// denies answers the header error of a kind of request that a table's envs deny, "" when they do not.
func (a *app) denies(kind string) string {
	how, what, ok := strings.Cut(a.Envs[envDeny], "*")
	switch {
	case !ok || what != "all" && what != kind:
		return ""
	case how == "reconfig":
		return wire.CodeInvalidState
	}
	return codeSilence
}

// control counts some units against a table's limit of a kind.
func (l *limits) control(a *app, env string, units int64, timeoutMillis int32) verdict {
	if len(a.Envs) == 0 {
		return verdict{}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.app != a {
		l.app, l.kinds = a, map[string]*limit{}
		for _, key := range []string{envWriteThrottle, envWriteSize, envReadThrottle, envReadSize, envBackupThrottle} {
			if value := a.Envs[key]; value != "" {
				l.kinds[key] = newLimit(value, int64(a.Partitions))
			}
		}
	}
	k := l.kinds[env]
	if k == nil {
		return verdict{}
	}
	v := k.control(units, time.Now(), env == envReadSize)
	if half := time.Duration(timeoutMillis) * time.Millisecond / 2; timeoutMillis > 0 {
		v.after = min(v.after, half)
	}
	return v
}

func newLimit(value string, partitions int64) *limit {
	k := &limit{}
	for part := range strings.SplitSeq(value, ",") {
		fields := strings.Split(strings.TrimSpace(part), "*")
		if len(fields) != 3 {
			continue
		}
		number := strings.TrimRight(fields[0], "KM")
		n, _ := strconv.ParseInt(number, 10, 64)
		switch fields[0][len(number):] {
		case "K":
			n <<= 10
		case "M":
			n <<= 20
		}
		if n > 0 {
			n = n/max(partitions, 1) + 1 // as Pegasus rounds it
		}
		millis, _ := strconv.ParseInt(fields[2], 10, 32)
		if fields[1] == "delay" {
			k.delayAt, k.delayFor = n, time.Duration(millis)*time.Millisecond
		} else {
			k.rejectAt, k.rejectFor = n, time.Duration(millis)*time.Millisecond
		}
	}
	return k
}

// control counts within whole seconds of the clock, as Pegasus does. What is rejected counts for nothing, unless it is
// counted afterwards.
func (k *limit) control(units int64, now time.Time, afterwards bool) verdict {
	if second := now.Unix(); second != k.second {
		k.second, k.count = second, 0
	}
	k.count += units
	switch {
	case k.rejectAt > 0 && k.count > k.rejectAt:
		if !afterwards {
			k.count -= units
		}
		return verdict{k.rejectFor, wire.CodeBusy}
	case k.delayAt > 0 && k.count > k.delayAt:
		return verdict{k.delayFor, ""}
	}
	return verdict{}
}

// later does something after a while; the listener waits for it.
func (l *listener) later(after time.Duration, do func()) {
	if after <= 0 {
		do()
		return
	}
	l.wg.Go(func() {
		l.rest(after)
		do()
	})
}

// rest waits, or until the listener ends.
func (l *listener) rest(after time.Duration) {
	if after <= 0 {
		return
	}
	timer := time.NewTimer(after)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.ended:
	}
}
