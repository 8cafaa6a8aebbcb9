//go:build unix

package config

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"shardsh/commands/spec"
)

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// TestTrust: ./config.ini is passed over, with a warning, when others could have placed or changed it.
func TestTrust(t *testing.T) {
	dir := t.TempDir()
	path := write(t, dir, "config.ini", "[shell]\noutput = json\n")
	o := Options{WorkDir: dir, system: filepath.Join(dir, "none")}
	for mode, says := range map[os.FileMode]string{0o644: "", 0o664: "", 0o666: "everybody may write it", 0o602: "everybody may write it"} {
		chmod(t, path, mode)
		c, warnings, err := Load(o)
		if err != nil {
			t.Fatal(err)
		}
		if read := c.Path() == path; read != (says == "") || len(warnings) > 0 == read || !strings.Contains(strings.Join(warnings, ""), says) {
			t.Errorf("mode %o: %q, warnings %q", mode, c.Path(), warnings)
		}
	}
	chmod(t, path, 0o666)
	if _, _, err := Load(Options{WorkDir: dir, system: o.system, Strict: true}); spec.KindOf(err) != spec.Usage || err == nil {
		t.Errorf("strict: %v", err)
	}
	if c, warnings, err := Load(Options{Path: path}); err != nil || len(warnings) > 0 || c.Path() != path {
		t.Errorf("named, it is read whoever may write it: %q, %v", warnings, err)
	}

	chmod(t, path, 0o644)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if why := foreign(info, os.Geteuid()); why != "" {
		t.Error(why)
	}
	if os.Geteuid() == 0 {
		if why := foreign(info, 4711); why != "" {
			t.Errorf("root's file: %s", why)
		}
		if err := os.Chown(path, 4711, -1); err != nil {
			t.Fatal(err)
		}
		c, warnings, err := Load(o)
		if err != nil || c.Path() != "" || len(warnings) != 1 || !strings.Contains(warnings[0], "belongs to user 4711") {
			t.Errorf("another's file: %q, %q, %v", c.Path(), warnings, err)
		}
	} else if why := foreign(info, os.Geteuid()+1); why == "" {
		t.Error("another's file is trusted")
	}
}

func TestNotAFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "config.ini"), 0o755); err != nil {
		t.Fatal(err)
	}
	c, warnings, err := Load(Options{WorkDir: dir, system: filepath.Join(dir, "none")})
	if err != nil || c.Path() != "" || len(warnings) != 1 || !strings.Contains(warnings[0], "not a file") {
		t.Errorf("%q, %v", warnings, err)
	}
}

func TestSecret(t *testing.T) {
	dir := t.TempDir()
	good := write(t, dir, "good", "hunter2\r\nmore\n")
	chmod(t, good, 0o600)
	open := write(t, dir, "open", "hunter2\n")
	chmod(t, open, 0o640)
	empty := write(t, dir, "empty", "\n")
	chmod(t, empty, 0o400)
	for _, tt := range []struct {
		name     string
		settings map[string]string
		want     string
		says     string
	}{
		{"none", map[string]string{"user": "u"}, "", ""},
		{"file", map[string]string{"password_file": good}, "hunter2", ""},
		{"command", map[string]string{"password_command": "printf 'a b\\nc'; echo noise >&2"}, "a b", ""},
		{"variable", map[string]string{"password_env": "PW"}, "from the environment", ""},
		{"open", map[string]string{"password_file": open}, "", "password_file: " + open + " is not used: others may access it (mode 0640)"},
		{"empty", map[string]string{"password_file": empty}, "", "password_file: there is no secret"},
		{"missing", map[string]string{"password_file": dir + "/missing"}, "", "password_file: open "},
		{"failing", map[string]string{"password_command": "printf 'no\\033such' >&2; exit 3"}, "", `password_command: exit status 3: "no\x1bsuch"`},
		{"silent", map[string]string{"password_command": "true"}, "", "password_command: there is no secret"},
		{"unset", map[string]string{"password_env": "NOPE"}, "", "password_env: the environment variable NOPE is not set"},
		{"two", map[string]string{"password_env": "PW", "password_file": good}, "", "both password_file and password_env are set"},
	} {
		got, err := Secret(t.Context(), tt.settings, "password", env("PW", "from the environment"))
		if got != tt.want || (err == nil) != (tt.says == "") || err != nil && !strings.HasPrefix(err.Error(), tt.says) {
			t.Errorf("%s: %q, %v", tt.name, got, err)
		}
	}
	if got, err := Secret(t.Context(), map[string]string{"secret_key_env": "SK"}, "secret_key", env("SK", "k")); got != "k" || err != nil {
		t.Errorf("secret_key: %q, %v", got, err)
	}
	info, err := os.Stat(good)
	if err != nil {
		t.Fatal(err)
	}
	if why := exposed(info, os.Geteuid()+1); !strings.Contains(why, "not to you") {
		t.Errorf("another's file: %q", why)
	}
}

// Secrets are added under their own names, and the settings they come from stay without them.
func TestWithSecrets(t *testing.T) {
	settings := map[string]string{"user": "u", "password_env": "PW", "zk_user": "z", "zk_password_command": "echo zk-secret"}
	full, err := WithSecrets(t.Context(), settings, env("PW", "hunter2"))
	if err != nil || full["password"] != "hunter2" || full["zk_password"] != "zk-secret" || full["user"] != "u" || len(settings) != 4 {
		t.Errorf("%v, %v; %v", full, err, settings)
	}
	if full, err := WithSecrets(t.Context(), nil, nil); err != nil || len(full) != 0 {
		t.Errorf("%v, %v", full, err)
	}
	_, err = WithSecrets(t.Context(), map[string]string{"zk_password_env": "NOPE"}, env())
	if spec.KindOf(err) != spec.Usage || !strings.Contains(err.Error(), "zk_password_env: ") {
		t.Error(err)
	}
}

func TestSecretCommandIsBounded(t *testing.T) {
	start := time.Now()
	big, err := secretCommand(t.Context(), "yes | head -c 1000000 | tr -d '\\n'")
	if err != nil || len(big) != maxSecret {
		t.Errorf("%d bytes, %v", len(big), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, failed := Secret(ctx, map[string]string{"password_command": "sleep 60"}, "password", env())
	if !errors.Is(failed, context.Canceled) || spec.KindOf(failed) != spec.Interrupted {
		t.Errorf("cancelled: %v", failed)
	}
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("it took %v", took)
	}
}
