package storage

import (
	"net"
	"os/user"
	"path"
	"path/filepath"
	"slices"
	"strings"

	client "github.com/colinmarc/hdfs/v2"
	"github.com/colinmarc/hdfs/v2/hadoopconf"
)

// namenodePort is that of a namenode's RPC since Hadoop 3.
const namenodePort = "8020"

// hdfsPlace is where an HDFS is and how one is let in.
type hdfsPlace struct {
	config    Config
	conf      hadoopconf.HadoopConf // core-site.xml and hdfs-site.xml, nil when there are none
	addresses []string
	root      string
}

// parseHDFS reads args, hdfs://AUTHORITY [ROOT]. The authority is a list of namenodes, or the name of a nameservice that
// hdfs-site.xml explains, or nothing, when core-site.xml tells it.
func parseHDFS(c Config) (*hdfsPlace, error) {
	p := &hdfsPlace{config: c, root: "/"}
	if n := len(c.Args); n < 1 || n > 2 {
		return nil, c.usage("args has %d words, and is to be hdfs://NAMENODE[:PORT] [/ROOT]", n)
	}
	authority, isHDFS := strings.CutPrefix(c.Args[0], "hdfs://")
	if !isHDFS {
		return nil, c.usage("%q is not hdfs://NAMENODE[:PORT]", c.Args[0])
	}
	authority = strings.TrimSuffix(authority, "/")
	if len(c.Args) == 2 {
		root, err := clean(c.Args[1])
		if err != nil {
			return nil, err
		}
		p.root = path.Join("/", root)
	}
	if err := p.loadConf(); err != nil {
		return nil, err
	}
	if strings.Contains(authority, "/") {
		return nil, c.usage("%q holds a path, which is the second word of args", c.Args[0])
	}
	p.addresses = p.namenodes(authority)
	if len(p.addresses) == 0 {
		return nil, c.usage("no namenode is named").WithHint("write hdfs://NAMENODE, or set HADOOP_CONF_DIR")
	}
	return p, nil
}

// loadConf reads the directory that Hadoop's own tools would.
func (p *hdfsPlace) loadConf() error {
	c := p.config
	dirs := []string{c.getenv("HADOOP_CONF_DIR")}
	if home := c.getenv("HADOOP_HOME"); home != "" {
		dirs = append(dirs, filepath.Join(home, "etc", "hadoop"), filepath.Join(home, "conf"))
	}
	for _, dir := range dirs {
		if dir == "" {
			continue
		}
		conf, err := hadoopconf.Load(dir)
		if err != nil {
			return c.usage("read Hadoop's configuration: %w", err)
		}
		if conf != nil {
			p.conf = conf
			return nil
		}
	}
	return nil
}

func (p *hdfsPlace) namenodes(authority string) []string {
	if authority == "" {
		authority = strings.TrimSuffix(strings.TrimPrefix(p.conf["fs.defaultFS"], "hdfs://"), "/")
	}
	if ids := p.conf["dfs.ha.namenodes."+authority]; authority != "" && ids != "" {
		var all []string
		for id := range strings.SplitSeq(ids, ",") {
			if address := p.conf["dfs.namenode.rpc-address."+authority+"."+strings.TrimSpace(id)]; address != "" {
				all = append(all, withPort(address))
			}
		}
		return all
	}
	if address := p.conf["dfs.namenode.rpc-address."+authority]; authority != "" && address != "" {
		return []string{withPort(address)}
	}
	var all []string
	for address := range strings.SplitSeq(authority, ",") {
		if address = strings.TrimSpace(address); address != "" {
			all = append(all, withPort(address))
		}
	}
	return all
}

func withPort(address string) string {
	if _, _, err := net.SplitHostPort(address); err == nil {
		return address
	}
	return net.JoinHostPort(strings.Trim(address, "[]"), namenodePort)
}

// kerberos reports whether the cluster wants tickets: Hadoop's configuration says so, or a principal or a keytab is set.
func (p *hdfsPlace) kerberos() bool {
	return p.config.Settings["principal"] != "" || p.config.Settings["keytab"] != "" || strings.EqualFold(p.conf["hadoop.security.authentication"], "kerberos")
}

// options are those of a client, without what differs from client to client: the ticket, and how it dials.
func (p *hdfsPlace) options() (client.ClientOptions, error) {
	o := client.ClientOptionsFromConf(p.conf)
	o.Addresses, o.KerberosClient = slices.Clone(p.addresses), nil
	if !p.kerberos() {
		name, err := p.user()
		o.User = name
		return o, err
	}
	if o.KerberosServicePrincipleName == "" {
		o.KerberosServicePrincipleName = "nn/_HOST"
	}
	o.DataTransferProtection = "" // see saslConn
	return o, nil
}

// protection is the weakest protection of data that is good enough: what a datanode wants beyond it is its own choice.
// Where Kerberos is wanted, a datanode speaks to nobody who does not authenticate.
func (p *hdfsPlace) protection() string {
	if strongest := client.ClientOptionsFromConf(p.conf).DataTransferProtection; strongest != "" {
		return strongest
	}
	return "authentication"
}

func (p *hdfsPlace) user() (string, error) {
	for _, name := range []string{p.config.Settings["user"], p.config.getenv("HADOOP_USER_NAME")} {
		if name != "" {
			return name, nil
		}
	}
	u, err := user.Current()
	if err != nil {
		return "", err
	}
	return u.Username[strings.LastIndex(u.Username, `\`)+1:], nil
}
