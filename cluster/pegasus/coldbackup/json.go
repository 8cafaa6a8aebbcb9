package coldbackup

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// The names of files.
const (
	infoFile       = "backup_info"
	metaFolder     = "meta"
	appFile        = "app_metadata"
	currentFile    = "current_checkpoint"
	checkpointFile = "backup_metadata"
	chkptPrefix    = "chkpt_"
)

// Limits of what is read whole, in bytes, and of what is listed.
const (
	maxSmall      = 4 << 10
	maxInfo       = 1 << 20
	maxCheckpoint = 64 << 20
	maxPartitions = 1 << 16
	maxEntries    = 1 << 20
)

// Info is backup_info. A one-time backup has one table, that of a policy several.
type Info struct {
	BackupID int64             `json:"backup_id"`
	StartMS  int64             `json:"start_time_ms"` // Unix milliseconds
	EndMS    int64             `json:"end_time_ms"`   // 0 in one-time backups: the file is written before the end is set
	AppID    int32             `json:"app_id"`
	AppName  string            `json:"app_name"`
	AppIDs   []int32           `json:"app_ids,omitempty"`
	AppNames map[string]string `json:"app_names,omitempty"` // by the id in decimal
}

// ParseInfo reads backup_info.
func ParseInfo(b []byte) (*Info, error) { return parse[Info](b) }

// Flag is a truth value that is written as 0 or 1, and may be false or true.
type Flag bool

// UnmarshalJSON accepts both spellings.
func (f *Flag) UnmarshalJSON(b []byte) error {
	switch string(b) {
	case "0", "false", "null":
		*f = false
	case "1", "true":
		*f = true
	default:
		return fmt.Errorf("%.20q is neither 0 nor 1", b)
	}
	return nil
}

// MarshalJSON writes 0 or 1.
func (f Flag) MarshalJSON() ([]byte, error) {
	if f {
		return []byte("1"), nil
	}
	return []byte("0"), nil
}

// App is app_metadata: the table as it was. Its envs are not in a backup.
type App struct {
	Status             string            `json:"status"`
	Type               string            `json:"app_type"`
	Name               string            `json:"app_name"`
	ID                 int32             `json:"app_id"`
	PartitionCount     int32             `json:"partition_count"`
	Envs               map[string]string `json:"envs"`
	Stateful           Flag              `json:"is_stateful"`
	MaxReplicaCount    int32             `json:"max_replica_count"`
	ExpireSecond       int64             `json:"expire_second"`
	CreateSecond       int64             `json:"create_second"`
	DropSecond         int64             `json:"drop_second"`
	Duplicating        Flag              `json:"duplicating"`
	InitPartitionCount int32             `json:"init_partition_count"`
	BulkLoading        Flag              `json:"is_bulk_loading"`
}

// ParseApp reads app_metadata.
func ParseApp(b []byte) (*App, error) {
	a, err := parse[App](b)
	if err == nil && (a.PartitionCount < 1 || a.PartitionCount > maxPartitions) {
		err = fmt.Errorf("a table of %d partitions", a.PartitionCount)
	}
	return a, err
}

// File is a file as backup_metadata and bulk_load_metadata list it.
type File struct {
	Name string `json:"name"`
	Size int64  `json:"size"` // bytes
	MD5  string `json:"md5"`  // hexadecimal; "" is not checked
}

// Checkpoint is backup_metadata: the files of one partition.
type Checkpoint struct {
	Decree      int64  `json:"checkpoint_decree"`
	TimestampMS int64  `json:"checkpoint_timestamp"` // Unix milliseconds
	Files       []File `json:"files"`
	TotalSize   int64  `json:"checkpoint_total_size"` // bytes
}

// ParseCheckpoint reads backup_metadata, and checks it against itself.
func ParseCheckpoint(b []byte) (*Checkpoint, error) {
	c, err := parse[Checkpoint](b)
	if err == nil {
		err = checkFiles(c.Files, c.TotalSize)
	}
	return c, err
}

// checkFiles makes sure that a list leads nowhere else, names nothing twice, and adds up.
func checkFiles(files []File, total int64) error {
	seen := make(map[string]bool, len(files))
	var sum int64
	for _, f := range files {
		switch {
		case !plainName(f.Name):
			return fmt.Errorf("%q is no file name", f.Name)
		case seen[f.Name]:
			return fmt.Errorf("%s is listed twice", f.Name)
		case f.Size < 0 || f.Size > 1<<50:
			return fmt.Errorf("%s would have %d bytes", f.Name, f.Size)
		case f.MD5 != "" && !isMD5(f.MD5):
			return fmt.Errorf("%s: %.40q is no MD5", f.Name, f.MD5)
		}
		seen[f.Name] = true
		if sum += f.Size; sum < 0 {
			return errors.New("the sizes do not add up")
		}
	}
	if sum != total {
		return fmt.Errorf("the files have %d bytes together, and it says %d", sum, total)
	}
	return nil
}

func plainName(s string) bool {
	return s != "" && s != "." && s != ".." && len(s) <= 255 && !strings.ContainsAny(s, "/\\\x00")
}

func isMD5(s string) bool {
	return len(s) == 32 && strings.Trim(strings.ToLower(s), "0123456789abcdef") == ""
}

// ParseCurrent reads current_checkpoint: the name of a folder.
func ParseCurrent(b []byte) (string, error) {
	name := strings.TrimRight(string(b), "\r\n ")
	if !plainName(name) || !strings.HasPrefix(name, chkptPrefix) {
		return "", fmt.Errorf("%.80q names no checkpoint", b)
	}
	return name, nil
}

func parse[T any](b []byte) (*T, error) {
	v := new(T)
	if err := json.Unmarshal(b, v); err != nil {
		return nil, fmt.Errorf("it is not the JSON it should be: %w", err)
	}
	return v, nil
}
