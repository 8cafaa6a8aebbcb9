package sandbox

import (
	"context"
	"net/url"
	"os"
	"path"
	"strings"
	"testing"

	"shardsh/cluster/pegasus/rocksdb"
	"shardsh/cluster/pegasus/wire"
	"shardsh/cluster/sandbox"
	"shardsh/commands/spec"
)

// flat is a block service that keeps nothing beside its files, as an HDFS does.
type flat string

// flatURL is that of one whose files are below a directory.
func flatURL(dir, root string) string { return "flat:///" + root + "?dir=" + url.QueryEscape(dir) }

func openFlat(at string) (BlockService, error) {
	u, err := url.Parse(at)
	if err != nil || u.Scheme != "flat" {
		return nil, spec.Errorf(spec.Usage, "%s is not flat", at)
	}
	return flat(path.Join(u.Query().Get("dir"), u.Path)), nil
}

func (f flat) Open(_ context.Context, name string) (rocksdb.File, error) {
	return openedFile(os.Open(path.Join(string(f), name)))
}

func (f flat) Create(_ context.Context, name string) (rocksdb.Output, error) {
	at := path.Join(string(f), name)
	if err := os.MkdirAll(path.Dir(at), 0o755); err != nil {
		return nil, err
	}
	file, err := os.Create(at)
	return folderOutput{file}, err
}

// A provider that has a root takes no path of a backup, and one that has none wants it.
func TestProviderRoots(t *testing.T) {
	at := t.TempDir()
	u := newUser(t, runAs(t, sandbox.Config{Name: "onebox", Dir: t.TempDir(), Providers: map[string]string{
		"rooted": flatURL(at, "root"), "bare": flatURL(at, ""), "disk": t.TempDir(), "hdfs_zjy": t.TempDir(),
	}}))
	app := u.config("TableA").AppID
	for provider, refused := range map[string]bool{"rooted": true, "disk": true, "bare": false, "hdfs_zjy": false, "s3_main": true} {
		a := ask(u, &wire.StartBackup, wire.StartBackupRequest{Provider: provider, AppID: app, Path: new("/b")})
		hint := "default backup path has already configured for " + provider
		if provider == "s3_main" { // servers know no such type
			hint = "invalid backup_provider_type s3_main."
		}
		if is := a.Err == wire.CodeInvalidParameters && strings.Contains(a.Hint, hint); is != refused {
			t.Errorf("%s: %+v", provider, a)
		}
		u.eventually("it is over", func() bool {
			q := ask(u, &wire.QueryBackup, wire.QueryBackupRequest{AppID: app})
			return len(q.Items) == 0 || q.Items[len(q.Items)-1].EndMS > 0
		})
	}
	if b := ask(u, &wire.StartBulkLoad, wire.StartBulkLoadRequest{AppName: "TableA", Cluster: "onebox", Provider: "s3_main", Root: "/r"}); b.Err != wire.CodeInvalidParameters {
		t.Errorf("a bulk load from s3_main: %+v", b)
	}
	r := ask(u, &wire.StartRestore, wire.StartRestoreRequest{Cluster: "onebox", BackupID: 1, AppName: "TableA", AppID: app, NewName: "copy", Provider: "s3_main"})
	if r.Err != wire.CodeInvalidParameters {
		t.Errorf("a restore from s3_main: %+v", r)
	}
}

func TestProviderUnknownType(t *testing.T) {
	for _, open := range []BlockOpener{nil, openFlat} {
		_, err := KindWith(open).New(t.Context(), sandbox.Config{Name: "onebox", Dir: t.TempDir(), Providers: map[string]string{"far": "s3://bucket"}})
		if err == nil || !strings.Contains(err.Error(), "open block service far") {
			t.Errorf("it starts: %v", err)
		}
	}
}
