package sandbox

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"shardsh/commands/spec"
)

// faultyCluster notes what is done to it.
type faultyCluster struct {
	*fakeCluster
	did *[]string
}

func (f faultyCluster) note(what string, args ...any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	*f.did = append(*f.did, what+fmt.Sprint(args...))
	return nil
}

func (f faultyCluster) Stop(_ context.Context, at string) error  { return f.note("stop ", at) }
func (f faultyCluster) Pause(_ context.Context, at string) error { return f.note("pause ", at) }
func (f faultyCluster) Lose(_ context.Context, at string) error  { return f.note("lose ", at) }
func (f faultyCluster) Heal(context.Context) error               { return f.note("heal") }
func (f faultyCluster) Throttle(_ context.Context, n int) error  { return f.note("throttle ", n) }

func (f faultyCluster) Fill(_ context.Context, at string, percent int) error {
	return f.note("fill "+at+" ", percent)
}

func (f faultyCluster) Slow(_ context.Context, at string, by time.Duration) error {
	return f.note("slow "+at+" ", by)
}

func (f faultyCluster) Partition(_ context.Context, a, b string) error {
	return f.note("cut " + a + " " + b)
}

func (f faultyCluster) Break(_ context.Context, point string, n int) error {
	return f.note("break "+point+" ", n)
}

func (f faultyCluster) Points() []Point {
	return []Point{{Cluster: f.config.Name, Name: "p", Armed: 3}}
}

func TestFaults(t *testing.T) {
	var did []string
	kind := fakeKind()
	kind.New = func(ctx context.Context, config Config) (ClusterServer, error) {
		c, err := newFake(ctx, config)
		if err != nil || config.Name == "two" {
			return c, err
		}
		return faultyCluster{c.(*fakeCluster), &did}, nil
	}
	s := serveKind(t, kind, ServeConfig{Open: []string{"one"}})
	c, err := Dial(s.Control)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx := t.Context()
	nodes, err := c.List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	first, second := nodes[0].Endpoint, nodes[1].Endpoint
	ignore := func(_ NodeStatus, err error) error { return err }
	for want, do := range map[string]error{
		"stop " + first:                 ignore(c.Stop(ctx, ".1:34601")),
		"pause " + second:               ignore(c.Pause(ctx, second)),
		"lose " + second:                ignore(c.Lose(ctx, second)),
		"fill " + second + " 95":        ignore(c.Fill(ctx, second, 95)),
		"slow " + first + " 50ms":       ignore(c.Slow(ctx, first, 50*time.Millisecond)),
		"cut " + first + " " + second:   c.Partition(ctx, ".1:34601", ".2:34601"),
		"heal":                          c.Heal(ctx, "ClusterOne"),
		"throttle 7":                    c.Throttle(ctx, "a name of its own", 7),
		"break meta.accepted:create 2":  c.Break(ctx, "", "meta.accepted:create", 2),
		"break meta.accepted:create 12": c.Break(ctx, "one", "meta.accepted:create", 12),
	} {
		if do != nil || !slices.Contains(did, want) {
			t.Errorf("%s: %v; done was %q", want, do, did)
		}
	}
	if points, err := c.Points(ctx, "one"); err != nil || len(points) != 1 || points[0].Armed != 3 {
		t.Errorf("points: %+v, %v", points, err)
	}
	done := len(did)
	for what, err := range map[string]error{
		"a node cut off itself": c.Partition(ctx, first, first),
		"a negative delay":      ignore(c.Slow(ctx, first, -1)),
		"an endless delay":      ignore(c.Slow(ctx, first, MaxSlow+1)),
		"a disk more than full": ignore(c.Fill(ctx, first, 101)),
		"a disk less than free": ignore(c.Fill(ctx, first, -1)),
		"a negative throttle":   c.Throttle(ctx, "one", -1),
		"a negative count":      c.Break(ctx, "one", "p", -1),
	} {
		if spec.KindOf(err) != spec.Usage || len(did) != done {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := c.Open(ctx, "two"); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{"heal": c.Heal(ctx, "two"), "points": func() error { _, err := c.Points(ctx, "two"); return err }()} {
		if spec.KindOf(err) != spec.Unable {
			t.Errorf("%s of a cluster that has no faults: %v", what, err)
		}
	}
	if err := c.Heal(ctx, "three"); spec.KindOf(err) != spec.NotFound {
		t.Errorf("a cluster that is not there: %v", err)
	}
}
