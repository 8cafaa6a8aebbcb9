package tablet

import (
	"context"
	"maps"
	"slices"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/sandbox/port"
)

// sqlMethods need a SQL engine. It is these that clients send a SELECT, or the query of a deployment, to.
var sqlMethods = [...]string{
	"Query", "SubQuery", "SQLBatchRequestQuery", "SubBatchRequestQuery", "CreateProcedure", "DropProcedure", "CreateFunction",
	"DropFunction", "CreateAggregator",
}

// noSQL refuses one of sqlMethods. Their answers all begin with the fields of a GeneralResponse.
func noSQL(_ context.Context, _ *port.Call, _ *api.EmptyRequest, a *api.GeneralResponse) error {
	noEngine.general(a)
	return nil
}

// services are what a tablet answers.
func (t *Tablet) services() []port.Service {
	methods := t.methods()
	for _, name := range sqlMethods {
		methods[name] = port.On(noSQL)
	}
	return []port.Service{{Name: ServiceName, Methods: methods}}
}

func (t *Tablet) methods() map[string]port.Method {
	return map[string]port.Method{
		"Put":      port.On(t.put),
		"Get":      port.On(t.get),
		"Scan":     port.On(t.scan),
		"Count":    port.On(t.count),
		"Traverse": port.On(t.traverse),
		"Delete":   port.On(t.delete),

		"CreateTable":   port.On(t.createTable),
		"LoadTable":     port.On(t.loadTable),
		"DropTable":     port.On(t.dropTable),
		"TruncateTable": port.On(t.truncateTable),

		"GetTableStatus":       port.On(t.getTableStatus),
		"GetTableSchema":       port.On(t.getTableSchema),
		"GetTableFollower":     port.On(t.getTableFollower),
		"GetTermPair":          port.On(t.getTermPair),
		"GetManifest":          port.On(t.getManifest),
		"GetAllSnapshotOffset": port.On(t.getAllSnapshotOffset),
		"GetCatalog":           port.On(t.getCatalog),

		"ChangeRole":    port.On(t.changeRole),
		"AddReplica":    port.On(t.addReplica),
		"DelReplica":    port.On(t.delReplica),
		"AppendEntries": port.On(t.appendEntries),

		"MakeSnapshot":    port.On(t.makeSnapshot),
		"PauseSnapshot":   port.On(t.pauseSnapshot),
		"RecoverSnapshot": port.On(t.recoverSnapshot),
		"SendSnapshot":    port.On(t.sendSnapshot),
		"SendData":        port.On(t.sendData),
		"CheckFile":       port.On(t.checkFile),
		"DeleteBinlog":    port.On(t.deleteBinlog),

		"GetTaskStatus": port.On(t.getTaskStatus),
		"DeleteOPTask":  port.On(t.deleteOPTask),
		"CancelOP":      port.On(t.cancelOP),

		"UpdateTTL":                  port.On(t.updateTTL),
		"UpdateTableMetaForAddField": port.On(t.updateTableMetaForAddField),
		"AddIndex":                   port.On(t.addIndex),
		"DeleteIndex":                port.On(t.deleteIndex),
		"SetExpire":                  port.On(t.setExpire),
		"ExecuteGc":                  port.On(t.executeGC),

		"SetMode":               port.On(t.setMode),
		"Refresh":               port.On(t.refresh),
		"ConnectZK":             port.On(t.connectZK),
		"DisConnectZK":          port.On(t.disConnectZK),
		"UpdateRealEndpointMap": port.On(t.updateRealEndpointMap),
	}
}

// Calls names the calls as fault points do: "put", "get-table-status". It needs no running tablet.
func (*Tablet) Calls() []string {
	var names []string
	for method := range maps.Keys((&Tablet{}).services()[0].Methods) {
		names = append(names, port.PointName(method))
	}
	slices.Sort(names)
	return names
}
