package openmldb

import (
	"context"
	"fmt"
	"slices"
	"strings"

	driver "shardsh/cluster/openmldb"
	"shardsh/commands"
	"shardsh/commands/spec"
)

// PreUpgrade moves the leaders off a tablet that is to be restarted.
func PreUpgrade(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "preupgrade",
		Aliases: []string{"pre-upgrade"},
		Systems: systems,
		Topic:   "failover",
		Summary: "move the leaders off a tablet, before it is stopped for an upgrade",
		Long: "Each partition that the tablet leads elects another leader, and the tablet follows it. A table with one replica gets a " +
			"second one for the time being, unless --allow_single_replica leaves it down meanwhile. What the tablet led is remembered " +
			"until postupgrade. auto_failover is held off while this runs. Run again it does what is left.",
		Args: []spec.Arg{{Name: "endpoint", Kind: spec.ArgEndpoint, Help: "host:port of the tablet, or the end of it from a dot on"}},
		Flags: []spec.Flag{
			{Name: "allow_single_replica", Kind: spec.ArgBool, Help: "leave partitions with one replica where they are"},
		},
		Examples: []spec.Example{
			{Line: "preupgrade .32:8541 --plan", Says: "which leaders would move"},
			{Line: "preupgrade .32:8541 --yes", Says: "move them; its process can be stopped afterwards"},
		},
		SeeAlso: []string{"postupgrade", "changeleader", "doctor"},
		Change: func(ctx context.Context, line *spec.Call) (*spec.Plan, error) {
			return preUpgrade(ctx, env, line)
		},
	}
}

// ledSetting names the hold that remembers what a tablet led.
func ledSetting(endpoint string) string { return "leaders of " + endpoint }

func preUpgrade(ctx context.Context, env commands.Env, line *spec.Call) (*spec.Plan, error) {
	c, v, err := openView(ctx, env, line)
	if err != nil {
		return nil, err
	}
	endpoint, err := match(ctx, c, line.Arg(0))
	if err != nil {
		return nil, err
	}
	if err := v.healthy(endpoint, "prepare "+endpoint+" for its upgrade"); err != nil {
		return nil, err
	}
	for other, t := range v.tablets {
		if other != endpoint && !t.Healthy {
			return nil, spec.Errorf(spec.Refused, "tablet %s is %s: never two at once", other, t.State).WithHint("recoverendpoint %s first", other)
		}
	}
	p := &spec.Plan{Title: fmt.Sprintf("move the leaders off %s of %s", endpoint, line.Cluster), Name: line.Arg(0)}
	m, l := mover{c, line.Wait}, v.layout()
	var led []string
	v.holding(endpoint, func(t driver.Table, part driver.Partition, on driver.Replica) {
		leader, isLed := part.Leader()
		if !isLed || leader.Endpoint != endpoint {
			return
		}
		name := at(t.TableName, part.ID)
		h := held{t.TableName, part.ID}
		switch {
		case len(part.Replicas) > 1:
			p.Steps = append(p.Steps, m.lead(t.TableName, part.ID, endpoint, "")...)
		case line.Bool("allow_single_replica"):
			p.Notes = append(p.Notes, name+" has one replica and is down while the tablet is")
			return
		default:
			to := l.roomFor(h, part)
			if to == "" {
				p.Blockers = append(p.Blockers, spec.Blocker{Object: name, Why: "it has one replica, and no other healthy tablet can take it"})
				return
			}
			l.on[to][h] = true
			p.Steps = append(p.Steps, m.add(t.TableName, part.ID, to)...)
			p.Steps = append(p.Steps, m.lead(t.TableName, part.ID, endpoint, to)...)
		}
		led = append(led, name)
	})
	if len(led) == 0 {
		p.Notes = append(p.Notes, endpoint+" leads nothing: its process can be stopped")
		return p, nil
	}
	if err := remember(env, line, p, endpoint, led); err != nil {
		return nil, err
	}
	p.Notes = append(p.Notes, "afterwards its process can be stopped; postupgrade "+endpoint+" gives its leaders back")
	return p, holdOff(ctx, c, p)
}

