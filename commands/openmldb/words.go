// Package openmldb holds the words that only OpenMLDB has, with the names, arguments and columns its operators know.
package openmldb

import (
	"shardsh/commands"
	"shardsh/commands/spec"
)

// systems is where these words exist.
var systems = []string{"openmldb"}

// Words lists the words of OpenMLDB.
func Words(env commands.Env) []spec.Command {
	return append(nameserverWords(env), tabletWords(env)...)
}

func nameserverWords(env commands.Env) []spec.Command {
	return []spec.Command{
		ShowNS(env),
		ShowSDKEndpoint(env),
		SetSDKEndpoint(env),
		ConnectZK(env),
		DisconnectZK(env),
		ShowRepCluster(env),
		AddRepCluster(env),
		RemoveRepCluster(env),
		SwitchMode(env),
		SyncTable(env),
		ShowDB(env),
		CreateDB(env),
		DropDB(env),
		Create(env),
		Drop(env),
		Info(env),
		ShowSchema(env),
		AddTableField(env),
		AddIndex(env),
		DeleteIndex(env),
		SetTTL(env),
		ShowTable(env),
		AddReplica(env),
		DelReplica(env),
		Migrate(env),
		MakeSnapshot(env),
		GetTablePartition(env),
		SetTablePartition(env),
		ConfGet(env),
		ConfSet(env),
		OfflineEndpoint(env),
		RecoverEndpoint(env),
		RecoverTable(env),
		ChangeLeader(env),
		UpdateTableAlive(env),
		RecoverData(env),
		ScaleOut(env),
		ScaleIn(env),
		PreUpgrade(env),
		PostUpgrade(env),
		ShowOpStatus(env),
		CancelOp(env),
		DeleteOp(env),
	}
}

func tabletWords(env commands.Env) []spec.Command {
	return []spec.Command{
		Put(env),
		Get(env),
		Scan(env),
		Preview(env),
		Count(env),
		Delete(env),
		CountData(env),
		CopyData(env),
		DiffData(env),
		Backup(env),
		Restore(env),
		LsBackup(env),
		VerifyBackup(env),
		GetTableStatus(env),
		GetTableFollower(env),
		LoadTable(env),
		ChangeRole(env),
		PauseSnapshot(env),
		RecoverSnapshot(env),
		SendSnapshot(env),
		SetExpire(env),
	}
}
