package storage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	client "github.com/colinmarc/hdfs/v2"

	"shardsh/commands/spec"
)

// RoomOf asks a service for the room below a directory. One that cannot tell is Unable.
func RoomOf(ctx context.Context, s Service, dir string) (Room, error) {
	if r, ok := s.(Roomy); ok {
		return r.Room(ctx, dir)
	}
	return Room{}, &spec.Error{Kind: spec.Unable, Op: askRoom, Endpoint: s.Name(), Err: fmt.Errorf("%s has no call that tells it", s.Type())}
}

const askRoom = "ask for the free room"

var (
	_ Roomy = (*local)(nil)
	_ Roomy = (*hdfsService)(nil)
)

// Room implements Roomy: what the file system tells that holds the directory. What of it is kept for root is not free.
func (l *local) Room(ctx context.Context, dir string) (Room, error) {
	p, err := clean(dir)
	if err != nil {
		return Room{}, err
	}
	if err := ctx.Err(); err != nil {
		return Room{}, l.fail(askRoom, err)
	}
	ctx, cancel := context.WithTimeout(ctx, l.config.timeout())
	defer cancel()
	r, err := await(ctx, func() (Room, error) { // which a file system of the network may hold for ever
		free, total, err := nearestRoom(filepath.Join(l.dir, filepath.FromSlash(p)))
		return Room{Free: atMost(free, 1), Total: atMost(total, 1), Copies: 1}, err
	})
	if err != nil {
		return Room{}, l.fail(askRoom, cmp.Or(ctx.Err(), err))
	}
	return r, nil
}

// nearestRoom asks for a directory, and for those above it while there is none.
func nearestRoom(dir string) (free, total uint64, err error) {
	for {
		free, total, err = diskRoom(dir)
		above := filepath.Dir(dir)
		if !errors.Is(err, fs.ErrNotExist) || above == dir {
			return free, total, err
		}
		dir = above
	}
}

// atMost is a number of bytes of which each is stored a few times.
func atMost(bytes uint64, copies int) int64 { return int64(min(bytes/uint64(copies), math.MaxInt64)) }

// Room implements Roomy: what all datanodes have left, or less where a directory has a quota. Both count every replica.
// A quota of the whole HDFS, or of storage types, is not looked at.
func (h *hdfsService) Room(ctx context.Context, dir string) (Room, error) {
	p, err := clean(dir)
	if err != nil {
		return Room{}, err
	}
	var disks client.FsInfo
	copies := 1
	err = h.do(ctx, func(c *client.Client) error {
		d, err := c.ServerDefaults()
		if err != nil {
			return err
		}
		copies = h.copies(d.Replication)
		disks, err = c.StatFs()
		return err
	})
	if err != nil {
		return Room{}, h.fail(askRoom, err)
	}
	r := Room{Free: atMost(disks.Remaining, copies), Total: atMost(disks.Capacity, copies), Copies: copies}
	for _, at := range quotaPlaces(h.root, h.at(p)) {
		if err := h.withinQuota(ctx, at, &r); err != nil {
			if ctx.Err() != nil {
				return Room{}, h.fail(askRoom, ctx.Err())
			}
			r.Unsure = fmt.Sprintf("whether %s has a quota is not known: %v", at, short(plainly(err)))
			break
		}
	}
	return r, nil
}

// copies is how often files will be stored. What servers write, they write as their hdfs-site.xml says, which this
// machine's may be a copy of; what this machine writes has the namenode's default. The larger one is safe for both.
func (h *hdfsService) copies(byDefault int) int {
	own, err := strconv.Atoi(h.pool.place.conf["dfs.replication"])
	if err != nil {
		own = 1
	}
	return max(own, byDefault, 1)
}

// quotaPlaces are the directories whose quota may bound a place, the deepest first: itself, and those above it. A namenode
// counts all that is below a directory to answer, so the ones below the root are spared, which may hold all there is; one
// of them that is the place or the service's root is not.
func quotaPlaces(root, place string) []string {
	var all []string
	for at := place; at != "/"; at = path.Dir(at) {
		if strings.Count(at, "/") > 1 || at == place || at == root {
			all = append(all, at)
		}
	}
	return all
}

// withinQuota lowers room to what the quota of a directory leaves. One that is not there has none.
func (h *hdfsService) withinQuota(ctx context.Context, dir string, r *Room) error {
	var sum *client.ContentSummary
	err := h.do(ctx, func(c *client.Client) error {
		var err error
		sum, err = c.GetContentSummary(dir)
		return err
	})
	switch {
	case err != nil && h.reason(err) == NoFile:
		return nil
	case err != nil:
		return err
	}
	quota := sum.SpaceQuota()
	if quota < 0 || quota == math.MaxInt64 { // HdfsConstants.QUOTA_RESET and QUOTA_DONT_SET: there is none
		return nil
	}
	if free := max(quota-sum.SizeAfterReplication(), 0) / int64(r.Copies); free < r.Free {
		r.Free, r.Total, r.Bound = free, quota/int64(r.Copies), "the quota of "+dir
	}
	return nil
}
