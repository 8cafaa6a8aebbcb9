package storage

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"iter"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// s3 is a prefix in a bucket. The client tries every call once: what is worth another try is decided here (try).
type s3 struct {
	config    Config
	endpoint  string // scheme://host:port, as errors name it
	bucket    string
	prefix    string // "" or ending in a slash
	options   minio.Options
	core      *minio.Core
	transport *http.Transport

	buffers sync.Pool     // of *[]byte, partSize long
	ahead   chan struct{} // one for each part that is sent while its writer goes on
}

// defaultRegion is what every S3 but Amazon's own takes when none is set.
const defaultRegion = "us-east-1"

func openS3(c Config) (Service, error) {
	s := &s3{config: c, ahead: make(chan struct{}, partsAhead)}
	address, err := s.parse()
	if err != nil {
		return nil, err
	}
	creds, err := s.credentials()
	if err != nil {
		return nil, err
	}
	if err := s.makeTransport(); err != nil {
		return nil, err
	}
	s.options.Creds, s.options.Transport, s.options.MaxRetries = creds, s.transport, 1
	if s.core, err = minio.NewCore(address, &s.options); err != nil {
		return nil, c.usage("%s: %w", s.endpoint, err)
	}
	s.buffers.New = func() any {
		b := make([]byte, 0, partSize)
		return &b
	}
	return s, nil
}

// parse reads args and the settings that say how the service is addressed, and answers host:port.
func (s *s3) parse() (string, error) {
	c := s.config
	if n := len(c.Args); n < 2 || n > 3 {
		return "", c.usage("args has %d words, and is to be http[s]://HOST[:PORT] BUCKET [PREFIX]", n)
	}
	address := c.Args[0]
	s.options.Secure = c.Settings["use_ssl"] != "false"
	if strings.Contains(address, "://") {
		u, err := url.Parse(address)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" {
			return "", c.usage("%q is not http[s]://HOST[:PORT]", address)
		}
		secure := u.Scheme == "https"
		if _, set := c.Settings["use_ssl"]; set && secure != s.options.Secure {
			return "", c.usage("use_ssl = %s contradicts %s", c.Settings["use_ssl"], address)
		}
		address, s.options.Secure = u.Host, secure
	}
	s.endpoint = "http://" + address
	if s.options.Secure {
		s.endpoint = "https://" + address
	}
	switch style := c.Settings["style"]; style {
	case "":
	case "path":
		s.options.BucketLookup = minio.BucketLookupPath
	case "virtual":
		s.options.BucketLookup = minio.BucketLookupDNS
	default:
		return "", c.usage("style is %q, and is to be path or virtual", style)
	}
	s.options.Region = c.Settings["region"]
	if s.options.Region == "" && !strings.HasSuffix(hostOf(address), ".amazonaws.com") {
		s.options.Region = defaultRegion
	}
	s.bucket = c.Args[1]
	if len(c.Args) == 3 {
		prefix, err := clean(c.Args[2])
		if err != nil {
			return "", err
		}
		if prefix != "" {
			s.prefix = prefix + "/"
		}
	}
	return address, nil
}

func hostOf(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return address
}

// credentials come from the variables that the settings name, else from those of Amazon's tools.
func (s *s3) credentials() (*credentials.Credentials, error) {
	c := s.config
	names := []string{c.Settings["access_key_env"], c.Settings["secret_key_env"]}
	token := ""
	if names[0] == "" && names[1] == "" {
		names = []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
		token = c.getenv("AWS_SESSION_TOKEN")
	}
	for i, setting := range []string{"access_key_env", "secret_key_env"} {
		if names[i] == "" {
			return nil, c.usage("%s is not set, and the other of the two is", setting)
		}
	}
	var values []string
	for _, name := range names {
		value := c.getenv(name)
		if value == "" {
			return nil, c.usage("%w", &reasoned{BadCredentials, errors.New("the variable " + name + " is not set in the environment")}).
				WithHint("access_key_env and secret_key_env in the [block_service] section name the variables that hold the keys")
		}
		values = append(values, value)
	}
	return credentials.NewStaticV4(values[0], values[1], token), nil
}

