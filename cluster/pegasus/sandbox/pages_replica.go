package sandbox

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"shardsh/cluster/pegasus/wire"
)

// pages are a replica server's.
func (s *replicaServer) pages() map[string]page {
	const rates = "megabytes per second of one disk"
	all := serverPages{s.started, s.net.release(), []flag{
		{
			name: "max_copy_rate_megabytes_per_disk", section: "nfs", kind: "FV_UINT32", mutable: true, least: 1,
			help: "how fast replicas are taken from other nodes, " + rates, setting: s.settings.copyRate,
		},
		{
			name: "max_send_rate_megabytes_per_disk", section: "nfs", kind: "FV_UINT32", mutable: true, least: 1,
			help: "how fast replicas are sent to other nodes, " + rates, setting: s.settings.sendRate,
		},
	}}.pages()
	all["replica/data_version"] = page{help: "app_id=<app_id> - Query the data version of an app.", answer: s.dataVersionPage}
	all["replica/manual_compaction"] = page{help: "app_id=<app_id> - Query the manual compaction of an app.", answer: s.compactionPage}
	all["replica/duplication"] = page{help: "appid=<app_id> - Query the duplication of an app.", answer: s.duplicationPage}
	if s.net.release() >= release26 {
		all["metrics"] = metricsPage(s.net.cluster(), "replica", s.address, s.metrics)
	}
	all[""] = helpPage(all)
	return all
}

// dataVersion is how values are stored, see layout.go.
const dataVersion = 1

func (s *replicaServer) dataVersionPage(q query) reply {
	id, bad, ok := q.appID("app_id")
	if !ok {
		return bad
	}
	answer := object{}
	for _, r := range s.all() {
		if r.pid.App == id {
			answer.add(strconv.Itoa(int(r.pid.Partition)), pairsOf("data_version", strconv.Itoa(dataVersion)))
		}
	}
	if len(answer.keys) == 0 {
		return failed(http.StatusNotFound, "app_id=%s not found", q["app_id"])
	}
	return answer.replyBare()
}

// duplicationPage tells how far the primaries of a table are with its duplications.
func (s *replicaServer) duplicationPage(q query) reply {
	id, bad, ok := q.appID("appid")
	if !ok {
		return bad
	}
	led, byDup := false, map[int32]object{}
	for _, r := range s.all() {
		if r.pid.App == id {
			led = r.shippersTo(byDup) || led
		}
	}
	switch {
	case !led:
		return failed(http.StatusNotFound, "no primary for app [appid=%d]", id)
	case len(byDup) == 0:
		return failed(http.StatusNotFound, "no duplication assigned for app [appid=%d]", id)
	}
	answer := object{}
	for _, dup := range slices.Sorted(maps.Keys(byDup)) {
		answer.add(strconv.Itoa(int(dup)), byDup[dup])
	}
	return answer.replyBare()
}

// shippersTo adds what a primary ships, by duplication; false when the replica is no primary.
func (r *replica) shippersTo(byDup map[int32]object) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.loop == nil {
		return false
	}
	for id, s := range r.ships {
		s.mu.Lock()
		o, state := byDup[id], object{}
		state.add("duplicating", s.dup.Status != wire.DupPause)
		state.add("fail_mode", s.dup.FailMode.String())
		state.add("not_confirmed_mutations_num", s.confirmed-r.confirmed[id])
		state.add("not_duplicated_mutations_num", r.at.Decree-s.confirmed)
		s.mu.Unlock()
		o.add(r.pid.String(), state)
		byDup[id] = o
	}
	return true
}

// compactionPage counts the replicas of a table by what their manual compaction does. None ever runs here.
func (s *replicaServer) compactionPage(q query) reply {
	id, bad, ok := q.appID("app_id")
	if !ok {
		return bad
	}
	count := map[wire.CompactStatus]int{}
	for _, r := range s.all() {
		if r.pid.App == id {
			count[r.report().Compact]++
		}
	}
	status := object{}
	for _, of := range []wire.CompactStatus{wire.CompactFinished, wire.CompactIdle, wire.CompactQueuing, wire.CompactRunning} {
		status.add(strings.ToLower(of.String()), count[of])
	}
	answer := object{}
	answer.add("status", status)
	return answer.replyBare()
}
