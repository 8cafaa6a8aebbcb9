package tablet

import (
	"context"
	"iter"
	"math"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/sandbox/port"
	"shardsh/cluster/openmldb/wire"
)

// maxAnswer bounds the rows of one answer, which must fit a frame; the store bounds them by scan_max_bytes_size, which is
// off there.
const maxAnswer = wire.MaxBody / 2

// selection is one key's rows in one index of the partitions asked, which are locked for reading until release.
type selection struct {
	parts   []*partition
	indexes []*index
	key     string
	expiry  expiry
}

// selectRows locks the partitions of a request.
func (t *Tablet) selectRows(tid, pid uint32, group []uint32, name, key string) (*selection, status) {
	if len(group) == 0 {
		group = []uint32{pid}
	}
	s := &selection{key: key}
	for i, pid := range group {
		if dimensionAsked(group[:i], pid) {
			continue // a second lock could wait for a writer that waits for the first
		}
		p, why := t.read(tid, pid)
		if !why.good() {
			s.release()
			return nil, why
		}
		s.parts = append(s.parts, p)
		x, ready := p.index(name)
		if !ready {
			s.release()
			return nil, noIndex
		}
		if len(s.indexes) == 0 {
			s.expiry = x.ttl.at(t.tune.now(), p.keep)
		}
		s.indexes = append(s.indexes, x)
	}
	return s, ok
}

func dimensionAsked(before []uint32, pid uint32) bool {
	for _, other := range before {
		if other == pid {
			return true
		}
	}
	return false
}

func (s *selection) release() {
	for _, p := range s.parts {
		p.mu.RUnlock()
	}
}

// rows reads what has not expired from a time on, the newest first over all partitions.
func (s *selection) rows(from uint64) iter.Seq2[uint64, *entry] {
	if len(s.indexes) == 1 {
		return s.rowsOf(s.indexes[0], from)
	}
	return func(yield func(uint64, *entry) bool) {
		type head struct {
			next func() (uint64, *entry, bool)
			ts   uint64
			row  *entry
		}
		var heads []*head
		for _, x := range s.indexes {
			next, stop := iter.Pull2(s.rowsOf(x, from))
			defer stop()
			if ts, row, any := next(); any {
				heads = append(heads, &head{next, ts, row})
			}
		}
		for len(heads) > 0 {
			newest := 0
			for i, h := range heads {
				if h.ts > heads[newest].ts {
					newest = i
				}
			}
			h := heads[newest]
			if !yield(h.ts, h.row) {
				return
			}
			var any bool
			if h.ts, h.row, any = h.next(); !any {
				heads = append(heads[:newest], heads[newest+1:]...)
			}
		}
	}
}

func (s *selection) rowsOf(x *index, from uint64) iter.Seq2[uint64, *entry] {
	return func(yield func(uint64, *entry) bool) {
		newer := uint64(0)
		if s.expiry.countsRows() {
			newer = x.placeOf(s.key, from)
		}
		for at, row := range x.under(s.key, from) {
			if s.expiry.expired(at.ts, newer) {
				return
			}
			newer++
			if !yield(at.ts, row) {
				return
			}
		}
	}
}

// get reads one row.
func (t *Tablet) get(_ context.Context, _ *port.Call, q *api.GetRequest, a *api.GetResponse) error {
	s, why := t.selectRows(q.GetTid(), q.GetPid(), q.GetPidGroup(), q.GetIdxName(), q.GetKey())
	if why.good() {
		why = s.get(q, a)
		s.release()
	}
	if a.Code = proto.Int32(why.code); why.text != "" {
		a.Msg = proto.String(why.text)
	}
	return nil
}

func (s *selection) get(q *api.GetRequest, a *api.GetResponse) status {
	st, et := q.GetTs(), max(q.GetEt(), s.expiry.floor())
	if q.GetType() == api.GetType_kSubKeyEq && q.GetEtType() == api.GetType_kSubKeyEq && st != q.GetEt() || st > 0 && st < et {
		return invalidArgs
	}
	project, valid := s.projection(q.GetProjection())
	if !valid {
		return invalidArgs
	}
	for ts, row := range s.rows(startOf(st, q.GetType())) {
		found, valid := matchGet(q, ts, st, et)
		if !valid {
			return status{codeInvalidParameter, "st/et sub key type is invalid"}
		}
		a.Ts = &ts
		if !found {
			break
		}
		value, fits := project(row.value)
		if !fits {
			return status{codeEncode, "fail to encode data rows"}
		}
		a.Value = value
		return status{}
	}
	return status{codeNoKey, "key not found"}
}