func (s *s3) makeTransport() error {
	c := s.config
	dialer := &net.Dialer{Timeout: c.timeout(), KeepAlive: 30 * time.Second}
	s.transport = &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &stallConn{Conn: conn, read: c.stall(), write: c.stall()}, nil
		},
		TLSHandshakeTimeout: c.timeout(), IdleConnTimeout: c.stall() / 2, MaxIdleConnsPerHost: 32, WriteBufferSize: 64 << 10,
		ReadBufferSize: 64 << 10, DisableCompression: true,
	}
	if !s.options.Secure {
		return nil
	}
	s.transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	file := c.Settings["ca"]
	if file == "" {
		return nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return c.usage("read the certificate authority: %w", err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(pem) {
		return c.usage("%s holds no certificate", file)
	}
	s.transport.TLSClientConfig.RootCAs = roots
	return nil
}

// stallConn breaks when nothing moves for too long.
type stallConn struct {
	net.Conn
	read, write time.Duration
}

func (c *stallConn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.read)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c *stallConn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.write)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

func (s *s3) Name() string { return s.config.Name }
func (s *s3) Type() string { return S3Type }

func (s *s3) Close() error {
	s.transport.CloseIdleConnections()
	return nil
}

func (s *s3) key(name string) string { return s.prefix + name }

// boundCore is a client for calls that take no context: it rides on the transport instead.
func (s *s3) boundCore(ctx context.Context) (*minio.Core, error) {
	o := s.options
	o.Transport = boundTransport{ctx, s.transport}
	return minio.NewCore(strings.TrimPrefix(strings.TrimPrefix(s.endpoint, "https://"), "http://"), &o)
}

type boundTransport struct {
	ctx  context.Context
	base http.RoundTripper
}

func (t boundTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	return t.base.RoundTrip(r.WithContext(t.ctx))
}

// page lists at most limit keys and, with a delimiter, what they have in common up to it.
func (s *s3) page(ctx context.Context, prefix, token, delimiter string, limit int) (minio.ListBucketV2Result, error) {
	var page minio.ListBucketV2Result
	err := s.try(ctx, s.config.timeout(), func(ctx context.Context) error {
		core, err := s.boundCore(ctx)
		if err != nil {
			return err
		}
		page, err = core.ListObjectsV2(s.bucket, prefix, "", token, delimiter, limit)
		return err
	})
	return page, err
}

func (s *s3) List(ctx context.Context, dir string) iter.Seq2[Entry, error] {
	p, err := clean(dir)
	if err != nil {
		return once(err)
	}
	return func(yield func(Entry, error) bool) {
		if err := s.list(ctx, p, yield); err != nil {
			yield(Entry{}, s.fail("list "+dirName(p), err))
		}
	}
}

func (s *s3) list(ctx context.Context, dir string, yield func(Entry, error) bool) error {
	prefix := s.key(dir)
	if dir != "" {
		prefix += "/"
	}
	found, token := dir == "", ""
	for {
		page, err := s.page(ctx, prefix, token, "/", 1000)
		if err != nil {
			return err
		}
		found = found || len(page.Contents)+len(page.CommonPrefixes) > 0
		for _, e := range s.entries(page, dir, prefix) {
			if !yield(e, nil) {
				return nil
			}
		}
		if !page.IsTruncated || page.NextContinuationToken == "" || page.NextContinuationToken == token {
			break
		}
		token = page.NextContinuationToken
	}
	if found {
		return nil
	}
	if _, err := s.head(ctx, dir); err == nil {
		return &reasoned{NotAFile, errors.New("it is no directory")}
	}
	return &reasoned{NoFile, errors.New("there is no such directory")}
}

// entries are those of a page, in order. Keys that no path can name (with an empty part) are left out, as is the empty
// object that stands for the directory itself.
func (s *s3) entries(page minio.ListBucketV2Result, dir, prefix string) []Entry {
	var all []Entry
	add := func(e Entry, key string) {
		if e.Name = strings.TrimSuffix(strings.TrimPrefix(key, prefix), "/"); e.Name != "" && e.Name != "." && e.Name != ".." {
			e.Path = join(dir, e.Name)
			all = append(all, e)
		}
	}
	for _, o := range page.Contents {
		if !strings.HasSuffix(o.Key, "/") {
			add(Entry{Size: o.Size, Modified: o.LastModified.UTC(), MD5: md5OfETag(o.ETag)}, o.Key)
		}
	}
	for _, p := range page.CommonPrefixes {
		add(Entry{Dir: true}, p.Prefix)
	}
	slices.SortFunc(all, func(a, b Entry) int { return strings.Compare(orderKey(a), orderKey(b)) })
	return all
}

