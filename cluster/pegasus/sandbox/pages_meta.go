package sandbox

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"shardsh/cluster/pegasus/wire"
)

// The pages of meta servers. What is the leader's to tell, others send on to it.

// pages are a meta server's, whether it leads or not.
func (p *metaProcess) pages(c *cluster) map[string]page {
	m, leads := p.waiting, false
	if lead := p.leads(); lead != nil {
		m, leads = lead, true
	}
	all := m.ownPages()
	if c.release >= release26 {
		all["metrics"] = metricsPage(c.name, "meta", p.address, m.metrics)
	}
	for path, own := range m.pages() {
		if !leads {
			own.answer = func(q query) reply { return p.sendOn(c, path, q) }
		}
		all["meta/"+path] = own
	}
	all[""] = helpPage(all)
	return all
}

// sendOn tells where the leader is.
func (p *metaProcess) sendOn(c *cluster, path string, q query) reply {
	boss := c.leader()
	if boss == nil {
		return failed(http.StatusInternalServerError, "there is no primary meta server")
	}
	to := url.URL{Scheme: "http", Host: boss.address, Path: "/meta/" + path}
	var args []string
	for _, name := range slices.Sorted(maps.Keys(q)) {
		args = append(args, url.QueryEscape(name)+"="+url.QueryEscape(q[name]))
	}
	to.RawQuery = strings.Join(args, "&")
	return reply{status: http.StatusTemporaryRedirect, location: to.String()}
}

func (m *metaServer) ownPages() map[string]page {
	return serverPages{m.started, m.net.release(), []flag{
		{
			name: "node_live_percentage_threshold_for_update", section: "meta_server", kind: "FV_UINT64",
			help: "percentage of live nodes below which nothing is cured", setting: m.settings.livePercentage,
		},
		{
			name: "replica_assign_delay_ms_for_dropouts", section: "meta_server", kind: "FV_UINT64",
			help: "how long a dropped replica is waited for before another node gets a copy", setting: m.settings.assignDelay,
		},
	}}.pages()
}

func (m *metaServer) pages() map[string]page {
	return map[string]page{
		"apps":     {help: "[detail] - List all apps in the cluster.", answer: m.appsPage},
		"app":      {help: "name=<app_name>[&detail] - Query app info.", answer: m.appPage},
		"nodes":    {help: "[detail] - Query the replica servers info.", answer: m.nodesPage},
		"cluster":  {help: "Query the cluster info.", answer: m.clusterPage},
		"app_envs": {help: "name=<app_name> - Query app environments.", answer: m.envsPage},
		"backup_policy": {help: "name=<policy_name> - Query backup policies.", answer: func(query) reply {
			return failed(http.StatusNotFound, "cold_backup_disabled")
		}},
	}
}

// localTime is a moment as Pegasus writes it.
func localTime(seconds int64) string {
	if seconds <= 0 {
		return "-"
	}
	return time.Unix(seconds, 0).Format(time.DateTime) + ".0"
}

// pageHealth counts partitions as Pegasus does.
type pageHealth struct{ full, writeUnhealthy, readUnhealthy int }

func (h *pageHealth) add(p *wire.Partition) {
	have := len(p.Secondaries)
	if !p.Primary.Valid() {
		h.writeUnhealthy++
		h.readUnhealthy++
		return
	}
	switch have++; {
	case have >= int(p.MaxReplicas):
		h.full++
	case have < 2:
		h.writeUnhealthy++
	}
}

// configs are the partitions of a table; m.mu is held.
func (m *metaServer) configs(a *app) []wire.Partition {
	list := make([]wire.Partition, a.Partitions)
	for i := range list {
		list[i] = m.partition(wire.GPID{App: a.ID, Partition: int32(i)})
	}
	return list
}

