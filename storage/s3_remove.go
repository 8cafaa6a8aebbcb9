package storage

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"shardsh/commands/spec"
)

func (s *s3) Remove(ctx context.Context, name string) error {
	p, err := clean(name)
	if err == nil && p == "" {
		err = spec.Errorf(spec.Usage, "the root of %s cannot be removed", s.Name())
	}
	if err != nil {
		return err
	}
	if err := s.remove(ctx, p); err != nil {
		return s.fail("remove "+p, err)
	}
	return nil
}

// remove removes an object, or the empty one that some tools make for a directory.
func (s *s3) remove(ctx context.Context, name string) error {
	e, err := s.stat(ctx, name)
	if err != nil {
		return err
	}
	key := s.key(name)
	if e.Dir {
		page, err := s.page(ctx, key+"/", "", "", 2)
		if err != nil {
			return err
		}
		for _, o := range page.Contents {
			if o.Key != key+"/" {
				return &reasoned{NotEmpty, errors.New("the directory is not empty")}
			}
		}
		key += "/"
	}
	err = s.try(ctx, s.config.timeout(), func(ctx context.Context) error {
		return s.core.RemoveObject(ctx, s.bucket, key, minio.RemoveObjectOptions{})
	})
	if err == nil || !lost(err) || ctx.Err() != nil {
		return err
	}
	fresh, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.config.timeout())
	defer cancel()
	if _, serr := s.stat(fresh, name); ReasonOf(serr) == NoFile {
		return nil
	}
	return spec.Errorf(spec.UnknownOutcome, "%w", err).WithHint("look with: fs stat %s:/%s", s.Name(), name)
}

// lost reports whether a call may have been carried out although it failed.
func lost(err error) bool {
	switch reasonOf(err) {
	case Broken, NoAnswer:
		return true
	}
	return false
}

// tries is how often a call is made, with a pause that doubles in between.
const (
	tries     = 4
	firstWait = 200 * time.Millisecond
)

// try makes a call, and again while there is hope. All of it takes no longer than within; 0 is without a bound.
func (s *s3) try(ctx context.Context, within time.Duration, call func(context.Context) error) error {
	if within > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, within)
		defer cancel()
	}
	wait := firstWait
	for n := 1; ; n++ {
		err := untangle(call(ctx))
		if err == nil || n == tries || ctx.Err() != nil {
			return err
		}
		switch s3Reason(err) {
		case NoListener, Broken, Busy, NoAnswer:
		default:
			return err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return err
		}
		wait *= 2
	}
}

// s3Reasons are what the codes of S3 mean, and those of MinIO and versitygw.
var s3Reasons = map[string]Reason{
	"InvalidAccessKeyId": BadCredentials, "SignatureDoesNotMatch": BadCredentials, "InvalidToken": BadCredentials,
	"ExpiredToken": BadCredentials, "XAdminUserNotFound": BadCredentials, "InvalidClientTokenId": BadCredentials,
	"AccessDenied": Forbidden, "AllAccessDisabled": Forbidden, "AccountProblem": Forbidden, "MethodNotAllowed": Forbidden,
	"NoSuchBucket": NoPlace, "NoSuchKey": NoFile, "NoSuchUpload": Broken, "RequestTimeTooSkewed": WrongClock, "RequestExpired": WrongClock,
	"AuthorizationHeaderMalformed": WrongRegion, "InvalidRegion": WrongRegion, "PermanentRedirect": WrongRegion, "TemporaryRedirect": WrongRegion,
	"QuotaExceeded": NoSpace, "XMinioStorageFull": NoSpace, "XMinioAdminBucketQuotaExceeded": NoSpace, "InsufficientCapacity": NoSpace,
	"SlowDown": Busy, "SlowDownRead": Busy, "SlowDownWrite": Busy, "ServiceUnavailable": Busy, "ServerBusy": Busy, "InternalError": Busy,
	"RequestTimeout": Busy, "OperationAborted": Busy, "XMinioServerNotInitialized": Busy,
	"BadDigest": Corrupt, "XAmzContentSHA256Mismatch": Corrupt, "InvalidDigest": Corrupt, "XMinioInvalidObjectName": Other,
	"PreconditionFailed": Corrupt, // it is another file than the one that was being read
}

// s3Reason tells why a call failed.
func s3Reason(err error) Reason {
	answer := minio.ToErrorResponse(err)
	if answer.StatusCode == 0 {
		return reasonOf(err)
	}
	if r, known := s3Reasons[answer.Code]; known {
		return r
	}
	switch {
	case answer.StatusCode == 507:
		return NoSpace
	case answer.StatusCode >= 500:
		return Busy
	}
	return Other
}

// fail makes the error of an attempt.
func (s *s3) fail(op string, err error) error {
	answer := minio.ToErrorResponse(err)
	if answer.StatusCode == 0 {
		return s.hint(failure(op, s.endpoint, Other, err))
	}
	why := errors.New(answer.Message)
	if answer.Message == "" {
		why = fmt.Errorf("the answer is HTTP status %d", answer.StatusCode)
	}
	e := failure(op, s.endpoint, s3Reason(err), why)
	e.Code = answer.Code
	return s.hint(e)
}

// untangle gives reasons to what Go's client and minio's tell by their texts only.
func untangle(err error) error {
	for e := err; e != nil; e = errors.Unwrap(e) {
		switch text := e.Error(); {
		case text == "http: server gave HTTP response to HTTPS client":
			return &reasoned{NotTLS, e}
		case strings.HasPrefix(text, "Connection closed by foreign host"):
			return &reasoned{Broken, errors.New("the server closed the connection")}
		}
	}
	return err
}

// hint says what to do where it is about S3.
func (s *s3) hint(e *spec.Error) error {
	switch ReasonOf(e) {
	case NoPlace:
		e.Hint = "make the bucket " + s.bucket + ", or correct args in [block_service." + s.Name() + "]"
	case BadCredentials:
		e.Hint = "check the keys in the variables that access_key_env and secret_key_env name"
	case Forbidden:
		e.Hint = "ask for the rights to list, read, write and delete in the bucket " + s.bucket
	}
	return e
}
