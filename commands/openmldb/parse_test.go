package openmldb

import (
	"slices"
	"testing"

	driver "shardsh/cluster/openmldb"
	"shardsh/commands/spec"
)

func TestTTL(t *testing.T) {
	for text, want := range map[string]driver.TTL{
		"144000":          {Type: "kAbsoluteTime", Minutes: 144000},
		"0":               {Type: "kAbsoluteTime"},
		"latest:10":       {Type: "kLatestTime", Versions: 10},
		"absandlat:60:10": {Type: "kAbsAndLat", Minutes: 60, Versions: 10},
		"absorlat:60:10":  {Type: "kAbsOrLat", Minutes: 60, Versions: 10},
	} {
		got, err := parseTTLWord(text)
		if err != nil || got != want {
			t.Errorf("%s = %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "-1", "latest", "latest:x", "absandlat:60", "never:1", "latest:1:2"} {
		if got, err := parseTTLWord(text); spec.KindOf(err) != spec.Usage || err == nil {
			t.Errorf("%q = %+v, %v", text, got, err)
		}
	}
	abs := func(minutes uint64) driver.TTL { return driver.TTL{Type: "kAbsoluteTime", Minutes: minutes} }
	for _, tt := range []struct {
		now, before driver.TTL
		want        bool
	}{
		{abs(10), abs(20), true},
		{abs(20), abs(10), false},
		{abs(10), abs(0), true},
		{abs(0), abs(10), false},
		{abs(10), abs(10), false},
		{driver.TTL{Type: "kLatestTime", Versions: 3}, abs(0), true},
		{driver.TTL{Type: "kLatestTime"}, abs(5), false},
	} {
		if got := sooner(tt.now, tt.before); got != tt.want {
			t.Errorf("sooner(%+v, %+v) = %t", tt.now, tt.before, got)
		}
	}
}

func TestPIDs(t *testing.T) {
	for text, want := range map[string][]uint32{"0": {0}, "0,3,5": {0, 3, 5}, "1-3": {1, 2, 3}, "2,1-3,7": {2, 1, 3, 7}} {
		if got, err := parsePIDs(text, 8); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s = %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "8", "3-1", "a", "-1", "1-", "0,,1", "1-9999999999"} {
		if got, err := parsePIDs(text, 8); err == nil {
			t.Errorf("%q = %v", text, got)
		}
	}
}

func TestColumns(t *testing.T) {
	c, role, err := parseColumn("card:string:index")
	if err != nil || c.Name != "card" || c.Type != "string" || role != "index" {
		t.Errorf("%+v, %s, %v", c, role, err)
	}
	for _, text := range []string{"card", "card:blob", "card:int:key", "1card:int", "a:int:ts", "a:b:c:d", ":int"} {
		if c, _, err := parseColumn(text); err == nil {
			t.Errorf("%q = %+v", text, c)
		}
	}
	create := Create(nil)
	want, err := newTable(callOf(create, "db1/visits", "latest:3", "4", "2", "card:string:index", "mcc:int:index", "at:timestamp:ts", "amount:double"))
	if err != nil || want.DB != "db1" || len(want.Columns) != 4 || len(want.Indexes) != 2 || want.Indexes[1].TimeColumn != "at" ||
		want.Indexes[0].TTL.Versions != 3 || want.Partitions != 4 || want.Replicas != 2 {
		t.Errorf("%+v, %v", want, err)
	}
	for _, args := range [][]string{
		{"visits", "0", "1", "1", "card:string"},
		{"visits", "0", "1", "1", "card:string:index", "card:int"},
		{"visits", "0", "1", "1", "card:string:index", "a:bigint:ts", "b:bigint:ts"},
		{"visits", "0", "-1", "1", "card:string:index"},
		{"vis its", "0", "1", "1", "card:string:index"},
	} {
		if got, err := newTable(callOf(create, args...)); err == nil {
			t.Errorf("%q = %+v", args, got)
		}
	}
}
