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
	"shardsh/commands/spec"
)

// The remote commands that limit what a replica server sends, MB/s: of all its disks up to 2.3, of each disk after it.
const (
	sendRateOld = "nfs.max_send_rate_megabytes"
	sendRateNew = "nfs.max_send_rate_megabytes_per_disk"
)

// usualSendRate is the limit that the store's manual has one begin with.
const usualSendRate = "50MB/s"

var sendRateFlag = spec.Flag{
	Name: "max-rate", Kind: spec.ArgRate, Default: usualSendRate,
	Help: "hold the servers' own limit of what they send at this meanwhile, for each disk from 2.4 on, for each server before; none leaves it alone; job rate changes it while it runs",
}

// sender is what is asked of a cluster for the limit.
type sender interface {
	admin
	ServerVersion(ctx context.Context, endpoint string) (driver.Version, error)
}

// sendRate is the limit of what the replica servers of a cluster send.
type sendRate struct {
	c       sender
	command string // "" when it is left alone
	was     string // MB/s
	during  spec.Rate
	now     int64 // MB/s, as it was set last
}

// megabytes is a rate as servers take it.
func megabytes(r spec.Rate) int64 {
	const most = math.MaxInt32
	return int64(min(max(math.Round(r.Bytes/1e6), 1), most))
}

// planSendRate looks what the limit is, and answers the holds and notes of a plan that lowers it. Where servers disagree, or
// have a lower one, it is left alone.
func planSendRate(ctx context.Context, c sender, wanted spec.Rate) (l *sendRate, holds []spec.Hold, notes []string, err error) {
	l = &sendRate{c: c, during: wanted}
	if wanted.Bytes <= 0 {
		return l, nil, []string{"no limit is held: the upload may fill the network"}, nil
	}
	want := megabytes(wanted)
	command, values, err := readSendRates(ctx, c)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, nil, nil, err
	case err != nil:
		return l, nil, []string{fmt.Sprintf("the limit of what servers send is not known, and left alone: %v", err)}, nil
	case len(values) > 1:
		return l, nil, []string{fmt.Sprintf("%s differs between servers (%s), and is left alone", command, strings.Join(values, ", "))}, nil
	}
	was, _ := strconv.ParseInt(values[0], 10, 64)
	if was > 0 && was <= want {
		return l, nil, []string{fmt.Sprintf("%s is %d, and left alone", command, was)}, nil
	}
	l.command, l.was, l.now = command, values[0], want
	return l, []spec.Hold{l.hold(want)}, []string{
		fmt.Sprintf("%s is held at %d (it is %s), and put back in the end; job rate ID %dMB/s raises it meanwhile: wait for phase 2, and go up by 50", command, want, values[0], want+50),
	}, nil
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
	if l.command == "" {
		return nil
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