// startOf is the time that a read begins at; 0 stands for the newest row.
func startOf(st uint64, how api.GetType) uint64 {
	switch {
	case st == 0 || how == api.GetType_kSubKeyGe || how == api.GetType_kSubKeyGt:
		return math.MaxUint64
	case how == api.GetType_kSubKeyLt:
		return st - 1
	}
	return st
}

func matchGet(q *api.GetRequest, ts, st, et uint64) (found, valid bool) {
	switch how := q.GetType(); {
	case st == 0 && how <= api.GetType_kSubKeyLe:
	case how == api.GetType_kSubKeyEq && ts != st,
		how == api.GetType_kSubKeyGe && ts < st,
		how == api.GetType_kSubKeyGt && ts <= st:
		return false, true
	}
	return above(ts, et, q.GetEtType())
}

// above says whether a time is not past the end of a range.
func above(ts, et uint64, how api.GetType) (is, valid bool) {
	switch how {
	case api.GetType_kSubKeyEq:
		return ts == et, true
	case api.GetType_kSubKeyGt:
		return ts > et, true
	case api.GetType_kSubKeyGe:
		return ts >= et, true
	}
	return false, false
}

// projection makes what turns a row into the columns asked for, by their numbers; without any it stays what it is.
func (s *selection) projection(columns []uint32) (project func([]byte) ([]byte, bool), valid bool) {
	if len(columns) == 0 {
		return func(row []byte) ([]byte, bool) { return row, true }, true
	}
	schemas := s.parts[0].schemas
	out := wire.Schema{Version: 1}
	for _, c := range columns {
		if int(c) >= len(schemas[1].Columns) || c > math.MaxInt32 {
			return nil, false
		}
		out.Columns = append(out.Columns, schemas[1].Columns[c])
	}
	return func(row []byte) ([]byte, bool) {
		in := schemas[row[1]]
		if in == nil {
			return nil, false
		}
		all, err := in.Decode(row)
		if err != nil {
			return nil, false
		}
		values := make([]any, len(columns))
		for i, c := range columns {
			values[i] = all[c]
		}
		b, err := out.Encode(values)
		return b, err == nil
	}, true
}

// scan reads a key's rows of a range of times.
func (t *Tablet) scan(_ context.Context, call *port.Call, q *api.ScanRequest, a *api.ScanResponse) error {
	if q.GetSt() < q.GetEt() {
		status{codeBadRange, "starttime less than endtime"}.into(&a.Code, &a.Msg)
		return nil
	}
	s, why := t.selectRows(q.GetTid(), q.GetPid(), q.GetPidGroup(), q.GetIdxName(), q.GetPk())
	if !why.good() {
		why.into(&a.Code, &a.Msg)
		return nil
	}
	rows, count, finished, why := s.scan(q)
	s.release()
	a.Code, a.Count, a.IsFinish = proto.Int32(why.code), &count, &finished
	if why.text != "" {
		a.Msg = proto.String(why.text)
	}
	if q.GetUseAttachment() {
		call.Attach, a.BufSize = rows, proto.Uint32(uint32(len(rows)))
	} else {
		a.Pairs = rows
	}
	return nil
}

func (s *selection) scan(q *api.ScanRequest) (rows []byte, count uint32, finished bool, why status) {
	st, et := q.GetSt(), max(q.GetEt(), s.expiry.floor())
	if st > 0 && st < et {
		return nil, 0, true, invalidArgs
	}
	project, valid := s.projection(q.GetProjection())
	if !valid {
		return nil, 0, true, invalidArgs
	}
	var last uint64
	skip := q.GetSkipRecordNum()
	for ts, row := range s.rows(startOf(st, api.GetType_kSubKeyLe)) {
		switch {
		case q.GetLimit() > 0 && count >= q.GetLimit():
			return rows, count, false, status{}
		case q.GetEnableRemoveDuplicatedRecord() && count > 0 && ts == last:
			continue
		case ts == st && skip > 0:
			skip--
			continue
		}
		if ts <= et {
			break
		}
		last = ts
		value, fits := project(row.value)
		if !fits {
			return nil, 0, true, status{codeEncode, "fail to encode data rows"}
		}
		if q.GetUseAttachment() {
			rows = append(rows, value...)
		} else {
			rows = wire.AppendScanPair(rows, ts, value)
		}
		if count++; len(rows) > maxAnswer {
			return rows, count, false, status{}
		}
	}
	return rows, count, true, status{}
}

