package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	krb "github.com/jcmturner/gokrb5/v8/client"
	krbconfig "github.com/jcmturner/gokrb5/v8/config"
	"github.com/jcmturner/gokrb5/v8/credentials"
	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/jcmturner/gokrb5/v8/messages"
)

// kerberos logs in, once for all connections to an HDFS and again when the ticket has ended.
type kerberos struct {
	config  Config
	service string   // the namenode's principal without its realm, where _HOST stands for the namenode's host
	hosts   []string // of the namenodes

	turn chan struct{} // who holds it logs in
	last *ticket       // nil before the first login
}

func newKerberos(c Config, service string, addresses []string) *kerberos {
	k := &kerberos{config: c, service: service, turn: make(chan struct{}, 1)}
	for _, address := range addresses {
		host, _, _ := net.SplitHostPort(address)
		k.hosts = append(k.hosts, host)
	}
	return k
}

// ticket is one login: the ticket of the KDC, and those for the namenodes that it was exchanged for. Nothing renews it in
// the background; who finds it near its end logs in again.
type ticket struct {
	client *krb.Client
	ends   time.Time
	renew  time.Time // from then on another one is got where that needs nobody
}

// over reports whether no connection can be made with it any more; those that are made live on.
func (t *ticket) over() bool { return t != nil && !time.Now().Before(t.ends) }

// ticket answers one that is good for connections to the namenodes.
func (k *kerberos) ticket(ctx context.Context) (*ticket, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, k.config.timeout(), errSlowKDC)
	defer cancel()
	select {
	case k.turn <- struct{}{}:
		defer func() { <-k.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if k.last == nil || !time.Now().Before(k.last.renew) {
		k.last = nil
		t, err := await(ctx, k.login)
		if err != nil {
			return nil, k.explain(err)
		}
		k.last = t
	}
	t := k.last
	if _, err := await(ctx, func() (bool, error) { return true, k.exchange(t) }); err != nil {
		return nil, k.explain(err)
	}
	return t, nil
}

var errSlowKDC = &reasoned{NoAnswer, errors.New("the KDC does not answer")}

// exchange gets tickets for the namenodes, so that the making of a connection asks no KDC. A namenode that the KDC does not
// know may be one that is not needed.
func (k *kerberos) exchange(t *ticket) error {
	var first error
	got := false
	for _, host := range k.hosts {
		_, _, err := t.client.GetServiceTicket(k.principal(host))
		got = got || err == nil
		if err != nil && first == nil {
			first = &serviceError{k.principal(host), err}
		}
	}
	if got {
		return nil
	}
	return first
}

// principal is that of a namenode, as the library of HDFS spells it.
func (k *kerberos) principal(host string) string {
	service, instance, found := strings.Cut(k.service, "/")
	if found && instance == "_HOST" {
		return service + "/" + host
	}
	return k.service
}

// login takes a keytab where the section names one, else the tickets that kinit left.
func (k *kerberos) login() (*ticket, error) {
	c := k.config
	file := c.getenv("KRB5_CONFIG")
	if file == "" {
		file = "/etc/krb5.conf"
	}
	conf, err := krbconfig.Load(file)
	var old krbconfig.UnsupportedDirective // of Kerberos 4, which nobody needs
	if err != nil && !errors.As(err, &old) {
		return nil, badTicket("read %s: %v", file, err).WithHint("KRB5_CONFIG names the krb5.conf of the realm")
	}
	if table := c.Settings["keytab"]; table != "" {
		return k.byKeytab(table, conf)
	}
	return k.byCache(conf)
}

// renewShare is the share of the life of a ticket after which a keytab gets another one.
const renewShare = 0.8

func (k *kerberos) byKeytab(table string, conf *krbconfig.Config) (*ticket, error) {
	who := k.config.Settings["principal"]
	if who == "" {
		return nil, badTicket("keytab is set, and principal is not").WithHint("list the principals of the keytab: klist -k %s", table)
	}
	keys, err := loadKeytab(table)
	if err != nil {
		return nil, badTicket("read %s: %v", table, err).WithHint("check keytab in [block_service.%s]", k.config.Name)
	}
	name, realm, found := strings.Cut(who, "@")
	if !found {
		realm = conf.LibDefaults.DefaultRealm
	}
	login := krb.NewWithKeytab(name, realm, keys, conf)
	request, err := messages.NewASReqForTGT(realm, conf, login.Credentials.CName())
	if err != nil {
		return nil, err
	}
	reply, err := login.ASExchange(realm, request, 0)
	if err != nil {
		return nil, &loginError{name + "@" + realm, table, err}
	}
	cache, err := cacheOf(reply)
	if err != nil {
		return nil, err
	}
	client, err := krb.NewFromCCache(cache, conf)
	if err != nil {
		return nil, err
	}
	now, ends := time.Now(), reply.DecryptedEncPart.EndTime
	life := time.Duration(float64(ends.Sub(now)) * renewShare)
	return &ticket{client: client, ends: ends, renew: now.Add(life)}, nil
}

// cacheOf makes of an answer of the KDC what kinit would leave. A client that is made of it starts no goroutines, unlike one
// that has logged in.
func cacheOf(reply messages.ASRep) (*credentials.CCache, error) {
	tgt, err := reply.Ticket.Marshal()
	if err != nil {
		return nil, err
	}
	part := reply.DecryptedEncPart
	one := &credentials.Credential{Key: part.Key, AuthTime: part.AuthTime, StartTime: part.StartTime, EndTime: part.EndTime, Ticket: tgt}
	one.Client.Realm, one.Client.PrincipalName = reply.CRealm, reply.CName
	one.Server.Realm, one.Server.PrincipalName = reply.Ticket.Realm, reply.Ticket.SName
	cache := &credentials.CCache{Credentials: []*credentials.Credential{one}}
	cache.DefaultPrincipal.Realm, cache.DefaultPrincipal.PrincipalName = reply.CRealm, reply.CName
	return cache, nil
}

// loadKeytab hides what the library says about a file that is none: it quotes its bytes, which are keys.
func loadKeytab(file string) (keys *keytab.Keytab, err error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, short(err)
	}
	err = bounded(func() error {
		keys = keytab.New()
		return keys.Unmarshal(data)
	})
	if err != nil || len(keys.Entries) == 0 {
		return nil, errors.New("it is no keytab, or an incomplete one")
	}
	return keys, nil
}

