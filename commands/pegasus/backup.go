package pegasus

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"shardsh/cluster"
	driver "shardsh/cluster/pegasus"
	"shardsh/commands"
	"shardsh/commands/spec"
	"shardsh/storage"
)

// backer is what backups ask of a cluster.
type backer interface {
	counting
	ServerVersion(ctx context.Context, endpoint string) (driver.Version, error)
	StartTimes(ctx context.Context, endpoints []string) (map[string]time.Time, error)
	MetaLevel(ctx context.Context) (string, error)
	StartBackup(ctx context.Context, app driver.App, provider, path string) (id int64, err error)
	BackupsOf(ctx context.Context, app driver.App) ([]driver.Backup, error)
	LargestUpload(ctx context.Context, endpoint string) (int64, error)
}

var _ backer = (*driver.Driver)(nil)

const cannotCancel = "a backup cannot be cancelled: once it has begun, servers go on with it whatever becomes of this shell"

// Backup backs a table up.
func Backup(env commands.Env) spec.Command {
	return spec.Command{
		Name:    "backup",
		Systems: systems,
		Topic:   "storage",
		Summary: "back a table up to a block service, and check what arrived there",
		Long: "Has the servers back the table up to a block service of their own configuration, and follows them until they have. First every primary makes a checkpoint, " +
			"which disks feel; then they upload it, which the network feels: the servers' own limit of what they send is held at --max-rate meanwhile, and the key + " +
			"where it is followed, or job rate from another shell, raises it. " +
			"Servers tell no progress; what is shown is derived from the files that arrive on the service, and from cold.backup.max.upload.file.size of the servers. " +
			"What the primaries have on their disks is compared with the room that the service has, where it can be asked from here: too little of it refuses the backup. " +
			"A backup cannot be cancelled. When a replica server is started again it never ends: that is reported as soon as no server uploads any more, and what " +
			"there is of it can be removed with rm_backup. " +
			"In the end the backup is read from the service as this shell's own config.ini has it, lists and sizes are compared with the files, and a side-car with the checksums " +
			"of its documents and the settings of the table, which Pegasus leaves out, is written beside it (shardsh_backup). " +
			"It is a job: what was killed is followed again with job resume, and never begun a second time.",
		Args: []spec.Arg{
			{Name: "table", Kind: spec.ArgTable, Help: "the table, by its name or id"},
			{Name: "service", Kind: spec.ArgService, Help: "the block service, as the servers' configuration and this shell's call it"},
			{Name: "path", Kind: spec.ArgText, Optional: true, Help: "the folder; none for a service whose configuration has a root"},
		},
		Flags: []spec.Flag{
			sendRateFlag,
			{Name: "verify", Kind: spec.ArgBool, Help: "in the end read every file and compare its MD5, which costs as much as the upload"},
			{Name: "patience", Kind: spec.ArgDuration, Default: "10m", Help: "take it for failed when nothing moved, or nobody answered, for so long"},
			{Name: "follow", Kind: spec.ArgInt, Default: "0", Help: "begin none, but follow this backup, which somebody else began"},
		},
		Examples: []spec.Example{
			{Line: "backup 3 hdfs_zjy /user/pegasus/backup --yes", Says: "the table with the id 3; followed to its end", Setup: []string{"create flow -p 4"}},
			{Line: "backup TableA hdfs_zjy /user/pegasus/backup --plan", Says: "what would be done, and what is in its way"},
			{Line: "backup TableA disk --max-rate none --verify --yes", Says: "as fast as it goes, and compared in the end"},
		},
		SeeAlso: []string{"query_backup", "restore", "ls_backup", "verify_backup", "rm_backup", "add_backup_policy", "jobs", "job rate"},
		Change: func(ctx context.Context, call *spec.Call) (*spec.Plan, error) {
			return planBackup(ctx, env, call)
		},
	}
}

