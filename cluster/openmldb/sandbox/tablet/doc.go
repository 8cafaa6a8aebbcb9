// Package tablet is an OpenMLDB tablet server for sandboxes: partitions in memory and on disk, their replication, and every
// method of openmldb.api.TabletServer that needs no SQL engine, with the codes and texts of the store.
//
// On disk a partition is a directory <tid>_<pid>, below db, db_ssd or db_hdd by its storage mode:
//
//	table_meta.txt     the TableMeta, as text
//	binlog/NNNNNNNN.log    what was written, by offset (binlog.go)
//	snapshot/MANIFEST  which snapshot there is, and the offset it reaches (snapshot.go)
//
// What was acknowledged was written to the binlog before, and so outlives the process; it is not synced. A tablet that
// starts has no partition in memory until LoadTable reads snapshot and binlog. A call with another storage mode than the
// partition's looks into another directory, where there is nothing: that is how a recovery harms a table, as it does in
// the store.
//
// A leader acknowledges what it has, and sends it to its followers afterwards (follower.go): the death of a leader loses
// what no follower got.
//
// Differences from the store, where its own behaviour would only hide what a drill wants to see: a follower refuses
// entries that would leave a gap, and the leader asks it again where it stands; a partition with a damaged binlog,
// snapshot or manifest is not loaded, and stays where it is.
package tablet
