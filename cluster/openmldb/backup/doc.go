// Package backup keeps tables of OpenMLDB on a block service, and brings them back. OpenMLDB itself has no backup: rows
// are read with their times by Traverse, partition by partition and index by index, and put back with those times.
//
// A backup of a table is a folder, DB.TABLE (TABLE where it has no database) below the place that the operator names:
//
//	begun.json                      while the backup is being made: which table, since when
//	rows/00003-00000.parquet        rows of partition 3, its first file
//	times/00003-00000.parquet       their times, row by row
//	index-NAME/rows/…, …/times/…    what another index has, where that does not follow from the rows above
//	SHA256SUMS                      of every other file, as sha256sum -c takes it
//	manifest.json                   written last: a folder without it is no backup
//
// # Rows
//
// The files in rows have the table's columns and no other, in their order, under their names, all of them nullable, in the
// types that Spark makes of the table's: BOOLEAN, INT(16), INT(32), INT(64), FLOAT, DOUBLE, DATE, TIMESTAMP(MILLIS, UTC),
// STRING. So LOAD DATA INFILE '…/rows' with format='parquet' takes them. Strings are written as their bytes are, also where
// these are no UTF-8.
//
// A file in times has as many rows as its neighbour: time, the milliseconds that ordered the row in the index it was read
// by; key, only where the key that the index has is not the one made of the row's values; row, only where the values do not
// give the row's own bytes again (a date that is no day, a negative timestamp): then these are they, in the encoding of
// version 1. With them nothing that a tablet answered is lost.
//
// # Indexes
//
// A row of OpenMLDB is as often there as the table has indexes. One may have lost it by its TTL or by a delete where others
// have it, and an index without a time column orders rows by the time of the put, which the others do not tell. Therefore
// every index is read. The first to be read is the one that rows stay in longest (Manifest.ReadBy): it gives rows/. What
// the rows are in the other indexes follows from them, as long as nothing was lost: this is known by a Sum of what follows
// and of what was read, for every partition of every other index. Where the sums differ, the partition is stored by itself
// (Own), and when rows are restored they are put into that index from there, and nowhere else. So each index has in the end
// the rows it had.
//
// A Sum adds up a 128-bit hash of key, time and bytes of every row: neither order nor partitions matter to it. The manifest
// has the sum of every index, with which a restored table can be compared without the old one.
//
// # The same bytes
//
// A partition's files are cut where so many bytes of rows are reached, between two times of a key, whatever the answers of
// tablets were; a file that was begun is begun anew. The order of rows is the tablets' own. So the same table gives the same
// files, whatever interrupted the work, on whichever replica it read: only the times in the manifest differ. While rows are
// written the files are what each partition was like when it was read; there is no one moment for all of them.
//
// Whatever is found in such a folder is hostile until proven: the manifest is read up to a limit, the paths are those made
// of its numbers, a file is read whole, and compared with its SHA-256, before a row of it is looked at.
package backup
