package wire

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
)

func samplePlacement() []sample {
	action := ProposalAction{Target: 0x7f00000187f10001, Node: 0x7f00000187f20001, Type: ConfigAddSecondaryForLB, HPTarget: &someHost, HPNode: &someHost}
	return []sample{
		request(&ProposeBalancer, BalancerRequest{
			PID: GPID{App: 2, Partition: 5}, Actions: []ProposalAction{action, {Type: ConfigDowngradeToInactive}},
			Force: to(true), BalanceType: to(BalanceCopySecondary),
		}),
		response(&ProposeBalancer, ErrResponse{Err: CodeInvalidParameters}),
		request(&DDDDiagnose, DDDRequest{PID: GPID{App: -1, Partition: -1}}),
		response(&DDDDiagnose, DDDResponse{Err: OK, Partitions: []DDDPartition{{
			Config: goldenConfigValue.Configs[0], Reason: "nobody is sure",
			Dropped: []DDDNode{{Node: 0x7f00000187f10001, DropTimeMillis: 1 << 41, Alive: true, Collected: true, Ballot: 4, LastCommitted: 5, LastPrepared: 6, HPNode: &someHost}, {}},
		}}}),
	}
}

// The bytes of move_pri, by hand from the IDL: gpid 2.5, two actions, force absent.
func TestProposalBytes(t *testing.T) {
	want := "0c0001 0000000500000002" + // gpid
		"0f0002 0c00000002" +
		"0c0001 7f00000187f10001 0c0002 7f00000187f10001 080003 00000005 00" +
		"0c0001 7f00000187f20001 0c0002 7f00000187f20001 080003 00000002 00" +
		"080004 00000000 00"
	bytesWanted, err := hex.DecodeString(strings.ReplaceAll(want, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	kind := BalanceMovePrimary
	got := balancerType.Append(nil, &BalancerRequest{
		PID: GPID{App: 2, Partition: 5},
		Actions: []ProposalAction{
			{Target: 0x7f00000187f10001, Node: 0x7f00000187f10001, Type: ConfigDowngradeToSecondary},
			{Target: 0x7f00000187f20001, Node: 0x7f00000187f20001, Type: ConfigUpgradeToPrimary},
		},
		BalanceType: &kind,
	})
	if !bytes.Equal(got, bytesWanted) {
		t.Errorf("% x\nwant\n% x", got, bytesWanted)
	}
}

func TestPlacementNames(t *testing.T) {
	for i := ConfigAssignPrimary; i <= ConfigRegisterChild; i++ {
		if got, ok := ParseConfigType(i.String()); !ok || got != i {
			t.Errorf("%d is %s, which is %d", i, i, got)
		}
	}
	for _, bad := range []string{"INVALID", "CT_REMOVE", "remove", "", "12"} {
		if got, ok := ParseConfigType(bad); ok {
			t.Errorf("%q is %d", bad, got)
		}
	}
	for _, level := range []MetaLevel{LevelStopped, LevelBlind, LevelFreezed, LevelSteady, LevelLively} {
		if got, ok := ParseMetaLevel(level.String()); !ok || got != level {
			t.Errorf("%d is %s, which is %d", level, level, got)
		}
	}
	if _, ok := ParseMetaLevel("frozen"); ok {
		t.Error("frozen is no level")
	}
}
