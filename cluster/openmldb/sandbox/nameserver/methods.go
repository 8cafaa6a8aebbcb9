package nameserver

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"shardsh/cluster/openmldb/pb/api"
	"shardsh/cluster/openmldb/pb/ns"
	"shardsh/cluster/openmldb/sandbox/port"
)

// Codes of answers (OpenMLDB: base/status.h).
const (
	codeError            = -1
	codeNoTable          = 100
	codeTableExists      = 101
	codeTableIsLeader    = 102
	codeCreateFailed     = 131
	codeNoFollower       = 134
	codeNoOp             = 136
	codeNoServer         = 155
	codeSDKDuplicate     = 156
	codeNotLeader        = 300
	codeAutoFailover     = 301
	codeNoEndpoint       = 302
	codeUnhealthy        = 303
	codeSetZK            = 304
	codeCreateOp         = 305
	codeAddOpData        = 306
	codeInvalid          = 307
	codeNoPid            = 308
	codeLeaderAlive      = 309
	codeNoAliveFollower  = 310
	codePartitionAlive   = 311
	codeOpEnded          = 312
	codeDropTable        = 313
	codePlacement        = 314
	codePidExists        = 317
	codeSourceUnhealthy  = 318
	codeTargetUnhealthy  = 319
	codeMigrate          = 320
	codeNoPidUpdated     = 321
	codeTTL              = 322
	codeFieldTablet      = 323
	codeFieldsFull       = 324
	codeFieldExists      = 325
	codeConnectZK        = 326
	codeTabletFailed     = 327
	codeActiveOp         = 334
	codeOffsetMismatch   = 335
	codeTruncate         = 337
	codeAliasExists      = 400
	codeConnectZone      = 401
	codeConnectZoneNS    = 403
	codeNoAlias          = 404
	codeOtherZone        = 407
	codeJoined           = 408
	codeServerMode       = 409
	codeZoneNotEmpty     = 410
	codeCreateNode       = 450
	codeSetNode          = 451
	codeDeleteNode       = 452
	codeFollowerCluster  = 453
	codeNotLeaderMode    = 454
	codeReplicaUnhealthy = 455
	codeTablesDiffer     = 567
	codeNotSupported     = 701
	codeDatabaseExists   = 801
	codeNoDatabase       = 802
	codeDatabaseNotEmpty = 803
)

// refusal is an answer with another code than 0.
type refusal struct {
	code int32
	text string
}

func (r *refusal) Error() string { return fmt.Sprintf("[%d] %s", r.code, r.text) }

func refuse(code int32, format string, args ...any) error {
	return &refusal{code, fmt.Sprintf(format, args...)}
}

// codeOf is the code of a refusal, codeError for any other error.
func codeOf(err error) int32 {
	var r *refusal
	if errors.As(err, &r) {
		return r.code
	}
	return codeError
}

// settle puts an outcome into the two fields that every answer has.
func settle(a proto.Message, err error) {
	code, text := int32(0), "ok"
	if err != nil {
		code, text = codeError, err.Error()
		var r *refusal
		if errors.As(err, &r) {
			code, text = r.code, r.text
		}
	}
	m := a.ProtoReflect()
	fields := m.Descriptor().Fields()
	m.Set(fields.ByName("code"), protoreflect.ValueOfInt32(code))
	m.Set(fields.ByName("msg"), protoreflect.ValueOfString(text))
}

