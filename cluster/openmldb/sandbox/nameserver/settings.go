package nameserver

import (
	"context"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"shardsh/cluster/openmldb/pb/ns"
)

// autoFailover is the only setting there is.
const autoFailover = "auto_failover"

func (l *lead) confGet(_ context.Context, _ *ns.ConfGetRequest, a *ns.ConfGetResponse) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	a.Conf = []*ns.Pair{{Key: proto.String(autoFailover), Value: proto.String(strconv.FormatBool(l.auto))}}
	return nil
}

func (l *lead) confSet(_ context.Context, q *ns.ConfSetRequest, _ *ns.GeneralResponse) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	value := strings.ToLower(q.GetConf().GetValue())
	if q.GetConf().GetKey() != autoFailover || value != "true" && value != "false" {
		return refuse(codeInvalid, "invalid parameter")
	}
	if err := l.write(l.at.auto, []byte(value)); err != nil {
		l.log("%v", err)
		return refuse(codeSetZK, "set zk failed")
	}
	l.auto = value == "true"
	return nil
}
