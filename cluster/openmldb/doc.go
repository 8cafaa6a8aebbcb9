// Package openmldb drives OpenMLDB clusters over brpc's baidu_std protocol.
//
// Layers, each in its file: who leads, by ZooKeeper or by asking a list of nameservers (discover.go); one connection a
// server (pool.go); a call with its deadline, trace and second try (call.go); then one file per subject (api.go lists
// them).
//
// What may be sent twice is decided in call.go only. A read is repeated once after the leader was looked for again. A
// change is repeated only when it was not sent, or when the answer is the refusal of a nameserver that does not lead
// (code 300), which does nothing; otherwise it ends in spec.UnknownOutcome.
//
// Addresses: `zk://h1:p1,h2:p2/root` finds the leader and the tablets in ZooKeeper and watches them;
// `ns://h1:p1,h2:p2` asks the nameservers which of them leads.
package openmldb