// md5OfETag reads the MD5 from an ETag: that of an object sent in one piece is one, any other has a dash.
func md5OfETag(etag string) string {
	etag = strings.Trim(etag, `"`)
	if len(etag) != 32 || strings.Trim(etag, "0123456789abcdef") != "" {
		return ""
	}
	return etag
}

func (s *s3) Stat(ctx context.Context, name string) (Entry, error) {
	p, err := clean(name)
	if err != nil {
		return Entry{}, err
	}
	e, err := s.stat(ctx, p)
	if err != nil {
		return Entry{}, s.fail("look at "+dirName(p), err)
	}
	return e, nil
}

// stat looks for a file, then for a directory. The answer to the first question has no body: only the second tells what
// is wrong.
func (s *s3) stat(ctx context.Context, name string) (Entry, error) {
	if name != "" {
		e, err := s.head(ctx, name)
		if err == nil {
			return e, nil
		}
		if minio.ToErrorResponse(err).StatusCode == 0 {
			return Entry{}, err
		}
	}
	prefix := s.key(name)
	if name != "" {
		prefix += "/"
	}
	page, err := s.page(ctx, prefix, "", "", 1)
	if err != nil {
		return Entry{}, err
	}
	if name != "" && len(page.Contents) == 0 {
		return Entry{}, &reasoned{NoFile, errors.New("it does not exist")}
	}
	return Entry{Name: Base(name), Path: name, Dir: true}, nil
}

// head asks for an object.
func (s *s3) head(ctx context.Context, name string) (Entry, error) {
	var info minio.ObjectInfo
	err := s.try(ctx, s.config.timeout(), func(ctx context.Context) (err error) {
		info, err = s.core.StatObject(ctx, s.bucket, s.key(name), minio.StatObjectOptions{})
		return err
	})
	if err != nil {
		return Entry{}, err
	}
	return s.entry(name, info), nil
}

func (s *s3) entry(name string, info minio.ObjectInfo) Entry {
	e := Entry{Name: path.Base(name), Path: name, Size: info.Size, Modified: info.LastModified.UTC(), MD5: md5OfETag(info.ETag)}
	if how := info.Metadata.Get("X-Amz-Server-Side-Encryption"); how != "" && how != "AES256" {
		e.MD5 = "" // with keys of its own the service makes ETags of what it stores
	}
	return e
}

func (s *s3) Open(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	p, err := fileName(name)
	if err != nil {
		return nil, err
	}
	if length == 0 {
		if _, err := s.Stat(ctx, p); err != nil {
			return nil, err
		}
		return http.NoBody, nil
	}
	etag := ""
	first := true
	open := func(ctx context.Context, offset, length int64) (io.ReadCloser, int64, error) {
		var o minio.GetObjectOptions
		if err := setRange(&o, offset, length); err != nil {
			return nil, 0, err
		}
		if etag != "" {
			if err := o.SetMatchETag(etag); err != nil { // not a part of another file that took its place
				return nil, 0, err
			}
		}
		var body io.ReadCloser
		var info minio.ObjectInfo
		get := func(ctx context.Context) (err error) {
			body, info, _, err = s.core.GetObject(ctx, s.bucket, s.key(p), o)
			return err
		}
		if first {
			err = s.try(ctx, 0, get) // when it is taken up again, the reader counts the attempts
		} else {
			err = untangle(get(ctx))
		}
		first, etag = false, info.ETag
		return body, info.Size, err
	}
	body, size, err := open(ctx, offset, length)
	if minio.ToErrorResponse(err).Code == minio.InvalidRange {
		return http.NoBody, nil // it begins behind the end
	}
	if err != nil {
		return nil, s.fail("read "+p, err)
	}
	return &resuming{
		ctx: ctx, r: body, offset: offset, left: size, fail: func(err error) error { return s.fail("read "+p, err) },
		open: func(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
			body, _, err := open(ctx, offset, length)
			return body, err
		},
	}, nil
}

func setRange(o *minio.GetObjectOptions, offset, length int64) error {
	switch {
	case length > 0:
		return o.SetRange(offset, offset+length-1)
	case offset > 0:
		return o.SetRange(offset, 0)
	}
	return nil
}
