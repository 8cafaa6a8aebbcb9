package tablet

import (
	"time"

	"shardsh/cluster/openmldb/pb/common"
	"shardsh/cluster/openmldb/pb/types"
)

// ttl says when an index's rows expire. minutes are those of a row's time, versions the rows under a key that count, the
// newest first; 0 is no bound.
type ttl struct {
	kind     types.TTLType
	minutes  uint64
	versions uint64
}

func ttlOf(m *common.TTLSt) ttl {
	t := ttl{kind: m.GetTtlType(), minutes: m.GetAbsTtl(), versions: m.GetLatTtl()}
	if t.kind == types.TTLType_kRelativeTime { // of long ago; the store takes it as absolute
		t.kind = types.TTLType_kAbsoluteTime
	}
	return t
}

func (t ttl) message() *common.TTLSt {
	return &common.TTLSt{TtlType: t.kind.Enum(), AbsTtl: &t.minutes, LatTtl: &t.versions}
}

// gcSafe is how much longer than they are shown the store keeps expired rows (gc_safe_offset, 1 minute).
const gcSafe = time.Minute

// expiry is a ttl at one moment.
type expiry struct {
	kind     types.TTLType
	oldest   uint64 // rows of this time and before have expired; 0 for none
	versions uint64
}

// at is the expiry of a moment; keep leaves out what depends on time (SetExpire off).
func (t ttl) at(now time.Time, keep bool) expiry {
	e := expiry{kind: t.kind, versions: t.versions}
	ms := uint64(max(now.UnixMilli(), 0))
	life := t.minutes * 60_000
	if t.minutes > 0 && t.kind != types.TTLType_kLatestTime && !keep && life/60_000 == t.minutes && life < ms {
		e.oldest = ms - life
	}
	return e
}

// never is the expiry of rows that stay.
func never() expiry { return expiry{} }

// expired says so of a row, place being the number of newer ones under its key.
func (e expiry) expired(ts, place uint64) bool {
	old := e.oldest != 0 && ts <= e.oldest
	many := e.versions != 0 && place >= e.versions
	switch e.kind {
	case types.TTLType_kLatestTime:
		return many
	case types.TTLType_kAbsAndLat:
		return old && many
	case types.TTLType_kAbsOrLat:
		return old || many
	}
	return old
}

// countsRows says that the number of newer rows matters.
func (e expiry) countsRows() bool { return e.versions != 0 && e.kind != types.TTLType_kAbsoluteTime }

// floor is the time that a range read may not go below (OpenMLDB raises et to it).
func (e expiry) floor() uint64 {
	if e.kind == types.TTLType_kAbsOrLat || e.kind == types.TTLType_kAbsoluteTime {
		return e.oldest
	}
	return 0
}
