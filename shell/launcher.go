package shell

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"shardsh/cluster/sandbox"
	"shardsh/commands/spec"
)

// launcher starts the sandbox process when the first of its clusters is wanted, and ends it with the shell.
type launcher struct {
	executable string // "" in a build without the sandbox
	stateDir   string
	compat     string // which releases the emulators speak like

	once    sync.Once
	started atomic.Bool
	ready   chan struct{} // closed when client and err are set
	client  *sandbox.Client
	err     error
	ctx     context.Context // ends with the shell
	cancel  context.CancelFunc
}

func newLauncher(executable, stateDir, compat string) *launcher {
	l := &launcher{executable: executable, stateDir: stateDir, compat: compat, ready: make(chan struct{})}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l
}

// start begins to launch in the background; whoever needs a cluster waits in open.
func (l *launcher) start() {
	l.once.Do(func() {
		l.started.Store(true)
		go func() {
			defer close(l.ready)
			if l.executable == "" {
				l.err = spec.Errorf(spec.Unable, "this program was built without the sandbox")
				return
			}
			l.client, l.err = sandbox.Launch(l.ctx, sandbox.LaunchOptions{
				Executable: l.executable, StateDir: l.stateDir, Compat: l.compat,
			})
		}()
	})
}

// get waits for the sandbox process.
func (l *launcher) get(ctx context.Context) (*sandbox.Client, error) {
	l.start()
	select {
	case <-l.ready:
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the sandbox: %w", ctx.Err())
	}
	return l.client, l.err
}

// open starts a sandbox cluster if need be and answers its address.
func (l *launcher) open(ctx context.Context, name string) (string, error) {
	c, err := l.get(ctx)
	if err != nil {
		return "", err
	}
	return c.Open(ctx, name)
}

// close ends the sandbox process and waits for it.
func (l *launcher) close() error {
	l.cancel()
	if !l.started.Load() {
		return nil
	}
	<-l.ready
	if l.client == nil {
		return nil
	}
	return l.client.Close()
}
