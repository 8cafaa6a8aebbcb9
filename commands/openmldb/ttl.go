package openmldb

import (
	"fmt"

	driver "shardsh/cluster/openmldb"
)

// ttlText is how operators write a TTL: "0min" for never, "latest 10", or both.
func ttlText(t driver.TTL) string {
	minutes, latest := fmt.Sprintf("%dmin", t.Minutes), fmt.Sprintf("latest %d", t.Versions)
	switch t.Type {
	case "kLatestTime":
		return latest
	case "kAbsAndLat":
		return minutes + " and " + latest
	case "kAbsOrLat":
		return minutes + " or " + latest
	}
	return minutes
}
