// Package sandbox is the store as a small server.
package sandbox

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"

	"shardsh/cluster/sandbox"
	"shardsh/commands/spec"
)

// Kind describes the emulator.
func Kind() sandbox.Kind {
	return sandbox.Kind{System: "dummy", Clusters: []sandbox.Cluster{{Name: "dummybox"}}, New: newServer}
}

type server struct {
	name     string
	listener net.Listener
	served   sync.WaitGroup
}

func newServer(_ context.Context, config sandbox.Config) (sandbox.ClusterServer, error) {
	address, err := config.Net.Address(1, 4711)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	s := &server{name: config.Name, listener: listener}
	s.served.Go(s.serve)
	return s, nil
}

func (s *server) serve() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		fmt.Fprint(conn, "1 first 2\n2 second 1\n")
		conn.Close()
	}
}

func (s *server) Address() string { return "dummy://" + s.listener.Addr().String() }

func (s *server) Nodes() []sandbox.NodeStatus {
	return []sandbox.NodeStatus{{
		Cluster: s.name, System: "dummy", Role: "server", Endpoint: s.listener.Addr().String(), State: sandbox.Alive,
		PID: os.Getpid(), Timers: 1,
	}}
}

func (s *server) Kill(context.Context, string) error { return s.cannot("killed") }

func (s *server) Start(context.Context, string) error { return s.cannot("started") }

func (s *server) cannot(what string) error {
	return spec.Errorf(spec.Unable, "the only node of %s cannot be %s", s.name, what)
}

func (s *server) Close() error {
	err := s.listener.Close()
	s.served.Wait()
	return err
}