// count counts a key's rows.
func (t *Tablet) count(_ context.Context, _ *port.Call, q *api.CountRequest, a *api.CountResponse) error {
	s, why := t.selectRows(q.GetTid(), q.GetPid(), nil, q.GetIdxName(), q.GetKey())
	if why.good() {
		var n uint64
		n, why = s.count(q)
		s.release()
		a.Count = proto.Uint32(uint32(n))
	}
	why.into(&a.Code, &a.Msg)
	return nil
}

func (s *selection) count(q *api.CountRequest) (n uint64, why status) {
	if !q.GetFilterExpiredData() {
		if k := s.indexes[0].keys[q.GetKey()]; k != nil {
			n = k.rows
		}
		return n, ok
	}
	st, et := q.GetSt(), max(q.GetEt(), s.expiry.floor())
	badType := status{codeInvalidParameter, "st/et sub key type is invalid"}
	if how := q.GetStType(); how > api.GetType_kSubKeyLe {
		return 0, badType
	}
	if _, valid := above(0, 0, q.GetEtType()); !valid {
		return 0, badType
	}
	if st > 0 && st < et {
		return 0, invalidArgs
	}
	var last uint64
	for ts := range s.rows(startOf(st, q.GetStType())) {
		if q.GetEnableRemoveDuplicatedRecord() && n > 0 && ts == last {
			continue
		}
		if in, _ := above(ts, et, q.GetEtType()); !in {
			break
		}
		last = ts
		n++
	}
	return n, ok
}

// traverse reads all rows of an index in pages: the next one begins after the key, time and number of equal times that
// the last one ended at.
func (t *Tablet) traverse(_ context.Context, _ *port.Call, q *api.TraverseRequest, a *api.TraverseResponse) error {
	p, why := t.read(q.GetTid(), q.GetPid())
	if !why.good() {
		why.into(&a.Code, &a.Msg)
		return nil
	}
	defer p.mu.RUnlock()
	x, ready := p.index(q.GetIdxName())
	if !ready {
		noIndex.into(&a.Code, &a.Msg)
		return nil
	}
	e := x.ttl.at(t.tune.now(), p.keep)
	if p.keep {
		e = never()
	}
	x.page(q, e, a)
	a.Code = proto.Int32(codeOK)
	return nil
}

func (x *index) page(q *api.TraverseRequest, e expiry, a *api.TraverseResponse) {
	key, ts, pos := q.GetPk(), q.GetTs(), uint32(0)
	from, skip := uint64(math.MaxUint64), uint32(0)
	if key != "" {
		from, pos, skip = ts, q.GetTsPos(), q.GetTsPos()
		if q.TsPos == nil {
			skip = 1
		}
	}
	var count uint32
	finished := true
	for at, row := range x.live(key, from, e) {
		if key != "" && at.key.key == q.GetPk() {
			if q.GetSkipCurrentPk() {
				continue
			}
			if at.ts == q.GetTs() && skip > 0 {
				skip--
				continue
			}
		}
		if q.GetLimit() > 0 && count >= q.GetLimit() || len(a.Pairs) > maxAnswer {
			finished = false
			break
		}
		if at.key.key != key || at.ts != ts {
			key, ts, pos = at.key.key, at.ts, 1
		} else {
			pos++
			if q.GetEnableRemoveDuplicatedRecord() {
				continue
			}
		}
		a.Pairs = wire.AppendTraversePair(a.Pairs, wire.Pair{Key: key, Time: ts, Row: row.value})
		count++
	}
	if q.GetLimit() > 0 && count == q.GetLimit() {
		finished = false // the store does not look whether there is more
	}
	a.Count, a.Pk, a.Ts, a.TsPos, a.IsFinish = &count, &key, &ts, &pos, &finished
}
