// Drives the real RocksDB for the tests of cluster/pegasus/rocksdb. Rows come in on standard input and go out on standard
// output as: one byte of kind, u32 length and bytes of the key, u32 length and bytes of the value, little-endian.
//
//   table FILE VERSION COMPRESSION CHECKSUM LAYOUT     one table by SstFileWriter
//   dump FILE                                          its rows, after VerifyChecksum
//   db DIR OUT VERSION COMPRESSION CHECKSUM LAYOUT     plays changes, and makes a checkpoint OUT
//   open DIR ro|rw|prefix                              opens a directory, works on it, answers its rows
//   ingest DIR normal|behind FILE...                   ingests tables over what comes in, answers the rows
//   options DIR                                        the column families by its OPTIONS file
//
// Kinds: P put, D delete, S single delete, R delete a range, M put into pegasus_meta_cf, F flush, C compact, I ingest the
// file named by the key, J the same behind what is there.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <string>
#include <vector>

#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/options.h>
#include <rocksdb/slice_transform.h>
#include <rocksdb/sst_file_reader.h>
#include <rocksdb/sst_file_writer.h>
#include <rocksdb/statistics.h>
#include <rocksdb/table.h>
#include <rocksdb/utilities/checkpoint.h>
#include <rocksdb/utilities/options_util.h>

using namespace rocksdb;

static void check(const Status &s, const char *what) {
    if (!s.ok()) {
        fprintf(stderr, "%s: %s\n", what, s.ToString().c_str());
        exit(1);
    }
}

struct Row {
    char kind;
    std::string key, value;
};

static bool text(std::string *s) {
    uint32_t n;
    if (fread(&n, 4, 1, stdin) != 1) return false;
    s->resize(n);
    return n == 0 || fread(&(*s)[0], n, 1, stdin) == 1;
}

static bool next(Row *r) {
    int c = getchar();
    if (c == EOF) return false;
    r->kind = char(c);
    if (!text(&r->key) || !text(&r->value)) {
        fprintf(stderr, "the input is cut short\n");
        exit(1);
    }
    return true;
}

static void put(char kind, const Slice &key, const Slice &value) {
    uint32_t k = uint32_t(key.size()), v = uint32_t(value.size());
    putchar(kind);
    fwrite(&k, 4, 1, stdout);
    fwrite(key.data(), 1, k, stdout);
    fwrite(&v, 4, 1, stdout);
    fwrite(value.data(), 1, v, stdout);
}

struct HashKeys : public SliceTransform {
    const char *Name() const override { return "pegasus.HashkeyTransform"; }
    Slice Transform(const Slice &s) const override {
        size_t n = 2 + (size_t(uint8_t(s[0])) << 8) + uint8_t(s[1]);
        return Slice(s.data(), n < s.size() ? n : s.size());
    }
    bool InDomain(const Slice &s) const override { return s.size() >= 2; }
};

static CompressionType compression(const std::string &name) {
    if (name == "none") return kNoCompression;
    if (name == "snappy") return kSnappyCompression;
    if (name == "zlib") return kZlibCompression;
    if (name == "lz4") return kLZ4Compression;
    if (name == "lz4hc") return kLZ4HCCompression;
    if (name == "zstd") return kZSTD;
    fprintf(stderr, "no compression %s\n", name.c_str());
    exit(2);
}

static ChecksumType checksum(const std::string &name) {
    if (name == "none") return kNoChecksum;
    if (name == "crc32c") return kCRC32c;
    if (name == "xxhash") return kxxHash;
    if (name == "xxhash64") return kxxHash64;
    if (name == "xxh3") return kXXH3;
    fprintf(stderr, "no checksum %s\n", name.c_str());
    exit(2);
}

// options for VERSION COMPRESSION CHECKSUM LAYOUT
static Options tables(char **a) {
    Options o;
    o.create_if_missing = true;
    o.create_missing_column_families = true;
    o.paranoid_checks = true;
    o.num_levels = 6;
    o.disable_auto_compactions = true;
    o.compression = compression(a[1]);
    BlockBasedTableOptions t;
    t.format_version = uint32_t(atoi(a[0]));
    t.checksum = checksum(a[2]);
    t.block_size = 1024;
    std::string layout = a[3];
    if (layout == "hash") t.data_block_index_type = BlockBasedTableOptions::kDataBlockBinaryAndHash;
    if (layout == "bloom") t.filter_policy.reset(NewBloomFilterPolicy(10, false));
    if (layout == "first") t.index_type = BlockBasedTableOptions::kBinarySearchWithFirstKey;
    if (layout == "two") {
        t.index_type = BlockBasedTableOptions::kTwoLevelIndexSearch;
        t.partition_filters = true;
        t.metadata_block_size = 256;
        t.filter_policy.reset(NewBloomFilterPolicy(10, false));
    }
    if (layout == "deltas" || layout == "two" || layout == "first") t.index_block_restart_interval = 8;
    o.table_factory.reset(NewBlockBasedTableFactory(t));
    return o;
}