// bounded calls a parser that reads beyond the end of a file that is cut off.
func bounded(parse func() error) (err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("it is cut off")
		}
	}()
	return parse()
}

func (k *kerberos) byCache(conf *krbconfig.Config) (*ticket, error) {
	file, err := k.cacheFile()
	if err != nil {
		return nil, err
	}
	tickets := new(credentials.CCache)
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, k.kinit(badTicket("there is no ticket: %s does not exist", file), file)
	}
	if err == nil {
		err = bounded(func() error { return tickets.Unmarshal(data) })
	}
	if err != nil {
		return nil, k.kinit(badTicket("read the tickets of %s: %v", file, short(err)), file)
	}
	client, err := krb.NewFromCCache(tickets, conf)
	if err != nil {
		return nil, k.kinit(badTicket("read the tickets of %s: %v", file, err), file)
	}
	is := client.Credentials.UserName() + "@" + client.Credentials.Realm()
	if want := k.config.Settings["principal"]; want != "" && want != is && want+"@"+conf.LibDefaults.DefaultRealm != is {
		return nil, k.kinit(badTicket("the tickets of %s are those of %s, and principal is %s", file, is, want), file)
	}
	t := &ticket{client: client}
	for _, entry := range tickets.GetEntries() {
		if parts := entry.Server.PrincipalName.NameString; len(parts) == 2 && parts[0] == "krbtgt" && parts[1] == client.Credentials.Realm() {
			t.ends = entry.EndTime
		}
	}
	if t.renew = t.ends; t.over() {
		return nil, k.kinit(badTicket("the ticket of %s ended at %s", file, t.ends.UTC().Format(time.RFC3339)), file)
	}
	return t, nil
}

// cacheFile is where kinit puts its tickets.
func (k *kerberos) cacheFile() (string, error) {
	name := k.config.getenv("KRB5CCNAME")
	if name == "" {
		u, err := user.Current()
		if err != nil {
			return "", err
		}
		return "/tmp/krb5cc_" + u.Uid, nil
	}
	kind, file, found := strings.Cut(name, ":")
	switch {
	case found && kind == "FILE":
		return file, nil
	case found && !filepath.IsAbs(name) && len(kind) > 1 && kind == strings.ToUpper(kind):
		return "", badTicket("KRB5CCNAME is %s, and tickets are read from files only", name).
			WithHint("set KRB5CCNAME to FILE:PATH and run kinit, or set principal and keytab in [block_service.%s]", k.config.Name)
	}
	return name, nil
}

// kinit says how to get tickets into a file.
func (k *kerberos) kinit(e error, file string) error {
	who := k.config.Settings["principal"]
	if who == "" {
		who = "PRINCIPAL"
	}
	return hinted(e, fmt.Sprintf("run: kinit -c FILE:%s %s, or set principal and keytab in [block_service.%s]", file, who, k.config.Name))
}