// onLead makes a method that only the leader answers.
func onLead[Q, A any, PQ interface {
	*Q
	proto.Message
}, PA interface {
	*A
	proto.Message
}](s *Server, run func(l *lead, ctx context.Context, q PQ, a PA) error) port.Method {
	return port.On(func(ctx context.Context, _ *port.Call, q PQ, a PA) error {
		l := s.leading()
		if l == nil {
			settle(a, refuse(codeNotLeader, "nameserver is not leader"))
			return nil
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(l.ctx, cancel)()
		settle(a, run(l, ctx, q, a))
		return nil
	})
}

// byHand makes a method that is refused while auto_failover is on.
func byHand[Q, A any, PQ interface {
	*Q
	proto.Message
}, PA interface {
	*A
	proto.Message
}](s *Server, run func(l *lead, ctx context.Context, q PQ, a PA) error) port.Method {
	return onLead(s, func(l *lead, ctx context.Context, q PQ, a PA) error {
		l.mu.Lock()
		auto := l.auto
		l.mu.Unlock()
		if auto {
			return refuse(codeAutoFailover, "auto_failover is enabled")
		}
		return run(l, ctx, q, a)
	})
}

// ofCurrent is onLead for the methods that word the refusal differently.
func ofCurrent(m port.Method) port.Method {
	run := m.Run
	m.Run = func(ctx context.Context, call *port.Call, q, a proto.Message) error {
		err := run(ctx, call, q, a)
		r := a.ProtoReflect()
		fields := r.Descriptor().Fields()
		if r.Get(fields.ByName("code")).Int() == codeNotLeader {
			r.Set(fields.ByName("msg"), protoreflect.ValueOfString("cur nameserver is not leader"))
		}
		return err
	}
	return m
}

// methods are all calls that a nameserver answers.
func (s *Server) methods() map[string]port.Method {
	all := s.replicaMethods()
	maps.Copy(all, s.tableMethods())
	maps.Copy(all, s.clusterMethods())
	// The SQL layer's own: its nodes hold nothing in a sandbox, and nothing is put there.
	for _, name := range []string{
		"PutUser", "DeleteUser", "PutPrivilege", "CreateProcedure", "DropProcedure", "DeploySQL", "CreateFunction", "DropFunction",
		"UpdateOfflineTableInfo",
	} {
		all[name] = onLead(s, func(*lead, context.Context, *ns.GeneralRequest, *ns.GeneralResponse) error {
			return refuse(codeNotSupported, "the sandbox has no SQL layer")
		})
	}
	return all
}

func (s *Server) replicaMethods() map[string]port.Method {
	return map[string]port.Method{
		"ConfGet":                onLead(s, (*lead).confGet),
		"ConfSet":                onLead(s, (*lead).confSet),
		"ShowTablet":             onLead(s, (*lead).showTablet),
		"OfflineEndpoint":        byHand(s, (*lead).offlineEndpoint),
		"RecoverEndpoint":        byHand(s, (*lead).recoverEndpoint),
		"RecoverTable":           byHand(s, (*lead).recoverTable),
		"ChangeLeader":           byHand(s, (*lead).changeLeader),
		"ShowOPStatus":           onLead(s, (*lead).showOPStatus),
		"CancelOP":               byHand(s, (*lead).cancelOP),
		"DeleteOP":               onLead(s, (*lead).deleteOP),
		"MakeSnapshotNS":         onLead(s, (*lead).makeSnapshot),
		"AddReplicaNS":           onLead(s, (*lead).addReplica),
		"DelReplicaNS":           onLead(s, (*lead).delReplica),
		"Migrate":                byHand(s, (*lead).migrate),
		"UpdateTableAliveStatus": byHand(s, (*lead).updateTableAlive),
	}
}

func (s *Server) tableMethods() map[string]port.Method {
	return map[string]port.Method{
		"ShowTable":         onLead(s, (*lead).showTable),
		"GetTablePartition": onLead(s, (*lead).getTablePartition),
		"SetTablePartition": byHand(s, (*lead).setTablePartition),
		"CreateTable":       onLead(s, (*lead).createTable),
		"DropTable":         onLead(s, (*lead).dropTable),
		"TruncateTable":     onLead(s, (*lead).truncateTable),
		"LoadTable":         onLead(s, (*lead).loadTable),
		"AddTableField":     onLead(s, (*lead).addTableField),
		"UpdateTTL":         onLead(s, (*lead).updateTTL),
		"AddIndex":          onLead(s, (*lead).addIndex),
		"DeleteIndex":       onLead(s, (*lead).deleteIndex),
		"CreateDatabase":    onLead(s, (*lead).createDatabase),
		"UseDatabase":       onLead(s, (*lead).useDatabase),
		"ShowDatabase":      onLead(s, (*lead).showDatabase),
		"DropDatabase":      onLead(s, (*lead).dropDatabase),
		"ShowProcedure":     onLead(s, (*lead).showProcedure),
		"ShowFunction":      onLead(s, (*lead).showFunction),
	}
}

func (s *Server) clusterMethods() map[string]port.Method {
	return map[string]port.Method{
		"ShowCatalog":              ofCurrent(onLead(s, (*lead).showCatalog)),
		"SetSdkEndpoint":           onLead(s, (*lead).setSDKEndpoint),
		"ShowSdkEndpoint":          onLead(s, (*lead).showSDKEndpoint),
		"ConnectZK":                port.On(s.connectZK),
		"DisConnectZK":             port.On(s.disconnectZK),
		"SwitchMode":               ofCurrent(onLead(s, (*lead).switchMode)),
		"AddReplicaCluster":        ofCurrent(onLead(s, (*lead).addReplicaCluster)),
		"ShowReplicaCluster":       ofCurrent(onLead(s, (*lead).showReplicaCluster)),
		"RemoveReplicaCluster":     ofCurrent(onLead(s, (*lead).removeReplicaCluster)),
		"AddReplicaClusterByNs":    ofCurrent(onLead(s, (*lead).joinZone)),
		"RemoveReplicaClusterByNs": ofCurrent(onLead(s, (*lead).leaveZone)),
		"SyncTable":                ofCurrent(onLead(s, (*lead).syncTable)),
		"CreateTableInfo":          ofCurrent(onLead(s, (*lead).createTableInfo)),
		"CreateTableInfoSimply":    ofCurrent(onLead(s, (*lead).createTableInfo)),
		"AddReplicaNSFromRemote":   ofCurrent(onLead(s, (*lead).addReplicaFromRemote)),
		"GetTaskStatus":            ofCurrent(onLead(s, (*lead).getTaskStatus)),
		"DeleteOPTask":             ofCurrent(onLead(s, (*lead).deleteOPTask)),
	}
}

func (l *lead) showProcedure(context.Context, *ns.ShowProcedureRequest, *ns.ShowProcedureResponse) error {
	return nil
}

func (l *lead) showFunction(context.Context, *ns.ShowFunctionRequest, *ns.ShowFunctionResponse) error {
	return nil
}

// getTaskStatus and deleteOPTask are for the leader of a pair of clusters, which has no operations here.
func (l *lead) getTaskStatus(context.Context, *api.TaskStatusRequest, *api.TaskStatusResponse) error {
	return nil
}

func (l *lead) deleteOPTask(context.Context, *api.DeleteTaskRequest, *api.GeneralResponse) error {
	return nil
}

// connectZK and disconnectZK are answered by whoever is asked, leading or not: it is how a lost session is tried out.
func (s *Server) connectZK(ctx context.Context, _ *port.Call, _ *ns.ConnectZKRequest, a *ns.GeneralResponse) error {
	if err := s.wish(ctx, true); err != nil {
		settle(a, refuse(codeConnectZK, "connect zk failed"))
		return nil
	}
	settle(a, nil)
	return nil
}

func (s *Server) disconnectZK(ctx context.Context, _ *port.Call, _ *ns.DisConnectZKRequest, a *ns.GeneralResponse) error {
	settle(a, s.wish(ctx, false))
	return nil
}

func (s *Server) wish(ctx context.Context, connect bool) error {
	w := wish{connect, make(chan error, 1)}
	select {
	case s.wishes <- w:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