func (m *metaServer) appsPage(q query) reply {
	if !q.only("detail") {
		return reply{status: http.StatusBadRequest}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	columns := strings.Fields("app_id status app_name app_type partition_count replica_count is_stateful create_time drop_time drop_expire envs_count")
	healths := strings.Fields("app_id app_name partition_count fully_healthy unhealthy write_unhealthy read_unhealthy")
	var general, healthy object
	var full, unhealthy, write, read int
	for _, id := range slices.Sorted(maps.Keys(m.apps)) {
		a := m.apps[id]
		if a.Status != wire.AppAvailable {
			continue
		}
		general.row(fmt.Sprint(id), columns, id, a.Status, a.Name, a.Type, a.Partitions, a.Replicas, a.Stateful,
			localTime(a.Created), "-", "-", len(a.Envs))
		var h pageHealth
		for _, p := range m.configs(a) {
			h.add(&p)
		}
		healthy.row(fmt.Sprint(id), healths, id, a.Name, a.Partitions, h.full, int(a.Partitions)-h.full, h.writeUnhealthy, h.readUnhealthy)
		full += one(h.full == int(a.Partitions))
		unhealthy += one(h.full != int(a.Partitions))
		write += one(h.writeUnhealthy > 0)
		read += one(h.readUnhealthy > 0)
	}
	summary := pairsOf("total_app_count", strconv.Itoa(full+unhealthy))
	all := object{}
	all.add("general_info", general)
	if q.has("detail") && full+unhealthy > 0 {
		all.add("healthy_info", healthy)
		summary.add("fully_healthy_app_count", strconv.Itoa(full))
		summary.add("unhealthy_app_count", strconv.Itoa(unhealthy))
		summary.add("write_unhealthy_app_count", strconv.Itoa(write))
		summary.add("read_unhealthy_app_count", strconv.Itoa(read))
	}
	all.add("summary", summary)
	return all.reply()
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (m *metaServer) appPage(q query) reply {
	if !q.only("name", "detail") {
		return reply{status: http.StatusBadRequest}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.named(q["name"])
	if a == nil {
		return failed(http.StatusNotFound, "table not found: %q", q["name"])
	}
	all := object{}
	all.add("general", pairsOf("app_name", a.Name, "app_id", fmt.Sprint(a.ID), "partition_count", fmt.Sprint(a.Partitions),
		"max_replica_count", fmt.Sprint(a.Replicas)))
	if !q.has("detail") {
		return all.reply()
	}
	var replicas object
	var h pageHealth
	held := map[wire.Address][2]int{}
	for _, p := range m.configs(a) {
		h.add(&p)
		primary, have := "-", len(p.Secondaries)
		if p.Primary.Valid() {
			primary = p.Primary.String()
			have++
			n := held[p.Primary]
			held[p.Primary] = [2]int{n[0] + 1, n[1]}
		}
		var others []string
		for _, s := range p.Secondaries {
			others = append(others, s.String())
			n := held[s]
			held[s] = [2]int{n[0], n[1] + 1}
		}
		replicas.row(fmt.Sprint(p.PID.Partition), strings.Fields("pidx ballot replica_count primary secondaries"), p.PID.Partition,
			p.Ballot, fmt.Sprintf("%d/%d", have, p.MaxReplicas), primary, "["+strings.Join(others, ",")+"]")
	}
	all.add("replicas", replicas)
	all.add("nodes", heldTable(held))
	all.add("healthy", pairsOf("fully_healthy_partition_count", strconv.Itoa(h.full),
		"unhealthy_partition_count", strconv.Itoa(int(a.Partitions)-h.full),
		"write_unhealthy_partition_count", strconv.Itoa(h.writeUnhealthy),
		"read_unhealthy_partition_count", strconv.Itoa(h.readUnhealthy)))
	return all.reply()
}

// heldTable lists how many primaries and secondaries nodes hold.
func heldTable(held map[wire.Address][2]int) object {
	var nodes object
	columns := strings.Fields("node primary secondary total")
	primaries, secondaries := 0, 0
	for _, at := range slices.Sorted(maps.Keys(held)) {
		n := held[at]
		nodes.row(at.String(), columns, at, n[0], n[1], n[0]+n[1])
		primaries, secondaries = primaries+n[0], secondaries+n[1]
	}
	nodes.row("total", columns, "total", primaries, secondaries, primaries+secondaries)
	return nodes
}

func (m *metaServer) nodesPage(q query) reply {
	if !q.only("detail") {
		return reply{status: http.StatusBadRequest}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	primaries, all := m.held()
	columns := []string{"address", "status"}
	if q.has("detail") {
		columns = append(columns, "replica_count", "primary_count", "secondary_count")
	}
	var details object
	alive := 0
	nodes := slices.SortedFunc(slices.Values(m.nodes), func(a, b nodeID) int { return cmp.Compare(m.wireAddress(a), m.wireAddress(b)) })
	for _, id := range nodes {
		status := wire.NodeUnalive
		if m.alive[id] {
			status = wire.NodeAlive
			alive++
		}
		cells := []any{m.net.address(id), status, all[id], primaries[id], all[id] - primaries[id]}
		details.row(m.net.address(id), columns, cells...)
	}
	answer := object{}
	answer.add("details", details)
	answer.add("summary", pairsOf("total_node_count", strconv.Itoa(len(m.nodes)), "alive_node_count", strconv.Itoa(alive),
		"unalive_node_count", strconv.Itoa(len(m.nodes)-alive)))
	return answer.reply()
}

// held counts the primaries and all replicas of each node; m.mu is held.
func (m *metaServer) held() (primaries, all map[nodeID]int) {
	primaries, all = map[nodeID]int{}, map[nodeID]int{}
	for pid, g := range m.groups {
		if a := m.apps[pid.App]; a == nil || a.Status != wire.AppAvailable {
			continue
		}
		primaries[g.Primary]++
		for _, id := range g.members() {
			all[id]++
		}
	}
	return primaries, all
}

func (m *metaServer) clusterPage(query) reply {
	var out wire.ClusterInfoResponse
	m.clusterInfo(nil, nil, &out)
	answer := object{}
	for i, key := range out.Keys {
		if key != "cluster_name" { // which is told to callers of the protocol only
			answer.add(key, out.Values[i])
		}
	}
	return answer.reply()
}

func (m *metaServer) envsPage(q query) reply {
	if q["name"] == "" {
		return failed(http.StatusBadRequest, "app name shouldn't be empty")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	answer := object{}
	if a := m.named(q["name"]); a != nil {
		for _, key := range slices.Sorted(maps.Keys(a.Envs)) {
			answer.add(key, a.Envs[key])
		}
	}
	return answer.reply()
}
