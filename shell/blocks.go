package shell

import (
	"context"
	"os"
	"strings"

	"shardsh/cluster/sandbox"
	"shardsh/commands"
	"shardsh/commands/spec"
	"shardsh/shell/config"
	"shardsh/storage"
)

// builtinServices are the sandbox's block services, in a program that has a sandbox.
func builtinServices(linked []sandbox.Cluster) []config.BlockService {
	if len(linked) == 0 {
		return nil
	}
	var all []config.BlockService
	for _, name := range sandbox.Providers() {
		all = append(all, config.BlockService{Name: name, Type: storage.LocalType, Sandbox: true, Source: "built-in"})
	}
	return all
}

// Blocks implements commands.Env.
func (s *Shell) Blocks() []commands.Block {
	var all []commands.Block
	for _, b := range s.conf.BlockServices() {
		all = append(all, commands.Block{Name: b.Name, Type: b.Type, Sandbox: b.Sandbox, Where: strings.Join(b.Args, " ")})
	}
	return all
}

// Block implements commands.Env.
func (s *Shell) Block(ctx context.Context, name string) (storage.Service, error) {
	s.session.mu.Lock()
	known := s.session.blocks[name]
	s.session.mu.Unlock()
	if known != nil {
		return known, nil
	}
	section, err := s.findBlock(name)
	if err != nil {
		return nil, err
	}
	if section.Sandbox {
		place, err := s.sandboxPlace(ctx, name)
		if err != nil {
			return nil, err
		}
		section.Args = []string{place}
	}
	for _, variable := range []string{"secret_key_env", "access_key_env"} {
		if v := section.Settings[variable]; v != "" {
			s.secrets.learn(s.getenv(v))
		}
	}
	s.secrets.learn(s.getenv("AWS_SECRET_ACCESS_KEY"), s.getenv("AWS_SESSION_TOKEN"))
	b, err := storage.Open(storage.Config{
		Name: name, Type: section.Type, Args: section.Args, Settings: section.Settings, Getenv: s.getenv,
		Timeout: s.option("timeout").Duration(),
	})
	if err != nil {
		return nil, err
	}
	return s.keepBlock(name, b)
}

// sandboxPlace is where a block service of the sandbox is, or was when the job began that is resumed.
func (s *Shell) sandboxPlace(ctx context.Context, name string) (string, error) {
	s.session.mu.Lock()
	place := s.session.stood[name]
	s.session.mu.Unlock()
	if place != "" {
		if _, err := os.Stat(place); err != nil {
			return "", spec.Errorf(spec.NotFound, "the sandbox whose %s it was about is gone: %w", name, err)
		}
	} else {
		client, err := s.sandbox.get(ctx)
		if err != nil {
			return "", err
		}
		places, err := client.Providers(ctx)
		if err != nil {
			return "", err
		}
		place = places[name]
	}
	s.session.mu.Lock()
	defer s.session.mu.Unlock()
	s.session.places[name] = place
	return place, nil
}

// keepBlock stores a service unless another goroutine was quicker, and answers the one to use.
func (s *Shell) keepBlock(name string, b storage.Service) (storage.Service, error) {
	s.session.mu.Lock()
	defer s.session.mu.Unlock()
	if first := s.session.blocks[name]; first != nil {
		return first, b.Close()
	}
	s.session.blocks[name] = b
	return b, nil
}

func (s *Shell) blockNames() []string {
	var names []string
	for _, b := range s.conf.BlockServices() {
		names = append(names, b.Name)
	}
	return names
}

func (s *Shell) findBlock(name string) (config.BlockService, error) {
	for _, b := range s.conf.BlockServices() {
		if b.Name == name {
			return b, nil
		}
	}
	err := spec.Errorf(spec.NotFound, "no block service is called %q", name)
	if near := spec.Suggest(name, s.blockNames()); len(near) > 0 {
		return config.BlockService{}, err.WithHint("did you mean %s?", near[0])
	}
	return config.BlockService{}, err.WithHint("block_services lists them; [block_service.%s] in config.ini makes one", name)
}
