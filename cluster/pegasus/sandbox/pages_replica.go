package sandbox

import (
	"net/http"
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
	all["replica/duplication"] = page{help: "appid=<app_id> - Query the duplication of an app.", answer: func(query) reply {
		return failed(http.StatusNotFound, "duplication is not enabled [FLAGS_duplication_enabled=false]")
	}}
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
