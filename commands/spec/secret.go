package spec

import (
	"slices"
	"strings"
)

// Hidden stands in a line for a secret that was not kept.
const Hidden = "***"

// secretWords are in names of what nobody else should read.
var secretWords = []string{
	"password", "passwd", "passphrase", "secret", "token", "credential", "apikey", "api_key", "access_key", "private_key",
}

// SecretName reports whether a name sounds as if its value were a secret: "s3.secret-key", "db_password".
func SecretName(name string) bool {
	name = strings.NewReplacer("-", "_", ".", "_").Replace(strings.ToLower(name))
	return slices.ContainsFunc(secretWords, func(w string) bool { return strings.Contains(name, w) })
}

// Secrets lists the values of a call that must not be written down: those of secret flags, and of settings and variables
// whose names sound like it.
func (c *Call) Secrets() []string {
	var all []string
	for _, f := range c.Command.Flags {
		for _, value := range c.Flags[f.Key()] {
			switch {
			case f.Secret:
				all = append(all, value)
			case f.Kind == ArgPair:
				for pair := range strings.SplitSeq(value, ",") {
					if k, v, _ := strings.Cut(pair, "="); SecretName(k) {
						all = append(all, v)
					}
				}
			}
		}
	}
	if len(c.Command.Args) > 0 && c.Command.Args[0].Names {
		for i := 0; i+1 < len(c.Args); i += 2 {
			if SecretName(c.Args[i]) {
				all = append(all, c.Args[i+1])
			}
		}
	}
	return slices.DeleteFunc(all, func(v string) bool { return v == "" })
}
