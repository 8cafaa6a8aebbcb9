package pegasus

import (
	"context"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// The remote commands that limit what a replica server sends, MB/s: of all its disks up to 2.3, of each disk after it.
const (
	sendRateOld = "nfs.max_send_rate_megabytes"
	sendRateNew = "nfs.max_send_rate_megabytes_per_disk"
)

// sendRateStep is how much the store's manual has one add at a time, MB/s.
const sendRateStep = 50

// usualSendRate is the limit that the store's manual has one begin with.
const usualSendRate = "50MB/s"

var sendRateFlag = spec.Flag{
	Name: "max-rate", Kind: spec.ArgRate, Default: usualSendRate,
	Help: "hold the servers' own limit of what they send at this meanwhile, for each disk from 2.4 on, for each server before; none leaves it alone; +, - and job rate change it while it runs",
}

// sender is what is asked of a cluster for the limit.
type sender interface {
	admin
	ServerVersion(ctx context.Context, endpoint string) (driver.Version, error)
}

// sendRate is the limit of what the replica servers of a cluster send.
type sendRate struct {
	c       sender
	command string // "" when it is left alone, and then there is no rate during it
	during  spec.Rate
	now     int64 // MB/s, as it was set last
}

// megabytes is a rate as servers take it.
func megabytes(r spec.Rate) int64 {
	const most = math.MaxInt32
	return int64(min(max(math.Round(r.Bytes/1e6), 1), most))
}

// planSendRate looks what the limit is, and has a plan hold it lower. Where servers disagree, or have a lower one, it is left
// alone; what a killed shell has left held is put back by the hold of this one.
func planSendRate(ctx context.Context, env commands.Env, call *spec.Call, c sender, plan *spec.Plan) (*sendRate, error) {
	wanted := call.Rate(sendRateFlag.Name)
	l := &sendRate{c: c}
	note := func(format string, args ...any) (*sendRate, error) {
		plan.Notes = append(plan.Notes, fmt.Sprintf(format, args...))
		return l, nil
	}
	if wanted.Bytes <= 0 {
		return note("no limit is held: what servers send may fill the network")
	}
	want := megabytes(wanted)
	command, values, err := readSendRates(ctx, c)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, err
	case err != nil:
		return note("the limit of what servers send is not known, and left alone: %v", err)
	case len(values) > 1:
		return note("%s differs between servers (%s), and is left alone", command, strings.Join(values, ", "))
	}
	held, err := env.Holds(call.Cluster)
	if err != nil {
		return nil, err
	}
	was, _ := strconv.ParseInt(values[0], 10, 64)
	left := slices.IndexFunc(held, func(h commands.Held) bool {
		return h.Setting == command && !h.Active && !h.Kept && h.Was != values[0]
	})
	if left < 0 && was > 0 && was <= want {
		return note("%s is %d, and left alone", command, was)
	}
	l.command, l.during, l.now = command, wanted, want
	plan.Holds = append(plan.Holds, l.hold(want))
	if left >= 0 {
		return note("%s is %s still, left so by a shell that was killed; it is held at %d, and put back to %s in the end", command, values[0], want, held[left].Was)
	}
	return note("%s is held at %d (it is %s), and put back in the end; the key + where it is followed, or job rate ID %dMB/s, raises it meanwhile",
		command, want, values[0], want+sendRateStep)
}

// job makes a job keep to the limit.
func (l *sendRate) job(j spec.Job) *spec.Job {
	j.Rate, j.RateStep = l.during, spec.Rate{Bytes: sendRateStep * 1e6}
	return &j
}

func (l *sendRate) hold(want int64) spec.Hold {
	return spec.Hold{
		Setting: l.command, During: strconv.FormatInt(want, 10), Class: spec.Alter,
		Read: func(ctx context.Context) (string, error) {
			_, values, err := readSendRates(ctx, l.c)
			if err == nil && len(values) != 1 {
				err = spec.Errorf(spec.Refused, "it differs between servers: %s", strings.Join(values, ", "))
			}
			if err != nil {
				return "", err
			}
			return values[0], nil
		},
		Write:   l.write,
		Restore: func(was string) string { return "remote_command -t replica-server " + l.command + " " + was },
	}
}

// follow sets what `job rate` has asked for since.
func (l *sendRate) follow(ctx context.Context, wanted spec.Rate) error {
	switch {
	case l.command == "" && wanted == l.during:
		return nil
	case l.command == "":
		return spec.Errorf(spec.Refused, "none is held, and so job rate changes nothing: remote_command -t replica-server %s 100 does", sendRateNew)
	}
	want, text := megabytes(wanted), ""
	if wanted.Bytes <= 0 {
		want, text = 0, "DEFAULT"
	}
	if want == l.now {
		return nil
	}
	if text == "" {
		text = strconv.FormatInt(want, 10)
	}
	if err := l.write(ctx, text); err != nil {
		return err
	}
	l.now = want
	return nil
}

// write sets the limit on every server that is alive.
func (l *sendRate) write(ctx context.Context, value string) error {
	servers, err := aliveReplicaServers(ctx, l.c)
	if err != nil {
		return err
	}
	answers := askAll(ctx, l.c, servers, l.command, value)
	for i, a := range answers {
		if a.asked && a.err == nil && driver.CommandRefused(a.text) {
			answers[i].err = &spec.Error{Kind: spec.Failed, Op: "set " + l.command, Endpoint: servers[i].Endpoint, Err: fmt.Errorf("%s", oneLine(a.text))}
		}
	}
	return answersError(answers)
}

func aliveReplicaServers(ctx context.Context, c admin) ([]driver.Server, error) {
	nodes, err := c.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	var servers []driver.Server
	for _, n := range nodes {
		if n.Alive {
			servers = append(servers, driver.Server{Endpoint: n.Endpoint, Role: driver.RoleReplica, Alive: true})
		}
	}
	if len(servers) == 0 {
		return nil, spec.Errorf(spec.Unavailable, "no replica server is alive")
	}
	return servers, nil
}

// lastNumber finds the value in what a server answers when a setting is read: text or JSON.
var lastNumber = regexp.MustCompile(`(\d+)\D*$`)

// readSendRates answers the command that reads and sets the limit, and the different values it has, as numbers.
func readSendRates(ctx context.Context, c sender) (command string, values []string, err error) {
	servers, err := aliveReplicaServers(ctx, c)
	if err != nil {
		return "", nil, err
	}
	v, err := c.ServerVersion(ctx, servers[0].Endpoint)
	if err != nil {
		return "", nil, err
	}
	command = sendRateNew
	if v.Major < 2 || v.Major == 2 && v.Minor < 4 {
		command = sendRateOld
	}
	answers := askAll(ctx, c, servers, command)
	if err := answersError(answers); err != nil {
		return "", nil, err
	}
	for i, a := range answers {
		m := lastNumber.FindStringSubmatch(a.text)
		if m == nil || driver.CommandRefused(a.text) {
			return "", nil, &spec.Error{Kind: spec.Failed, Op: "read " + command, Endpoint: servers[i].Endpoint, Err: fmt.Errorf("%s", oneLine(a.text))}
		}
		values = append(values, m[1])
	}
	slices.Sort(values)
	return command, slices.Compact(values), nil
}
