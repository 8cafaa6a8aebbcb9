package nameserver

import (
	"context"
	"maps"
	"slices"

	"shardsh/cluster/openmldb/pb/ns"
)

// The databases that the nameserver makes for itself and lists to nobody.
const (
	internalDB    = "__INTERNAL_DB"
	informationDB = "INFORMATION_SCHEMA"
	preAggDB      = "__PRE_AGG_DB"
)

func hidden(db string) bool { return db == internalDB || db == informationDB || db == preAggDB }

func (l *lead) createDatabase(_ context.Context, q *ns.CreateDatabaseRequest, _ *ns.GeneralResponse) error {
	if err := l.follows(q.GetZoneInfo()); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.makeDatabase(q.GetDb(), q.GetIfNotExists())
}

// makeDatabase makes a database; l.mu is held.
func (l *lead) makeDatabase(db string, mayExist bool) error {
	switch {
	case l.databases[db] && mayExist:
		return nil
	case l.databases[db]:
		return refuse(codeDatabaseExists, "database already exists")
	case db == "" || !plainName(db):
		return refuse(codeInvalid, "invalid parameter")
	}
	if err := l.write(l.at.dbs+"/"+db, nil); err != nil {
		l.log("%v", err)
		return refuse(codeSetZK, "set zk failed")
	}
	l.databases[db] = true
	return nil
}

func (l *lead) useDatabase(_ context.Context, q *ns.UseDatabaseRequest, _ *ns.GeneralResponse) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.databases[q.GetDb()] {
		return refuse(codeNoDatabase, "database not found")
	}
	return nil
}

func (l *lead) showDatabase(_ context.Context, _ *ns.GeneralRequest, a *ns.ShowDatabaseResponse) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	a.Db = slices.DeleteFunc(slices.Sorted(maps.Keys(l.databases)), hidden)
	return nil
}

func (l *lead) dropDatabase(_ context.Context, q *ns.DropDatabaseRequest, _ *ns.GeneralResponse) error {
	if err := l.follows(q.GetZoneInfo()); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	db := q.GetDb()
	if !l.databases[db] || hidden(db) {
		return refuse(codeNoDatabase, "database not found")
	}
	for name := range l.tables {
		if name.db == db {
			return refuse(codeDatabaseNotEmpty, "database not empty")
		}
	}
	if err := l.remove(l.at.dbs + "/" + db); err != nil {
		l.log("%v", err)
		return refuse(codeSetZK, "set zk failed")
	}
	delete(l.databases, db)
	return nil
}
