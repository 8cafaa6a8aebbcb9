package pegasus

import (
	"slices"
	"strings"
	"testing"

	"shardsh/commands/spec"
)

func TestSettings(t *testing.T) {
	for pair, why := range map[string]string{
		"replica.deny_client_request=reconfig*all":                        "",
		"replica.deny_client_request=all":                                 "one of timeout*all",
		"replica.write_throttling=20000*delay*100":                        "",
		"replica.write_throttling=20K*delay*100,30K*reject*200":           "",
		"replica.write_throttling=20000*delay":                            "must be N[K|M]*delay*MS",
		"replica.write_throttling=0*delay*100":                            "must be N",
		"replica.write_throttling=1*delay*1,2*delay*2":                    "must be N",
		"replica.write_throttling=1G*delay*1":                             "must be N",
		"replica.write_throttling=":                                       "must be N",
		"replica.read_throttling_by_size=100M*reject*200":                 "",
		"replica.slow_query_threshold=20":                                 "",
		"replica.slow_query_threshold=19":                                 "a whole number from 20 on",
		"rocksdb.usage_scenario=bulk_load":                                "",
		"rocksdb.usage_scenario=fast":                                     "normal, prefer_write, bulk_load",
		"rocksdb.write_buffer_size=16777216":                              "",
		"rocksdb.write_buffer_size=16777215":                              "from 16777216 to 536870912",
		"rocksdb.write_buffer_size=64M":                                   "whole number",
		"rocksdb.num_levels=10":                                           "",
		"rocksdb.num_levels=0":                                            "from 1 to 10",
		"rocksdb.checkpoint.reserve_min_count=0":                          "from 1 to",
		"default_ttl=2147483647":                                          "",
		"default_ttl=2147483648":                                          "from 0 to",
		"default_ttl=-1":                                                  "from 0 to",
		"business.info=anything at all":                                   "",
		"manual_compact.once.target_level=-1":                             "",
		"manual_compact.once.target_level=0":                              "level from 1",
		"manual_compact.once.bottommost_level_compaction=skip":            "",
		"manual_compact.periodic.bottommost_level_compaction=now":         "force, skip",
		"rocksdb.usage_senario=normal":                                    "did you mean rocksdb.usage_scenario?",
		"replica.write_throttlin=1*delay*1":                               "did you mean replica.write_throttling?",
		"nothing like it=1":                                               "TAB lists",
		"rocksdb.allow_ingest_behind=yes":                                 "true, false",
		"replica.deny_client_request=timeout*all,reconfig*all":            "one of",
		"manual_compact.max_concurrent_running_count=9223372036854775808": "whole number",
	} {
		key, value, _ := strings.Cut(pair, "=")
		err := checkSetting(key, value, false)
		switch {
		case err == nil:
			if why != "" {
				t.Errorf("%s passed", pair)
			}
		case why == "" || spec.KindOf(err) != spec.Usage || !strings.Contains(err.Error()+spec.HintOf(err), why):
			t.Errorf("%s: %v, hint %s", pair, err, spec.HintOf(err))
		}
		if checkSetting(key, value, true) != nil {
			t.Errorf("%s is refused by force", pair)
		}
	}
}

// What completion offers passes, no name is there twice, and every rule says what it wants.
func TestSettingsOffered(t *testing.T) {
	names := settingNames()
	for i, s := range settings {
		if slices.Contains(names[:i], s.name) || s.name == "" {
			t.Errorf("%q is there twice", s.name)
		}
		for _, v := range s.values {
			if checkSetting(s.name, v, false) != nil {
				t.Errorf("%s=%s is offered and refused", s.name, v)
			}
		}
		if (s.must == "") != s.ok("") {
			t.Errorf("%s must be %q", s.name, s.must)
		}
	}
	if got := settingFamilies(); !slices.Equal(got, []string{"replica", "rocksdb", "business", "manual_compact", "replica_access_controller", "duplication"}) {
		t.Error(got)
	}
}

// Nothing is asked of the cluster before names and values have been checked.
func TestSettingsAreCheckedFirst(t *testing.T) {
	f := newFake()
	_, err := f.plan(t, "set_app_envs", nil, "rocksdb.usage_senario", "normal")
	_, err2 := f.plan(t, "create", map[string]string{"envs": "rocksdb.num_levels=11"}, "new")
	if spec.KindOf(err) != spec.Usage || spec.KindOf(err2) != spec.Usage || f.opened != 0 {
		t.Errorf("%v, %v, opened %d times", err, err2, f.opened)
	}
	call := f.call(t, "set_app_envs", nil, "rocksdb.of_the_future", "1")
	call.Force = true
	p, err := call.Command.Change(t.Context(), call)
	if err != nil || len(p.Steps) != 1 {
		t.Fatal(err)
	}
	if err := p.Steps[0].Apply(t.Context(), &report{}); err != nil || f.apps[0].Envs["rocksdb.of_the_future"] != "1" {
		t.Errorf("%v, %v", err, f.apps[0].Envs)
	}
}
