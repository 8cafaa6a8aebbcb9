package storage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"

	"shardsh/commands/spec"
)

// badTicket is the error of a login that cannot succeed as things are.
func badTicket(format string, args ...any) *spec.Error {
	return spec.Errorf(spec.Failed, "%w", aboutKerberos(BadCredentials, format, args...))
}

func aboutKerberos(reason Reason, format string, args ...any) error {
	return &reasoned{reason, fmt.Errorf("Kerberos: "+format, args...)}
}

// hinted says what to do about an error, which has no kind of its own unless it has one already.
func hinted(err error, hint string) error {
	var e *spec.Error
	if errors.As(err, &e) {
		return e.WithHint("%s", hint)
	}
	return spec.Errorf(spec.KindOf(err), "%w", err).WithHint("%s", hint)
}

// loginError is what became of a login with a keytab.
type loginError struct {
	principal, keytab string
	err               error
}

func (e *loginError) Error() string { return e.err.Error() }
func (e *loginError) Unwrap() error { return e.err }

// serviceError is what became of the question for a namenode's ticket.
type serviceError struct {
	service string
	err     error
}

func (e *serviceError) Error() string { return e.err.Error() }
func (e *serviceError) Unwrap() error { return e.err }

// kdcCode finds the number that a KDC gave an error (RFC 4120, 7.5.9) in the text that the library makes of it.
var kdcCode = regexp.MustCompile(`KRB Error: \((\d+)\)`)

// explain makes one line of what the library says: it knows texts only.
func (k *kerberos) explain(err error) error {
	if spec.KindOf(err) == spec.Interrupted || ReasonOf(err) != Other && ReasonOf(err) != NoAnswer {
		return err
	}
	text := err.Error()
	var login *loginError
	who, table := "you", ""
	if errors.As(err, &login) {
		who, table = login.principal, login.keytab
	}
	section := "[block_service." + k.config.Name + "]"
	code := ""
	if m := kdcCode.FindStringSubmatch(text); m != nil {
		code = m[1]
	}
	if reason := kdcNetwork(text); code == "" && reason != Other {
		return hinted(aboutKerberos(reason, "%s", kdcNetworks[reason]), "check the KDCs in [realms] of krb5.conf (KRB5_CONFIG names another one), and whether they run")
	}
	switch {
	case code == "6":
		return badTicket("the KDC knows no %s", who).WithHint("check principal in %s", section)
	case code == "1", code == "18", code == "23":
		return badTicket("%s may not log in: it has expired, or is locked", who).WithHint("have the principal unlocked or prolonged: kadmin: getprinc %s", who)
	case code == "24", code == "31", strings.Contains(text, "password/keytab incorrect"):
		return badTicket("the key of %s in %s is not the one that the KDC has", who, table).
			WithHint("fetch a new keytab; this one is right when it succeeds: kinit -kt %s %s", table, who)
	case strings.Contains(text, "matching key not found in keytab"):
		return badTicket("%s holds no key of %s of the type that the KDC wants", table, who).WithHint("look what it holds: klist -ket %s", table)
	case code == "14":
		return badTicket("the KDC supports none of the types of encryption asked for").
			WithHint("AES is needed: check default_tkt_enctypes in krb5.conf, and the keys of %s", who)
	case code == "37", strings.Contains(text, "clock skew"):
		return hinted(aboutKerberos(WrongClock, "the clocks of this machine and of the KDC differ too much"),
			"set the clock of this machine right (NTP): Kerberos allows 5 minutes")
	case strings.Contains(text, "no KDCs defined"), strings.Contains(text, "not have any defined KDCs"):
		return badTicket("krb5.conf names no KDC for the realm of %s", who).WithHint("add the realm to krb5.conf (KRB5_CONFIG names another one)")
	}
	return k.explainService(err, code)
}

func (k *kerberos) explainService(err error, code string) error {
	var service *serviceError
	if errors.As(err, &service) && code == "7" {
		return badTicket("the KDC knows no %s", service.service).
			WithHint("write the full names of the namenodes' hosts in args, or set dfs.namenode.kerberos.principal in hdfs-site.xml of HADOOP_CONF_DIR")
	}
	if code == "32" || code == "11" {
		return k.kinit(badTicket("the ticket has ended"), "PATH")
	}
	return badTicket("%s", strings.ReplaceAll(err.Error(), "\n", " ")).WithHint("check principal and keytab in [block_service.%s], and krb5.conf", k.config.Name)
}

// kdcNetworks are the ways of not getting through to a KDC.
var kdcNetworks = map[Reason]string{
	NoListener: "no KDC listens: connection refused", NoAnswer: "the KDC does not answer", NoHost: "the KDC's host is unknown",
	NoRoute: "there is no route to the KDC", Broken: "the KDC broke the connection",
}

// kdcNetwork tells from the library's text why no KDC could be asked.
func kdcNetwork(text string) Reason {
	for _, c := range []struct {
		part   string
		reason Reason
	}{
		{"connection refused", NoListener},
		{"no such host", NoHost},
		{"error resolving KDC", NoHost},
		{"unreachable", NoRoute},
		{"timeout", NoAnswer},
		{errSlowKDC.Error(), NoAnswer},
		{"reading response", Broken},
		{"sending to", Broken},
	} {
		if strings.Contains(text, c.part) {
			return c.reason
		}
	}
	return Other
}

// shake tells why a namenode did not take a ticket; the library keeps the text only.
func (c *hdfsClient) shake(why string) error {
	switch {
	case c.ticket.over():
		return &reasoned{Broken, errors.New("the ticket ended")} // the next connection is made with another one
	case strings.Contains(why, "not supported by namenode"), strings.Contains(why, "unexpected SASL state"):
		return badTicket("the namenode does without it").
			WithHint("take principal out of the [block_service] section, and hadoop.security.authentication out of core-site.xml")
	case strings.HasSuffix(why, "EOF"), strings.Contains(why, "connection reset"), strings.Contains(why, "broken pipe"):
		return &reasoned{Broken, errors.New("the namenode broke off the login: " + why)}
	case strings.Contains(why, "timeout"):
		return &reasoned{NoAnswer, errors.New("the namenode does not answer the login")}
	}
	return badTicket("the namenode refuses the ticket: %s", why).
		WithHint("see the namenode's log; its keytab may be old, the clocks may differ, or the ticket is of RC4 where AES is needed")
}

var errNoTicket = &reasoned{BadCredentials, errors.New("the namenode lets in nobody without Kerberos, or not this user")}

// doorkeeper finds out whether namenodes want tickets. One that does ends a connection without any, and its answer is lost
// when more was sent on that meanwhile.
type doorkeeper struct {
	mu    sync.Mutex
	known bool
	want  bool
}

// doorTime is how long a namenode has to refuse; one that wants no ticket waits for more.
const doorTime = time.Second

func (d *doorkeeper) wanted(namenodes []string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, address := range namenodes {
		if d.known {
			break
		}
		conn, err := net.DialTimeout("tcp", address, doorTime)
		if err != nil {
			continue
		}
		_ = conn.SetDeadline(time.Now().Add(doorTime)) // it fails where the next does
		_, err = conn.Write([]byte{'h', 'r', 'p', 'c', 9, 0, 0})
		answer, rerr := io.ReadAll(io.LimitReader(conn, 4096))
		_ = conn.Close() // all is said
		d.want = bytes.Contains(answer, []byte("SIMPLE authentication is not enabled"))
		d.known = d.want || err == nil && errors.Is(rerr, os.ErrDeadlineExceeded)
	}
	return d.want
}