// remember keeps what a tablet led beyond the plan, together with what an earlier run remembered.
func remember(env commands.Env, line *spec.Call, p *spec.Plan, endpoint string, led []string) error {
	before, err := remembered(env, line, endpoint)
	if err != nil {
		return err
	}
	for _, name := range before {
		if !slices.Contains(led, name) {
			led = append(led, name)
		}
	}
	text := strings.Join(led, ",")
	p.Ends = append(p.Ends, ledSetting(endpoint))
	p.Holds = append(p.Holds, spec.Hold{
		Setting: ledSetting(endpoint), During: "moved away", Class: spec.Read, Keep: true,
		Read:    func(context.Context) (string, error) { return text, nil },
		Write:   func(context.Context, string) error { return nil },
		Restore: func(string) string { return "postupgrade " + endpoint },
	})
	return nil
}

// remembered is what preupgrade moved off a tablet: partitions as people write them.
func remembered(env commands.Env, line *spec.Call, endpoint string) ([]string, error) {
	held, err := env.Holds(line.Cluster)
	if err != nil {
		return nil, err
	}
	var led []string
	for _, h := range held {
		if h.Setting == ledSetting(endpoint) && h.Was != "" {
			led = append(led, strings.Split(h.Was, ",")...)
		}
	}
	return led, nil
}

// PostUpgrade gives a tablet its leaders back.
func PostUpgrade(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "postupgrade",
		Aliases: []string{"post-upgrade"},
		Systems: systems,
		Topic:   "failover",
		Summary: "give a tablet that was upgraded its leaders back",
		Long: "Waits until the tablet's replicas count as alive, has it lead again what preupgrade moved away, and takes away the " +
			"replicas that were added for that. auto_failover is held off while this runs. Run again it does what is left.",
		Args: []spec.Arg{{Name: "endpoint", Kind: spec.ArgEndpoint, Help: "host:port of the tablet, or the end of it from a dot on"}},
		Examples: []spec.Example{
			{Line: "postupgrade .32:8541 --yes", Says: "after it was restarted", Setup: []string{"preupgrade .32:8541 --yes"}},
		},
		SeeAlso: []string{"preupgrade", "recoverendpoint", "doctor"},
		Change: func(ctx context.Context, line *spec.Call) (*spec.Plan, error) {
			return postUpgrade(ctx, env, line)
		},
	}
}

func postUpgrade(ctx context.Context, env commands.Env, line *spec.Call) (*spec.Plan, error) {
	c, v, err := openView(ctx, env, line)
	if err != nil {
		return nil, err
	}
	endpoint, err := match(ctx, c, line.Arg(0))
	if err != nil {
		return nil, err
	}
	if err := v.healthy(endpoint, "give "+endpoint+" its leaders back"); err != nil {
		return nil, err
	}
	led, err := remembered(env, line, endpoint)
	if err != nil {
		return nil, err
	}
	p := &spec.Plan{
		Title: fmt.Sprintf("give %s of %s its leaders back", endpoint, line.Cluster), Name: line.Arg(0), Ends: []string{ledSetting(endpoint)},
	}
	if len(led) == 0 {
		p.Notes = []string{"nothing is remembered of what it led: preupgrade was not run here, or was ended already"}
		return p, nil
	}
	m := mover{c, line.Wait}
	v.holding(endpoint, func(t driver.Table, part driver.Partition, on driver.Replica) {
		name := at(t.TableName, part.ID)
		if !slices.Contains(led, name) {
			return
		}
		if !on.Alive {
			p.Steps = append(p.Steps, m.follow(t.TableName, part.ID, endpoint)...)
		}
		leader, isLed := part.Leader()
		if isLed && leader.Endpoint != endpoint {
			p.Steps = append(p.Steps, m.lead(t.TableName, part.ID, leader.Endpoint, endpoint)...)
		}
		if len(part.Replicas) > t.Replicas && t.Replicas == 1 && isLed && leader.Endpoint != endpoint {
			p.Steps = append(p.Steps, m.remove(t.TableName, part.ID, leader.Endpoint)...)
		}
	})
	if len(p.Steps) == 0 {
		p.Notes = []string{endpoint + " leads again what it led"}
		return p, nil
	}
	return p, holdOff(ctx, c, p)
}
