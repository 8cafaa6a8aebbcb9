package wire

// Calls to the meta server that move replicas.

// ConfigType is a change of a partition's configuration.
type ConfigType int32

// The changes. Those up to ConfigRemove, and ConfigAddSecondaryForLB, can be proposed.
const (
	ConfigInvalid ConfigType = iota
	ConfigAssignPrimary
	ConfigUpgradeToPrimary
	ConfigAddSecondary
	ConfigUpgradeToSecondary
	ConfigDowngradeToSecondary
	ConfigDowngradeToInactive
	ConfigRemove
	ConfigAddSecondaryForLB
	ConfigPrimaryForceUpdateBallot
	ConfigDropPartition
	ConfigRegisterChild
)

// BalanceType says what a list of proposals amounts to; the meta server only logs it.
type BalanceType int32

// The kinds of balancing.
const (
	BalanceMovePrimary BalanceType = iota
	BalanceCopyPrimary
	BalanceCopySecondary
)

// ProposalAction is one change proposed: Target carries it out, Node is whom it is about. An invalid Target means the
// primary of the moment. Releases after 2.5 look at the HP fields first, and at the addresses when they are absent.
type ProposalAction struct {
	Target, Node     Address
	Type             ConfigType
	HPTarget, HPNode *HostPort
}

// BalancerRequest proposes changes of a partition, in order. With Force they are sent to their targets at once, without
// the meta server's own checks.
type BalancerRequest struct {
	PID         GPID
	Actions     []ProposalAction
	Force       *bool
	BalanceType *BalanceType
}

var (
	actionType = structOf("configuration_proposal_action",
		req(1, "target", addressType, func(m *ProposalAction) *Address { return &m.Target }),
		req(2, "node", addressType, func(m *ProposalAction) *Address { return &m.Node }),
		req(3, "type", enumType[ConfigType]("config_type"), func(m *ProposalAction) *ConfigType { return &m.Type }),
		ptr(5, "hp_target", hostPortType, func(m *ProposalAction) **HostPort { return &m.HPTarget }),
		ptr(6, "hp_node", hostPortType, func(m *ProposalAction) **HostPort { return &m.HPNode }),
	)
	balancerType = structOf("configuration_balancer_request",
		req(1, "gpid", gpidType, func(m *BalancerRequest) *GPID { return &m.PID }),
		req(2, "action_list", listOf(actionType), func(m *BalancerRequest) *[]ProposalAction { return &m.Actions }),
		ptr(3, "force", boolType, func(m *BalancerRequest) **bool { return &m.Force }),
		ptr(4, "balance_type", enumType[BalanceType]("balancer_request_type"), func(m *BalancerRequest) **BalanceType { return &m.BalanceType }),
	)
)

// ProposeBalancer answers before anything has happened.
var ProposeBalancer = RPC[BalancerRequest, ErrResponse]{"RPC_CM_PROPOSE_BALANCER", true, false, balancerType, errType}

func placementCalls() []call { return []call{&ProposeBalancer, &DDDDiagnose} }

var configTypeNames = [...]string{
	"INVALID", "ASSIGN_PRIMARY", "UPGRADE_TO_PRIMARY", "ADD_SECONDARY", "UPGRADE_TO_SECONDARY", "DOWNGRADE_TO_SECONDARY",
	"DOWNGRADE_TO_INACTIVE", "REMOVE", "ADD_SECONDARY_FOR_LB", "PRIMARY_FORCE_UPDATE_BALLOT", "DROP_PARTITION",
	"REGISTER_CHILD",
}

func (c ConfigType) String() string { return nameOf(configTypeNames[:], int32(c)) }

// ParseConfigType reads a change by its name without CT_.
func ParseConfigType(text string) (ConfigType, bool) {
	for i, name := range configTypeNames {
		if i > 0 && name == text {
			return ConfigType(i), true
		}
	}
	return 0, false
}

// ParseMetaLevel reads a level by its name.
func ParseMetaLevel(text string) (MetaLevel, bool) {
	for _, level := range []MetaLevel{LevelStopped, LevelBlind, LevelFreezed, LevelSteady, LevelLively} {
		if level.String() == text {
			return level, true
		}
	}
	return 0, false
}
