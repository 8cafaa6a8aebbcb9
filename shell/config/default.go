package config

import "strings"

// Default is the text of the repository's config.ini: every setting with its default, and examples, all commented out.
// A line that begins with ; and no blank is a setting or a section; taking off the ; puts it into force.
func Default() string {
	var b strings.Builder
	b.WriteString(defaultHead)
	for _, k := range shellKeys {
		b.WriteString("# " + k.Help + "\n")
		b.WriteString(strings.TrimRight(";"+k.Name+" = "+k.Default, " ") + "\n")
	}
	b.WriteString(defaultTail)
	return b.String()
}

const defaultHead = `# The configuration of shardsh. What stands here is what holds without it: a line that begins with ; shows a
# setting with its default, or an example. Take off the ; and change it. "config show" tells every value and its source.
#
# Read is the first of: --config FILE, $SHARDSH_CONFIG, ./config.ini, $XDG_CONFIG_HOME/shardsh/config.ini,
# /etc/shardsh/config.ini. Flags and the environment (SHARDSH_OUTPUT, …) are stronger than the file.

[shell]
`

const defaultTail = `
# Clusters, by system: NAME = ADDRESS. Names are one namespace over the whole file.
[pegasus.clusters]
;ClusterB = 10.0.0.1:34601,10.0.0.2:34601

;[openmldb.clusters]
# or ns://host:port,…
;prod = zk://172.27.128.31:8090,172.27.128.32:8090/openmldb_cluster

;[zankv.clusters]
;room_a = http://127.0.0.1:18001

;[vearch.clusters]
;v = http://127.0.0.1:8817,http://127.0.0.1:9001

;[milvus.clusters]
;m = 127.0.0.1:19530

# An etcd, to be mirrored or opened as etcd:vearch_meta. It takes user, password_* and tls_* as a cluster does.
;[etcd.vearch_meta]
;endpoints = http://127.0.0.1:2370

# Options of one cluster. A secret never stands in this file: password_file names a file that only you can read,
# password_command a command that prints it, password_env a variable. Relative paths start at this file's directory.
;[cluster.m]
;user = root
;password_file = m.password
;tls_ca = ca.pem
;tls_cert = client.pem
;tls_key = client.key
;timeout = 30s
;read_only = true
;audit = true
# OpenMLDB, where its ZooKeeper has access lists (digest); zk_password_command and zk_password_env do as well
;zk_user = openmldb
;zk_password_file = zk.password
# the colour of its name in the prompt: red green yellow blue magenta cyan white none
;colour = red
# where Milvus keeps its objects: a block service, and a root in it
;store = s3_main files
# where its backups go
;backup = s3_main backup

# Block services, for backups and bulk loads.
;[block_service.hdfs_zjy]
;type = hdfs_service
# namenodes (several joined by commas, port 8020 by default), or a nameservice of hdfs-site.xml in $HADOOP_CONF_DIR
;args = hdfs://zjyprc-hadoop /
# who one is there; with Kerberos, the principal and its keytab, else the tickets that kinit left
;user = pegasus
;principal = pegasus@EXAMPLE.COM
;keytab = pegasus.keytab

# The keys come from the environment.
;[block_service.s3_main]
;type = s3_service
;args = https://minio.internal:9000 bucket prefix
;access_key_env = S3_ACCESS_KEY
;secret_key_env = S3_SECRET_KEY
;use_ssl = true
;region = us-east-1
;ca = ca.pem
# how addresses name the bucket: path or virtual; by the address when absent
;style = path

;[block_service.disk]
;type = local_service
;args = /var/lib/shardsh/backup
# the .F.meta that Pegasus wants beside every file F: required, optional (files without one are read too), none
;meta = required
`