// findTable answers the table in use that a text names, by its name or id.
func findTable(ctx context.Context, c admin, text string) (driver.App, error) {
	apps, err := c.Apps(ctx, "available")
	if err != nil {
		return driver.App{}, err
	}
	for _, a := range apps {
		if a.Name == text {
			return a, nil
		}
	}
	if id, err := strconv.ParseInt(text, 10, 32); err == nil {
		for _, a := range apps {
			if int64(a.ID) == id {
				return a, nil
			}
		}
	}
	return driver.App{}, spec.Errorf(spec.NotFound, "no table in use has the name or id %s", shown(text)).WithHint("ls lists the tables and their ids")
}

// coldCopy is a block service as a backup or a restore sees it from here.
type coldCopy struct {
	service string
	path    string      // as it was typed
	store   *blockStore // nil when nothing can be seen of it from here
	// unseen says why.
	unseen string
}

// place is a path of the service: the typed one, and what is below it.
func (s *coldCopy) place(parts ...string) string {
	return strings.Trim(strings.Join(append([]string{strings.Trim(s.path, "/")}, parts...), "/"), "/")
}

// openCold opens the service by the name that the servers have for it. What keeps it from being seen from here is no error.
func openCold(ctx context.Context, env commands.Env, c admin, service, path string) (*coldCopy, error) {
	s := &coldCopy{service: service, path: path}
	if _, err := storage.ParseLocation(service + ":" + path); err != nil {
		return nil, err
	}
	v, err := viewService(ctx, env, c, service)
	if err != nil {
		return nil, err
	}
	switch {
	case v.block == nil:
		_, err := env.Block(ctx, service)
		s.unseen = "this shell's config.ini has no such block service: " + spec.HintOf(err)
	case v.block.Type == storage.S3Type:
		return nil, spec.Errorf(spec.Unable, "%s is an s3_service, which no server of Pegasus has", service).
			WithHint("back up to an hdfs_service or a local_service, and fs copy what is there")
	case v.far != "":
		s.unseen = fmt.Sprintf("a local_service of %s lies on the disks of each server itself, and not in %s of this machine", v.far, cmp.Or(v.block.Where, "the sandbox"))
	case v.away != nil:
		s.unseen = "it cannot be reached from here: " + v.away.Error()
	default:
		s.store = v.store
	}
	return s, nil
}

// serviceView is a block service of the servers as it can be seen from here: one of its fields says why it cannot.
type serviceView struct {
	block *commands.Block // nil when this shell has none of that name; an s3_service is not looked at any further
	far   string          // a server whose own disk a local_service is
	away  error           // it does not answer
	store *blockStore
}

// viewService opens a block service by the name that the servers have for it.
func viewService(ctx context.Context, env commands.Env, c admin, service string) (v serviceView, err error) {
	block, found := commands.BlockNamed(env, service)
	if !found {
		return v, nil
	}
	v.block = &block
	if v.block.Type == storage.S3Type {
		return v, nil
	}
	if v.block.Type == storage.LocalType {
		nodes, err := c.Nodes(ctx)
		if err != nil {
			return v, err
		}
		if v.far = remoteNode(nodes); v.far != "" {
			return v, nil
		}
	}
	s, err := env.Block(ctx, service)
	if err == nil {
		_, err = s.Stat(ctx, "")
	}
	if err != nil {
		v.away = err
		return v, ctx.Err()
	}
	v.store = &blockStore{s}
	return v, nil
}

// remoteNode is a node that is not on this machine, "" when all are.
func remoteNode(nodes []cluster.Node) string {
	for _, n := range nodes {
		host, _, err := net.SplitHostPort(n.Endpoint)
		ip := net.ParseIP(host)
		if err != nil || host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return n.Endpoint
		}
	}
	return ""
}

// tableBackup is a backup that is planned.
type tableBackup struct {
	c        backer
	cluster  string
	app      driver.App
	to       *coldCopy
	limit    *sendRate
	follow   int64
	verify   bool
	patience time.Duration
	noWait   bool
	resumed  bool
	guess    int64 // bytes that primaries have on their disks; 0 when it is not known
	begun    int64 // the id, once an answer came
	result   backupResult
}

