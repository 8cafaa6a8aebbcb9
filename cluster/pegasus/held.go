package pegasus

import "context"

// HeldReplica is a replica as the node that holds it sees it: learners and leftovers too, which the meta server's
// configuration does not show.
type HeldReplica struct {
	AppID     int32
	Partition int
	Ballot    int64
	Status    string // "PRIMARY", "SECONDARY", "POTENTIAL_SECONDARY" (a learner), "INACTIVE", …
	// Committed and Prepared are decrees.
	Committed, Prepared int64
	Disk                string // the tag of the disk it is on
}

// HeldReplicas asks one node which replicas it holds.
func (d *Driver) HeldReplicas(ctx context.Context, endpoint string) ([]HeldReplica, error) {
	endpoint, err := parseEndpoint(endpoint)
	if err != nil {
		return nil, err
	}
	list, err := d.replicasOn(ctx, endpoint)
	if err != nil {
		return nil, err
	}
	held := make([]HeldReplica, len(list))
	for i, r := range list {
		held[i] = HeldReplica{
			AppID: r.PID.App, Partition: int(r.PID.Partition), Ballot: r.Ballot, Status: r.Status.String(),
			Committed: r.LastCommitted, Prepared: r.LastPrepared, Disk: r.DiskTag,
		}
	}
	return held, nil
}
