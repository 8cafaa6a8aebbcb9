package storage

import (
	"strings"
	"time"

	"shardsh/commands/spec"
)

// The types of block services, as Pegasus's configuration names them; it has no S3 of its own.
const (
	LocalType = "local_service"
	HDFSType  = "hdfs_service"
	S3Type    = "s3_service"
)

// Type is a kind of block service.
type Type struct {
	Name string
	Args string // what args holds, as people write it
	open func(Config) (Service, error)
}

// Types lists the kinds of block services there are. A new one is a line here.
func Types() []Type {
	return []Type{
		{LocalType, "DIRECTORY", openLocal},
		{HDFSType, "hdfs://NAMENODE[:PORT][,…] [/ROOT]", openHDFS},
		{S3Type, "http[s]://HOST[:PORT] BUCKET [PREFIX]", openS3},
	}
}

// Config is what a service is made of: a [block_service.NAME] and where to look for what it names.
type Config struct {
	Name string
	Type string
	Args []string // args of the section, split at blanks
	// Settings are the section's other keys. All: none. s3_service: access_key_env, secret_key_env, use_ssl, region, ca,
	// style (path, virtual; found out by the address when absent). hdfs_service: user, principal, keytab. local_service:
	// meta (required, optional, none: what to make of the .F.meta files).
	Settings map[string]string
	// Getenv reads the environment: the variables that the settings name, and those that the protocols' own tools read
	// (HADOOP_CONF_DIR, HADOOP_USER_NAME, KRB5CCNAME, AWS_ACCESS_KEY_ID …). nil is an empty environment.
	Getenv func(string) string
	// Timeout bounds a call that moves no content; 0 is 10 s.
	Timeout time.Duration
	// Stall is how long the transfer of content may stand still; 0 is 60 s.
	Stall time.Duration
}

// What Config has by default.
const (
	defaultTimeout = 10 * time.Second
	defaultStall   = 60 * time.Second
)

func (c Config) getenv(name string) string {
	if c.Getenv == nil {
		return ""
	}
	return c.Getenv(name)
}

func (c Config) timeout() time.Duration {
	if c.Timeout > 0 {
		return c.Timeout
	}
	return defaultTimeout
}

func (c Config) stall() time.Duration {
	if c.Stall > 0 {
		return c.Stall
	}
	return defaultStall
}

// usage is the error of a section that cannot be understood.
func (c Config) usage(format string, args ...any) *spec.Error {
	e := spec.Errorf(spec.Usage, format, args...)
	e.Op = "open block service " + c.Name
	return e
}

// Open makes the service that a configuration describes. It dials nothing; what is wrong with the configuration itself is
// Usage.
func Open(c Config) (Service, error) {
	var names []string
	for _, t := range Types() {
		if t.Name == c.Type {
			return t.open(c)
		}
		names = append(names, t.Name)
	}
	return nil, c.usage("there is no type %q of block services", c.Type).WithHint("types: %s", strings.Join(names, ", "))
}

// Location is a path on a service, as people write it: SERVICE:PATH.
type Location struct{ Service, Path string }

// ParseLocation reads SERVICE:PATH; the path may be empty, and may begin with a slash.
func ParseLocation(text string) (Location, error) {
	service, p, ok := strings.Cut(text, ":")
	if !ok || service == "" || strings.Contains(service, "/") {
		return Location{}, spec.Errorf(spec.Usage, "%q is not SERVICE:PATH", text).
			WithHint("block_services lists the services; disk:/backup is a path on disk")
	}
	p, err := clean(p)
	return Location{service, p}, err
}

func (l Location) String() string { return l.Service + ":/" + l.Path }
