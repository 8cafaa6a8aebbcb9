package wire

func sampleTables() []sample {
	return []sample{
		request(&RecallApp, RecallAppRequest{AppID: 7, NewName: "again"}),
		response(&RecallApp, RecallAppResponse{Err: OK, Info: someApp}),
		request(&RenameApp, RenameAppRequest{Old: "a", New: "b"}), response(&RenameApp, HintResponse{Err: CodeAppNotExist, Hint: "no a"}),
		request(&GetReplicaCount, GetReplicaCountRequest{AppName: "t"}),
		response(&GetReplicaCount, ReplicaCountResponse{Err: OK, Count: 3, Hint: "h"}),
		request(&SetReplicaCount, SetReplicaCountRequest{AppName: "t", Count: 2}),
		response(&SetReplicaCount, ReplicaCountResponse{Err: CodeStateFreezed, Count: 3}),
	}
}