static int table(int, char **a) {
    Options o = tables(a + 1);
    SstFileWriter w(EnvOptions(), o);
    check(w.Open(a[0]), "open");
    for (Row r; next(&r);) {
        switch (r.kind) {
        case 'P': check(w.Put(r.key, r.value), "put"); break;
        case 'D': check(w.Delete(r.key), "delete"); break;
        case 'M': check(w.Merge(r.key, r.value), "merge"); break;
        case 'R': check(w.DeleteRange(r.key, r.value), "delete range"); break;
        default: return 2;
        }
    }
    check(w.Finish(), "finish");
    return 0;
}

static int dump(int, char **a) {
    SstFileReader r((Options()));
    check(r.Open(a[0]), "open");
    check(r.VerifyChecksum(), "verify");
    std::unique_ptr<Iterator> it(r.NewIterator(ReadOptions()));
    for (it->SeekToFirst(); it->Valid(); it->Next()) put('P', it->key(), it->value());
    check(it->status(), "iterate");
    return 0;
}

struct Database {
    DB *db = nullptr;
    std::vector<ColumnFamilyHandle *> family;

    void open(const Options &o, const std::string &dir) {
        std::vector<ColumnFamilyDescriptor> d{{kDefaultColumnFamilyName, o}, {"pegasus_meta_cf", o}};
        check(DB::Open(o, dir, d, &family, &db), "open");
    }
    void openReadOnly(const Options &o, const std::string &dir) {
        std::vector<ColumnFamilyDescriptor> d{{kDefaultColumnFamilyName, o}, {"pegasus_meta_cf", o}};
        check(DB::OpenForReadOnly(o, dir, d, &family, &db), "open read-only");
    }
    void ingest(const std::vector<std::string> &files, bool behind) {
        IngestExternalFileOptions i;
        i.ingest_behind = behind;
        i.write_global_seqno = false;
        i.verify_checksums_before_ingest = true;
        check(db->IngestExternalFile(family[0], files, i), "ingest");
    }
    void flush() {
        for (auto *f : family) check(db->Flush(FlushOptions(), f), "flush");
    }
    void compact() {
        CompactRangeOptions c;
        c.bottommost_level_compaction = BottommostLevelCompaction::kForceOptimized;
        for (auto *f : family) check(db->CompactRange(c, f, nullptr, nullptr), "compact");
    }
    void play() {
        WriteOptions w;
        for (Row r; next(&r);) {
            switch (r.kind) {
            case 'P': check(db->Put(w, family[0], r.key, r.value), "put"); break;
            case 'D': check(db->Delete(w, family[0], r.key), "delete"); break;
            case 'S': check(db->SingleDelete(w, family[0], r.key), "single delete"); break;
            case 'R': check(db->DeleteRange(w, family[0], r.key, r.value), "delete range"); break;
            case 'M': check(db->Put(w, family[1], r.key, r.value), "put"); break;
            case 'F': flush(); break;
            case 'C': compact(); break;
            case 'I': ingest({r.key}, false); break;
            case 'J': ingest({r.key}, true); break;
            default: exit(2);
            }
        }
    }
    void rows() {
        for (int i = 0; i < 2; i++) {
            ReadOptions o;
            o.total_order_seek = true;
            std::unique_ptr<Iterator> it(db->NewIterator(o, family[i]));
            for (it->SeekToFirst(); it->Valid(); it->Next()) put(i ? 'M' : 'P', it->key(), it->value());
            check(it->status(), "iterate");
        }
    }
    ~Database() {
        for (auto *f : family) db->DestroyColumnFamilyHandle(f);
        delete db;
    }
};