func (x *tableBackup) text() string {
	return strings.TrimSpace(fmt.Sprintf("back up %s of %s to %s %s", x.app.Name, x.cluster, x.to.service, x.to.path))
}

func planBackup(ctx context.Context, env commands.Env, call *spec.Call) (*spec.Plan, error) {
	x := &tableBackup{
		cluster: call.Cluster, follow: call.Int("follow"), verify: call.Bool("verify"), patience: call.Duration("patience"), noWait: call.Wait < 0,
		resumed: call.Resumed,
	}
	if x.follow < 0 || x.patience <= 0 {
		return nil, spec.Errorf(spec.Usage, "--follow is the id of a backup, and --patience above 0")
	}
	var err error
	if x.c, err = commands.Driver[backer](ctx, env, call); err != nil {
		return nil, err
	}
	if x.app, err = findTable(ctx, x.c, call.Arg(0)); err != nil {
		return nil, err
	}
	if x.to, err = openCold(ctx, env, x.c, call.Arg(1), call.Arg(2)); err != nil {
		return nil, err
	}
	plan := &spec.Plan{Title: x.text(), Notes: []string{cannotCancel}}
	if err := x.look(ctx, env, plan); err != nil {
		return nil, err
	}
	if x.limit, err = planSendRate(ctx, env, call, x.c, plan); err != nil {
		return nil, err
	}
	if len(plan.Holds) > 0 {
		plan.Notes = append(plan.Notes, "raise it in phase 2 only, when checkpoints are made and disks have calmed down, by 50 at a time")
	}
	plan.Steps = []spec.Step{x.step()}
	plan.Answers = x.answer
	return plan, nil
}

func (x *tableBackup) step() spec.Step {
	identity := map[string]string{
		"cluster": x.cluster, "table": x.app.Name + ", " + tableIdentity(x.app), "to": strings.TrimSpace(x.to.service + " " + x.to.path),
	}
	if x.follow > 0 {
		identity["backup"] = strconv.FormatInt(x.follow, 10)
	}
	class := spec.Risky
	if x.follow > 0 {
		class = spec.Alter // the side-car is written
	}
	return spec.Step{
		Text: x.text(), Objects: []string{x.app.Name}, Class: class,
		Job: x.limit.job(spec.Job{Name: "backup", Identity: identity, Run: x.run}),
	}
}

// look reads what a person should know before a backup begins.
func (x *tableBackup) look(ctx context.Context, env commands.Env, plan *spec.Plan) error {
	note := func(format string, args ...any) { plan.Notes = append(plan.Notes, fmt.Sprintf(format, args...)) }
	block := func(object, format string, args ...any) {
		plan.Blockers = append(plan.Blockers, spec.Blocker{Object: object, Why: fmt.Sprintf(format, args...)})
	}
	if x.to.store == nil {
		block(x.to.service, "%s; the backup can neither be followed nor checked from here", x.to.unseen)
	}
	if root := hdfsRoot(env, x.to.service); root != "" && strings.Trim(x.to.path, "/") != "" {
		block(x.to.service, "it has the root %s: servers refuse a path besides", root)
	}
	a, err := x.c.Partitions(ctx, x.app.Name)
	if err != nil {
		return err
	}
	orphans := 0
	for _, p := range a.Partitions {
		orphans += one(p.Primary == "" && !p.Unborn)
		if p.Unborn {
			note("%s is being split: partition %d is not there yet", x.app.Name, p.Index)
			break
		}
	}
	if orphans > 0 {
		block(x.app.Name, "%s no primary, and the backup would wait for them", commands.Plural(orphans, "partition")+" have")
	}
	if err := x.lookAtNodes(ctx, note); err != nil {
		return err
	}
	if err := x.lookAtBackups(ctx, note); err != nil {
		return err
	}
	return x.lookAtRoom(ctx, plan)
}

