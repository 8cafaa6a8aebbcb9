package pegasus

import (
	"encoding/json"
	"slices"
	"strings"
)

// CommandReads says whether a remote command changes nothing. Settings are read when no argument is given.
func CommandReads(command string, args []string) bool {
	return slices.Contains(readingCommands, command) || len(args) == 0 && (command == "config-dump" || isSetting(command))
}

// CommandRole is the role of the servers that have a remote command, "" when both have it, or nobody knows.
func CommandRole(command string) string {
	switch prefix, _, _ := strings.Cut(command, "."); prefix {
	case "meta", "fd":
		return RoleMeta
	case "replica", "nfs":
		return RoleReplica
	}
	return ""
}

// CommandMild says whether what a remote command changes puts nobody's availability at stake.
func CommandMild(command string) bool {
	return isSetting(command) || slices.Contains([]string{
		"flush-log", "reset-log-start-level", "config-dump", "replica.trigger-checkpoint", "replica.release-tcmalloc-memory",
		"replica.verbose-client-log", "replica.verbose-commit-log", "replica.max-concurrent-bulk-load-downloading-count",
	}, command)
}

// isSetting says whether a remote command reads without an argument and sets with one.
func isSetting(command string) bool {
	return command == "meta.live_percentage" || strings.HasPrefix(command, "nfs.max_") ||
		strings.HasPrefix(command, "meta.lb.") && command != "meta.lb.ignored_app_list"
}

// CommandRefused says whether the text that answers a remote command says that it was not done: commands have no other
// way to say so.
func CommandRefused(text string) bool {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, "ERR") {
		return !strings.HasPrefix(text, "ERR_OK")
	}
	var answer struct {
		Error *string `json:"error"`
	}
	if json.Unmarshal([]byte(text), &answer) == nil && answer.Error != nil { // as after 2.5
		return !strings.EqualFold(*answer.Error, "ok")
	}
	return strings.HasPrefix(text, "invalid arguments") || strings.HasPrefix(text, "unknown command") ||
		strings.HasPrefix(text, "cannot find command")
}
