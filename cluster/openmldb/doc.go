// Package openmldb drives OpenMLDB clusters over brpc's baidu_std protocol.
//
// Layers, each in its file: who leads and where servers are, by asking a list of nameservers (discover.go) or by watching
// ZooKeeper (watching.go, zookeeper.go, guard.go); one connection a server (package pool); a call with its deadline, trace and
// second try (call.go); the tablet that leads a partition (route.go); then one file per subject (api.go lists them).
//
// What may be sent twice is decided in call.go and route.go only. A read that was lost is repeated once, after the leader
// was looked for again. A change is repeated only when it was not sent, or when the answer is a refusal that servers give
// before doing anything: of a nameserver that does not lead (code 300), of a tablet that does not lead or lacks the
// partition (103, 100), of a server that is stopping. Otherwise it ends in spec.UnknownOutcome. While nobody leads, a call
// waits for the election within its time.
//
// A call, the search for the leader and second tries included, takes the time that the options allow; a call that visits
// several partitions takes it for each.
//
// Addresses: `zk://h1:p1,h2:p2/root` finds the leader and the tablets in ZooKeeper and watches them;
// `ns://h1:p1,h2:p2` asks the nameservers which of them leads.
package openmldb