// lookAtRoom compares what primaries have on their disks, each of which uploads its own, with the room of the service. Of
// one that lies elsewhere than it can be seen from here nothing is compared.
func (x *tableBackup) lookAtRoom(ctx context.Context, plan *spec.Plan) error {
	guesses, err := guessRows(ctx, x.c, x.app)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	size, need := "how much there is is not known", int64(-1)
	if err == nil && len(guesses) > 0 {
		for _, g := range guesses {
			x.guess += g.Bytes
		}
		size, need = fmt.Sprintf("about %d MB on the disks of the primaries", x.guess>>20), x.guess
	}
	plan.Notes = append(plan.Notes, fmt.Sprintf("%s, %s", commands.Plural(x.app.Partitions, "partition"), size))
	switch {
	case x.follow > 0:
		return nil
	case x.to.store == nil:
		plan.Notes = append(plan.Notes, fmt.Sprintf("how much room %s has cannot be seen from here", x.to.service))
		return nil
	}
	return commands.LookAtRoom(ctx, plan, commands.Writing{
		To: x.to.store.Service, Dir: x.to.place(), Bytes: need, Resumed: x.resumed, Way: "rm_backup removes old backups",
	})
}

// hdfsRoot is the root of an HDFS of this shell's configuration, "" where there is none or it is not known.
func hdfsRoot(env commands.Env, service string) string {
	b, found := commands.BlockNamed(env, service)
	if _, root, ok := strings.Cut(b.Where, " "); found && b.Type == storage.HDFSType && ok && strings.Trim(root, "/ ") != "" {
		return strings.TrimSpace(root)
	}
	return ""
}

// restartedLately is how long after its start a server makes one think that servers are being restarted.
const restartedLately = 5 * time.Minute

func (x *tableBackup) lookAtNodes(ctx context.Context, note func(string, ...any)) error {
	nodes, err := x.c.Nodes(ctx)
	if err != nil {
		return err
	}
	var dead, young, alive []string
	settled := false
	for _, n := range nodes {
		if !n.Alive {
			dead = append(dead, n.Endpoint)
			continue
		}
		alive = append(alive, n.Endpoint)
	}
	started, err := x.c.StartTimes(ctx, alive)
	if err != nil {
		return err
	}
	for _, n := range alive {
		switch at, known := started[n]; {
		case known && time.Since(at) < restartedLately:
			young = append(young, n)
		case known:
			settled = true
		}
	}
	if len(dead) > 0 {
		note("%s not alive: %s", commands.Plural(len(dead), "node")+" "+are(len(dead)), strings.Join(dead, ", "))
	}
	if len(young) > 0 && settled { // else it is the cluster that has just been started
		note("%s started within the last %s (%s): while servers are being restarted a backup fails", commands.Plural(len(young), "node"), restartedLately, strings.Join(young, ", "))
	}
	level, err := x.c.MetaLevel(ctx)
	if err != nil {
		return err
	}
	if level == "lively" {
		note("the meta level is lively: a partition whose primary is moved meanwhile is uploaded once more")
	}
	return nil
}

func are(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

func (x *tableBackup) lookAtBackups(ctx context.Context, note func(string, ...any)) error {
	list, err := x.c.BackupsOf(ctx, x.app)
	if err != nil {
		return err
	}
	for _, b := range list {
		if b.End.IsZero() && !b.Failed {
			note("backup %d of %s is running, says the meta server: it refuses another one", b.ID, x.app.Name)
		}
	}
	return nil
}

// alreadyRunning refuses to begin one beside another.
func (x *tableBackup) alreadyRunning(list []driver.Backup) error {
	for _, b := range list {
		if b.End.IsZero() && !b.Failed {
			return spec.Errorf(spec.Refused, "backup %d of %s is running since %s", b.ID, x.app.Name, b.Start.UTC().Format(time.RFC3339)).
				WithHint("follow it: backup %s %s --follow %d; one that never ends is forgotten only when another meta server takes the lead", x.app.Name,
					strings.TrimSpace(b.Provider+" "+b.Path), b.ID)
		}
	}
	return nil
}
