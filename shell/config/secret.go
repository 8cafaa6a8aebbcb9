package config

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"shardsh/commands/spec"
)

// secretSources are the endings of a key that says where a secret comes from.
var secretSources = []string{"file", "command", "env"}

// ClusterSecrets are what the settings of a cluster may name sources of: each has a _file, a _command or an _env.
var ClusterSecrets = []string{"password", "zk_password"}

const (
	maxSecret     = 64 << 10
	secretTimeout = time.Minute // a command may ask somebody to touch a key
)

// WithSecrets answers the settings of a cluster with its secrets in them, under their own names: what a driver is given,
// and nobody else.
func WithSecrets(ctx context.Context, settings map[string]string, env func(string) string) (map[string]string, error) {
	full := maps.Clone(settings)
	for _, key := range ClusterSecrets {
		secret, err := Secret(ctx, settings, key, env)
		if err != nil {
			return nil, err
		}
		if secret != "" {
			full[key] = secret
		}
	}
	return full, nil
}

// Secret fetches the secret that settings name for key ("password", "secret_key"): the first line of the file KEY_file,
// which only the user may read, or of what the command KEY_command prints, or the variable KEY_env of the environment
// env. It answers "" when none of the three is set; a source that is set and has no secret is an error.
func Secret(ctx context.Context, settings map[string]string, key string, env func(string) string) (string, error) {
	source := ""
	for _, kind := range secretSources {
		if settings[key+"_"+kind] == "" {
			continue
		}
		if source != "" {
			return "", spec.Errorf(spec.Usage, "both %s_%s and %s_%s are set", key, source, key, kind)
		}
		source = kind
	}
	if source == "" {
		return "", nil
	}
	name := key + "_" + source
	setting := settings[name]
	var text string
	var err *spec.Error
	switch source {
	case "file":
		text, err = secretFile(setting, os.Geteuid())
	case "command":
		text, err = secretCommand(ctx, setting)
	case "env":
		text = env(setting)
		if text == "" {
			err = spec.Errorf(spec.Usage, "the environment variable %s is not set", setting)
		}
	}
	if err == nil {
		if text = firstLine(text); text == "" {
			err = spec.Errorf(spec.Usage, "there is no secret: the first line is empty")
		}
	}
	if err != nil {
		err.Op = name
		return "", err
	}
	return text, nil
}

func firstLine(text string) string {
	text, _, _ = strings.Cut(text, "\n")
	return strings.TrimSuffix(text, "\r")
}

func secretFile(path string, uid int) (string, *spec.Error) {
	f, err := os.Open(path)
	if err != nil {
		return "", spec.Errorf(spec.Usage, "%w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", spec.Errorf(spec.Usage, "%w", err)
	}
	if why := exposed(info, uid); why != "" {
		return "", spec.Errorf(spec.Usage, "%s is not used: %s", path, why).WithHint("chown it to yourself and chmod 600 %s", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSecret))
	if err != nil {
		return "", spec.Errorf(spec.Usage, "%w", err)
	}
	return string(data), nil
}

func secretCommand(ctx context.Context, command string) (string, *spec.Error) {
	ctx, cancel := context.WithTimeout(ctx, secretTimeout)
	defer cancel()
	shell, flag := "sh", "-c"
	if runtime.GOOS == "windows" {
		shell, flag = "cmd", "/C"
	}
	var out, complaint capped
	cmd := exec.CommandContext(ctx, shell, flag, command)
	cmd.Stdout, cmd.Stderr = &out, &complaint
	cmd.WaitDelay = time.Second // a grandchild may hold the pipe
	err := cmd.Run()
	if ctx.Err() != nil {
		return "", &spec.Error{Kind: spec.KindOf(context.Cause(ctx)), Err: context.Cause(ctx)}
	}
	if err != nil {
		words := ""
		if said := firstLine(complaint.String()); said != "" {
			words = fmt.Sprintf(": %q", said[:min(len(said), 200)])
		}
		return "", spec.Errorf(spec.Failed, "%w%s", err, words)
	}
	return out.String(), nil
}

// capped keeps the beginning of what is written to it. The buffer is not embedded, for its ReadFrom knows no limit.
type capped struct{ kept bytes.Buffer }

func (c *capped) Write(p []byte) (int, error) {
	c.kept.Write(p[:min(len(p), maxSecret-c.kept.Len())])
	return len(p), nil
}

func (c *capped) String() string { return c.kept.String() }
