package spec

import (
	"slices"
	"testing"
)

func TestSecretName(t *testing.T) {
	for name, want := range map[string]bool{
		"password": true, "S3.Secret-Key": true, "db_passwd": true, "aws.access-key.id": true, "auth_token": true,
		"replica.deny_client_request": false, "default_ttl": false, "key": false, "": false, "pass": false,
	} {
		if SecretName(name) != want {
			t.Errorf("%q sounds like a secret: %t", name, !want)
		}
	}
}

func TestSecretsOfACall(t *testing.T) {
	c := &Command{
		Flags: []Flag{{Name: "key", Secret: true}, {Name: "envs", Short: "e", Kind: ArgPair, Repeated: true}, {Name: "other"}},
		Args:  []Arg{{Name: "name", Names: true}, {Name: "value", Repeated: true}},
	}
	call := &Call{
		Command: c, Args: []string{"a", "1", "my.password", "2", "password"},
		Flags: map[string][]string{"key": {"3", ""}, "envs": {"x=4,the.token=5", "secret=6"}, "other": {"password=7"}},
	}
	got := call.Secrets()
	slices.Sort(got)
	if want := []string{"2", "3", "5", "6"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	c.Args[0].Names = false
	if got := call.Secrets(); slices.Contains(got, "2") {
		t.Errorf("%q", got)
	}
}
