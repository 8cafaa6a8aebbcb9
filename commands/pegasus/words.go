// Package pegasus holds the words that only Apache Pegasus has, with the names, options and columns its operators know.
package pegasus

import (
	"slices"

	"shardsh/commands"
	"shardsh/commands/spec"
)

// systems is where these words exist.
var systems = []string{"pegasus"}

// Words lists the words of Pegasus.
func Words(env commands.Env) []spec.Command {
	return slices.Concat(adminWords(env), rowWords(env), backupWords(env))
}

func adminWords(env commands.Env) []spec.Command {
	return []spec.Command{
		ClusterInfo(env),
		Nodes(env),
		ServerInfo(env),
		ServerStat(env),
		FlushLog(env),
		RemoteCommand(env),
		Metrics(env),
		AppStat(env),
		AppDisk(env),
		Ls(env),
		App(env),
		Create(env),
		Drop(env),
		GetAppEnvs(env),
		SetAppEnvs(env),
		DelAppEnvs(env),
		GetMetaLevel(env),
		SetMetaLevel(env),
		Propose(env),
		Balance(env),
		Migrate(env),
		ChangeLeader(env),
		DDDDiagnose(env),
		QueryDisk(env),
		DiskMigrate(env),
		DetectHotkey(env),
		QueryHotkey(env),
		Recall(env),
		Rename(env),
		GetReplicaCount(env),
		SetReplicaCount(env),
		ClearAppEnvs(env),
		PartitionSplitStart(env),
		PartitionSplitQuery(env),
		PartitionSplitPause(env),
		PartitionSplitRestart(env),
		PartitionSplitCancel(env),
		ManualCompact(env),
		QueryCompact(env),
		AddDup(env),
		QueryDup(env),
		Dups(env),
		StartDup(env),
		PauseDup(env),
		RemoveDup(env),
		SetDupFailMode(env),
		ConfGet(env),
		ConfSet(env),
		OfflineEndpoint(env),
		RecoverEndpoint(env),
		Recover(env),
		ShowOpStatus(env),
	}
}

func rowWords(env commands.Env) []spec.Command {
	return []spec.Command{
		Set(env),
		Get(env),
		Del(env),
		Exist(env),
		TTL(env),
		Incr(env),
		CheckAndSet(env),
		CheckAndMutate(env),
		MultiSet(env),
		MultiGet(env),
		MultiGetSortKeys(env),
		MultiGetRange(env),
		MultiDel(env),
		MultiDelRange(env),
		Count(env),
		HashScan(env),
		Scan(env),
		FullScan(env),
		CountData(env),
		DiffData(env),
		CopyData(env),
		ClearData(env),
		Hash(env),
	}
}

func backupWords(env commands.Env) []spec.Command {
	return []spec.Command{
		Backup(env),
		QueryBackup(env),
		Restore(env),
		QueryRestoreStatus(env),
		AddBackupPolicy(env),
		LsBackupPolicy(env),
		QueryBackupPolicy(env),
		ModifyBackupPolicy(env),
		EnableBackupPolicy(env),
		DisableBackupPolicy(env),
		LsBackup(env),
		GetBackup(env),
		VerifyBackup(env),
		RmBackup(env),
		BackupGet(env),
		BackupScan(env),
		BackupCount(env),
		SplitBackup(env),
		SplitBackupJob(env),
		StartBulkLoad(env),
		QueryBulkLoadStatus(env),
		PauseBulkLoad(env),
		RestartBulkLoad(env),
		CancelBulkLoad(env),
		ClearBulkLoad(env),
	}
}
