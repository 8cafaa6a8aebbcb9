package storage

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"

	client "github.com/colinmarc/hdfs/v2"

	"shardsh/commands/spec"
)

// exceptions are what the classes of Java's exceptions mean, by the last part of their names.
var exceptions = map[string]Reason{
	"AccessControlException": Forbidden, "FileNotFoundException": NoFile, "PathIsNotEmptyDirectoryException": NotEmpty,
	"SafeModeException": Busy, "StandbyException": Busy, "RetriableException": Busy, "ServerTooBusyException": Busy,
	"NotReplicatedYetException": Busy, "RecoveryInProgressException": Taken, "AlreadyBeingCreatedException": Taken,
	"LeaseExpiredException": Taken, "DSQuotaExceededException": NoSpace, "NSQuotaExceededException": NoSpace,
	"QuotaByStorageTypeExceededException": NoSpace, "InvalidToken": BadCredentials, "SaslException": BadCredentials,
	"AuthorizationException": Forbidden, "ParentNotDirectoryException": NotAFile, "FileAlreadyExistsException": NotAFile,
}

// exception finds what a namenode or datanode threw.
func exception(err error) (client.Error, bool) {
	for e := err; e != nil; e = errors.Unwrap(e) {
		if x, ok := e.(client.Error); ok {
			return x, true
		}
	}
	return nil, false
}

func isException(err error) bool {
	_, ok := exception(err)
	return ok
}

func className(x client.Error) string {
	return x.Exception()[strings.LastIndexAny(x.Exception(), ".$")+1:]
}

// reason tells why a call failed.
func (h *hdfsService) reason(err error) Reason {
	if r := ReasonOf(err); r != Other {
		return r
	}
	if x, ok := exception(err); ok {
		switch {
		case strings.Contains(x.Message(), "SIMPLE authentication is not enabled"):
			return BadCredentials
		case strings.Contains(x.Message(), "There are 0 datanode(s) running"):
			return Busy
		case strings.Contains(x.Message(), "could only be written to 0 of"):
			return NoSpace
		}
		return exceptions[className(x)]
	}
	return reasonOf(err)
}

// fail makes the error of an attempt.
func (h *hdfsService) fail(op string, err error) error {
	var e *spec.Error
	reason := h.reason(err)
	if (reason == Broken || reason == Busy) && !h.kerberos && !isException(err) && h.tickets.wanted(h.pool.place.addresses) {
		reason, err = BadCredentials, errNoTicket
	}
	if x, ok := exception(err); ok {
		why, _, _ := strings.Cut(x.Message(), "\n")
		if why == "" {
			why = x.Desc()
		}
		e = failure(op, h.endpoint, reason, &reasoned{reason, errors.New(why)})
		e.Code = className(x)
	} else {
		e = failure(op, h.endpoint, reason, plainly(err))
	}
	var known *spec.Error
	if errors.As(err, &known) && known.Hint != "" {
		return e // it says what to do
	}
	switch ReasonOf(e) {
	case Forbidden:
		e.Hint = "check the owner and the rights of the directory, and user in [block_service." + h.Name() + "]" +
			"; a cluster that wants Kerberos needs principal and keytab there, or hadoop.security.authentication in core-site.xml"
		if h.kerberos {
			e.Hint = "check the owner and the rights of the directory: one is who the ticket is for, whatever user says"
		}
	case BadCredentials:
		e.Hint = "the cluster wants Kerberos: set principal and keytab in [block_service." + h.Name() + "], or HADOOP_CONF_DIR and run kinit"
	case Busy:
		e.Hint = "see what the namenode waits for: hdfs dfsadmin -report, hdfs dfsadmin -safemode get"
	case NoPlace:
		e.Hint = "make the directory, or correct args in [block_service." + h.Name() + "]"
	case NoListener:
		e.Hint = "check whether the namenodes run, and their RPC port (8020 unless configured)"
	}
	return e
}

// plainly takes the numbers of the system out of what the client made of an exception.
func plainly(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return &reasoned{Forbidden, errors.New("permission denied")}
	case errors.Is(err, fs.ErrNotExist):
		return &reasoned{NoFile, errors.New("it does not exist")}
	case errors.Is(err, syscall.ENOTEMPTY):
		return &reasoned{NotEmpty, errors.New("the directory is not empty")}
	}
	return err
}