static int db(int, char **a) {
    Options o = tables(a + 2);
    Database d;
    d.open(o, a[0]);
    d.play();
    d.flush();
    Checkpoint *c;
    check(Checkpoint::Create(d.db, &c), "checkpoint");
    check(c->CreateCheckpoint(a[1]), "checkpoint");
    delete c;
    d.rows();
    return 0;
}

// prefix finds every row by its hash key, and answers for how many of 1000 absent keys a filter said so.
static void prefix(Database *d, const Options &o) {
    std::string value;
    std::unique_ptr<Iterator> it(d->db->NewIterator(ReadOptions(), d->family[0]));
    ReadOptions total;
    total.total_order_seek = true;
    std::unique_ptr<Iterator> all(d->db->NewIterator(total, d->family[0]));
    for (all->SeekToFirst(); all->Valid(); all->Next()) {
        check(d->db->Get(ReadOptions(), d->family[0], all->key(), &value), "get");
        it->Seek(all->key());
        if (!it->Valid() || it->key() != all->key()) check(Status::Corruption("a prefix is not found"), "seek");
    }
    o.statistics->Reset();
    for (int i = 0; i < 1000; i++) {
        std::string key = "user00" + std::to_string(i % 4) + "x" + std::to_string(10 + i % 90); // between keys that are there
        key = std::string("\0", 1) + char(key.size()) + key + "sort";
        if (!d->db->Get(ReadOptions(), d->family[0], key, &value).IsNotFound()) check(Status::Corruption("found"), "get");
    }
    std::string asked = std::to_string(o.statistics->getTickerCount(BLOOM_FILTER_USEFUL));
    put('U', asked, "");
}

static int open(int, char **a) {
    std::string mode = a[1];
    Options o;
    o.num_levels = 6;
    o.paranoid_checks = true;
    o.force_consistency_checks = true;
    Database d;
    if (mode == "prefix") {
        o.prefix_extractor.reset(new HashKeys);
        o.statistics = CreateDBStatistics();
        BlockBasedTableOptions t;
        t.whole_key_filtering = false;
        t.filter_policy.reset(NewBloomFilterPolicy(10, false));
        o.table_factory.reset(NewBlockBasedTableFactory(t));
    }
    if (mode == "ro") {
        d.openReadOnly(o, a[0]);
    } else {
        d.open(o, a[0]);
    }
    check(d.db->VerifyChecksum(), "verify");
    if (mode == "prefix") prefix(&d, o);
    if (mode == "rw") {
        check(d.db->Put(WriteOptions(), d.family[0], "\xff\xfelater", "later"), "put");
        d.flush();
        d.compact();
        check(d.db->VerifyChecksum(), "verify");
        std::string value;
        check(d.db->Get(ReadOptions(), d.family[0], "\xff\xfelater", &value), "get");
        check(d.db->Delete(WriteOptions(), d.family[0], "\xff\xfelater"), "delete");
        d.compact();
    }
    d.rows();
    return 0;
}

static int ingest(int n, char **a) {
    Options o;
    o.create_if_missing = true;
    o.create_missing_column_families = true;
    o.num_levels = 6;
    bool behind = !strcmp(a[1], "behind");
    o.allow_ingest_behind = behind;
    Database d;
    d.open(o, a[0]);
    d.play();
    d.ingest(std::vector<std::string>(a + 2, a + n), behind);
    check(d.db->VerifyChecksum(), "verify");
    d.compact();
    check(d.db->VerifyChecksum(), "verify");
    d.rows();
    return 0;
}

static int options(int, char **a) {
    ConfigOptions c;
    DBOptions o;
    std::vector<ColumnFamilyDescriptor> families;
    check(LoadLatestOptions(c, a[0], &o, &families), "options");
    for (auto &f : families) put('O', f.name, std::to_string(f.options.num_levels) + " " + std::to_string(int(f.options.compression)));
    return 0;
}

int main(int n, char **a) {
    struct {
        const char *name;
        int least;
        int (*run)(int, char **);
    } commands[] = {{"table", 5, table}, {"dump", 1, dump}, {"db", 6, db}, {"open", 2, open}, {"ingest", 3, ingest}, {"options", 1, options}};
    for (auto &c : commands)
        if (n > 1 && !strcmp(a[1], c.name) && n - 2 >= c.least) return c.run(n - 2, a + 2);
    fprintf(stderr, "usage: rocksdb table|dump|db|open|ingest|options ...\n");
    return 2;
}
