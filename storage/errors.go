package storage

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"syscall"

	"shardsh/commands/spec"
)

// Reason is why storage failed: few enough to act on each. ReasonOf reads it from an error.
type Reason string

// The reasons.
const (
	Other          Reason = ""
	NoFile         Reason = "file missing"
	NoPlace        Reason = "place missing" // the bucket, or the root directory
	NotEmpty       Reason = "directory not empty"
	NotAFile       Reason = "not a file"
	BadCredentials Reason = "credentials"
	Forbidden      Reason = "permission"
	WrongClock     Reason = "clock"
	WrongRegion    Reason = "region"
	NoHost         Reason = "name of the host"
	NoListener     Reason = "connection refused"
	NoRoute        Reason = "no route"
	NoAnswer       Reason = "no answer"
	Broken         Reason = "connection broken"
	Busy           Reason = "not ready" // safe mode, standby, throttled
	CertExpired    Reason = "certificate expired"
	CertUnknown    Reason = "certificate authority"
	CertName       Reason = "certificate name"
	NotTLS         Reason = "no TLS" // one side speaks it and the other does not
	NoSpace        Reason = "no space"
	Corrupt        Reason = "checksum"
	Taken          Reason = "taken" // somebody else writes the file
)

// reasoned carries a Reason inside of a spec.Error.
type reasoned struct {
	reason Reason
	err    error
}

func (r *reasoned) Error() string { return r.err.Error() }
func (r *reasoned) Unwrap() error { return r.err }

// ReasonOf tells why an error of this package came about.
func ReasonOf(err error) Reason {
	var r *reasoned
	if errors.As(err, &r) {
		return r.reason
	}
	return Other
}

// kinds maps reasons to the kinds of spec; the others are Failed.
var kinds = map[Reason]spec.ErrorKind{
	NoFile: spec.NotFound, NoPlace: spec.NotFound, NotAFile: spec.NotFound, NotEmpty: spec.Refused, Taken: spec.Refused,
	NoHost: spec.Unavailable, NoListener: spec.Unavailable, NoRoute: spec.Unavailable, NoAnswer: spec.Unavailable,
	Broken: spec.Unavailable, Busy: spec.Unavailable,
	CertExpired: spec.Unavailable, CertUnknown: spec.Unavailable, CertName: spec.Unavailable, NotTLS: spec.Unavailable,
}

// hints say what to do next, where it is the same for all services.
var hints = map[Reason]string{
	WrongClock:  "set the clock of this machine right (NTP): the service allows about 15 minutes",
	WrongRegion: "set region in the [block_service] section to that of the bucket",
	NoHost:      "check the name in args of the [block_service] section, and this machine's DNS",
	NoListener:  "nothing listens there: check the port, and whether the server runs",
	NoRoute:     "check the address, and the network between here and there",
	NoAnswer:    "check the network between here and there, and the load of the server; a longer timeout helps when it is only slow",
	CertExpired: "renew the certificate of the server, or check this machine's clock",
	CertUnknown: "name the authority's certificate with ca in the [block_service] section",
	CertName:    "use one of the names in the certificate",
	NotTLS:      "check use_ssl, and http:// or https://, in the [block_service] section",
	NoSpace:     "make room, or use another place",
	Taken:       "wait until the other writer has ended",
	Corrupt:     "the bytes are not what was written: copy it again, from another copy if this was the source",
}

// retryable are the reasons that may be gone in a moment.
func retryable(err error) bool {
	switch ReasonOf(err) {
	case NoListener, NoRoute, NoAnswer, Broken, Busy, Corrupt:
		return true
	case Other:
		return spec.KindOf(err) == spec.UnknownOutcome
	}
	return false
}

// failure makes the error of a service. A reason of "" is looked for in err.
func failure(op, endpoint string, reason Reason, err error) *spec.Error {
	var known *spec.Error
	if errors.As(err, &known) && known.Op != "" {
		return known
	}
	if reason == Other {
		reason = reasonOf(err)
	}
	kind, ok := kinds[reason]
	if !ok || known != nil && known.Kind == spec.UnknownOutcome {
		kind = spec.KindOf(err)
	}
	e := &spec.Error{Kind: kind, Op: op, Endpoint: endpoint, Err: &reasoned{reason, short(err)}, Hint: hints[reason]}
	if known != nil {
		e.Code = known.Code
		if known.Hint != "" {
			e.Hint = known.Hint
		}
	}
	return e
}

// short takes off what wrappers say that is known already: the URL, the path of the machine.
func short(err error) error {
	for {
		var u *url.Error
		var p *fs.PathError
		var l *os.LinkError
		switch {
		case errors.As(err, &u):
			err = u.Err
		case errors.As(err, &p):
			err = p.Err
		case errors.As(err, &l):
			err = l.Err
		default:
			return err
		}
	}
}

// reasonOf classifies what the system and the network say.
func reasonOf(err error) Reason {
	if r := ReasonOf(err); r != Other {
		return r
	}
	if r := certificateReason(err); r != Other {
		return r
	}
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case errors.As(err, &dns):
		return NoHost
	case errors.Is(err, context.Canceled):
		return Other
	case errors.Is(err, syscall.ECONNREFUSED):
		return NoListener
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return NoRoute
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return NoAnswer
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG), diskFull(err):
		return NoSpace
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return Forbidden
	case errors.Is(err, fs.ErrNotExist):
		return NoFile
	case errors.Is(err, syscall.ENOTEMPTY):
		return NotEmpty
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed), errors.Is(err, syscall.ECONNABORTED):
		return Broken
	}
	return Other
}

func certificateReason(err error) Reason {
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return CertExpired
	case errors.As(err, &invalid), errors.As(err, &unknown):
		return CertUnknown
	case errors.As(err, &name):
		return CertName
	case errors.As(err, &record):
		return NotTLS
	}
	return Other
}

// corrupt is the error of content that is not what it should be.
func corrupt(format string, args ...any) error {
	return &reasoned{Corrupt, fmt.Errorf(format, args...)}
}
