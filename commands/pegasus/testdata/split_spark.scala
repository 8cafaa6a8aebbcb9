// Turns the rows of single in backup 1742888751127, begun 2025-03-25T07:45:51Z, into the input of a bulk load for
// TableB of cluster onebox2, whose id is 7 and which has 8 partitions.
//
// It is written for Pegasus-spark 1.1-SNAPSHOT, its modules pegasus-spark-analyser and pegasus-spark-bulkloader as of
// commit 7593542, which are built for Scala 2.11 and Spark 2, and for the rocksdbjni that they name, which knows HDFS.
//
//   scalac -classpath "$JARS" -d job.jar job.scala      # the jars of Spark and of both modules
//   spark-submit --class SplitBackup --jars "$MODULES" job.jar
//
// Before: verify_backup, since the library compares no file with its MD5. The driver and every executor must reach the
// name node, by Hadoop's own configuration where only a name is given. What is at the place of the output is removed.
// After: fs ls shows the output, which is complete when the job has ended without an error; start_bulk_load takes it.
//
// The library would take some things otherwise, and this program sees to them:
//   - it looks for a backup by its day, in the time zone of the driver, and takes the first: the day is made to begin
//     with this backup;
//   - it reads rows that are expired, and rows that a split of partitions left behind: both are left out;
//   - it would begin each time to live anew, and leave out when a row was written: values are copied as they are stored;
//   - it orders keys by signed bytes, which RocksDB refuses: they are sorted here by unsigned ones;
//   - it fails where a partition gets no row: such a partition gets one that is expired;
//   - it lists what an attempt left that failed: each attempt begins with an empty folder.

import java.nio.ByteBuffer
import java.text.SimpleDateFormat
import java.util.{Date, SimpleTimeZone, TimeZone}

import com.xiaomi.infra.pegasus.spark.HDFSConfig
import com.xiaomi.infra.pegasus.spark.analyser.{ColdBackupConfig, PegasusContext}
import com.xiaomi.infra.pegasus.spark.bulkloader.{BulkLoaderConfig, PegasusHashPartitioner, PegasusKey, PegasusRecord, PegasusRecordRDD, PegasusValue}
import com.xiaomi.infra.pegasus.spark.utils.KeyHasher
import org.apache.spark.{SparkConf, SparkContext}

// Sorts keys as RocksDB does.
class KeyOrder extends Ordering[PegasusKey] {
  override def compare(a: PegasusKey, b: PegasusKey): Int = {
    val (x, y) = (a.data, b.data)
    var i = 0
    while (i < x.length && i < y.length) {
      if (x(i) != y(i)) return (x(i) & 0xff) - (y(i) & 0xff)
      i += 1
    }
    x.length - y.length
  }
}

// Equals the library's own, so that it does not move again what is sorted.
class SortedPartitioner(count: Int) extends PegasusHashPartitioner(count) {
  override def equals(other: Any): Boolean = other match {
    case p: PegasusHashPartitioner => p.num == count
    case _ => false
  }
  override def hashCode: Int = count
}

object SplitBackup {
  def main(args: Array[String]): Unit = {
    val context = SparkContext.getOrCreate(
      new SparkConf().setAppName("split backup 1742888751127 of single").set("spark.speculation", "false"))

    val backup = new ColdBackupConfig(new HDFSConfig("hdfs://zjyprc-hadoop"), "pegasus/backup/onebox", "single")
      .setPolicyName("nightly")
    val begun = 1742888751127L
    val zone = TimeZone.getDefault
    TimeZone.setDefault(new SimpleTimeZone(-(begun % 86400000L).toInt, "backup"))
    val stored = try {
      backup.setColdBackupTime(new SimpleDateFormat("yyyy-MM-dd").format(new Date(begun)))
      new PegasusContext(context).pegasusSnapshotRDD(backup)
    } finally TimeZone.setDefault(zone)

    val count = 8
    val root = "/load"
    val output = new BulkLoaderConfig(new HDFSConfig("hdfs://nn.c4", "8020"), "onebox2", "TableB")
      .setTableId(7)
      .setTablePartitionCount(count)
      .setDataPathRoot(root)
      .setAdvancedConfig(new BulkLoaderConfig.AdvancedConfig().enableDistinct(false).enableSort(false))
    val table = output.getRemoteFileSystemURL + root + "/" + output.getClusterName + "/" + output.getTableName

    val sources = stored.getPartitionCount
    val epoch = 1451606400L // of times to live: 2016-01-01, in Unix seconds
    val now = System.currentTimeMillis / 1000 - epoch
    val tag = 8 // bytes of a value before its data: when it was written

    implicit val order: Ordering[PegasusKey] = new KeyOrder
    val rows = stored
      .mapPartitionsWithIndex((partition, all) => all.flatMap(row => {
        val key = PegasusRecord.createV1(row.hashKey, row.sortKey, Array[Byte]())._1
        val expires = row.expireTs & 0xffffffffL
        val wanted = (expires == 0 || expires > now) &&
          KeyHasher.getPartitionIndex(key.data, sources) == partition &&
          row.hashKey.startsWith(Array[Byte](117, 115, 101, 114, 95)) &&
          row.value.drop(tag).containsSlice(Array[Byte](101, -1))
        if (wanted) Some((key, PegasusValue(ByteBuffer.allocate(4 + row.value.length).putInt(row.expireTs).put(row.value).array)))
        else None
      }))
      .repartitionAndSortWithinPartitions(new SortedPartitioner(count))
      .mapPartitionsWithIndex((partition, sorted) => {
        output.getRemoteFileSystem.delete(table + "/" + partition, true)
        if (sorted.hasNext) sorted
        else Iterator((unused(partition, count), PegasusValue(ByteBuffer.allocate(4 + tag).putInt(1).array)))
      }, preservesPartitioning = true)
    new PegasusRecordRDD(rows).saveAsPegasusFile(output)
  }

  // A key of nobody that belongs to a partition.
  private def unused(partition: Int, count: Int): PegasusKey =
    Iterator.from(0)
      .map(i => PegasusRecord.createV1(("shardsh.empty." + i).getBytes("UTF-8"), Array[Byte](), Array[Byte]())._1)
      .find(key => KeyHasher.getPartitionIndex(key.data, count) == partition)
      .get
}
