import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintWriter;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.hdfs.DistributedFileSystem;
import org.apache.hadoop.hdfs.HdfsConfiguration;
import org.apache.hadoop.hdfs.MiniDFSCluster;
import org.apache.hadoop.hdfs.MiniDFSNNTopology;
import org.apache.hadoop.hdfs.protocol.HdfsConstants;
import org.apache.hadoop.hdfs.protocol.HdfsConstants.SafeModeAction;
import org.apache.hadoop.security.UserGroupInformation;

/**
 * Two namenodes, the first of them active, and datanodes, all on loopback. MiniHdfs DIR READY DATANODES writes three words
 * to the file READY when they answer: host:port of the two namenodes, and of where it is steered. That takes a command a
 * line and answers each with a line, "ok" or why not: "stop N" breaks the connections of datanode N and ends it, "start N"
 * starts it again; "down" and "up" do so to the active namenode; "failover" makes the other one active; "safemode on|off";
 * "quota PATH BYTES" bounds a directory, 0 ends that; "own PATH USER" gives it away; "mode PATH OCTAL" says who may do what;
 * "holds N BYTES" is ok when datanode N stores as much.
 *
 * A fourth argument is a file of Hadoop's configuration, which comes on top of what is set here. When it wants Kerberos, all
 * servers are the one principal of the namenodes: a process logs in once. In shardsh.protections it has the
 * dfs.data.transfer.protection of each datanode, and behind a colon the suite of ciphers that it agrees on.
 */
public class MiniHdfs {
  static MiniDFSCluster cluster;
  static int active = 0;
  static final Map<Integer, MiniDFSCluster.DataNodeProperties> stopped = new HashMap<>();
  static final List<String> names = new ArrayList<>();

  public static void main(String[] a) throws Exception {
    var c = new HdfsConfiguration();
    c.set(MiniDFSCluster.HDFS_MINIDFS_BASEDIR, a[0]);
    c.set("dfs.blocksize", "1048576");
    c.set("dfs.namenode.fs-limits.min-block-size", "4096");
    c.set("dfs.replication", "2");
    c.set("dfs.permissions.enabled", "true");
    // A datanode that is silent for 2 × 500 ms + 10 × 1 s is dead.
    c.set("dfs.heartbeat.interval", "1");
    c.set("dfs.namenode.heartbeat.recheck-interval", "500");
    c.set("dfs.ha.tail-edits.period", "1");
    var builder = new MiniDFSCluster.Builder(c).numDataNodes(Integer.parseInt(a[2])).format(true)
        .nnTopology(MiniDFSNNTopology.simpleHATopology());
    if (a.length > 3) {
      var more = new Configuration(false);
      more.addResource(new org.apache.hadoop.fs.Path(a[3]));
      for (var e : more) c.set(e.getKey(), e.getValue());
      UserGroupInformation.setConfiguration(c);
      UserGroupInformation.loginUserFromKeytab(
          c.get("dfs.namenode.kerberos.principal"), c.get("dfs.namenode.keytab.file"));
      builder.dataNodeConfOverlays(overlays(c.getStrings("shardsh.protections")));
    }
    cluster = builder.build();
    cluster.transitionToActive(0);
    cluster.waitActive(0);
    for (var d : cluster.getDataNodes()) names.add(d.getDisplayName());
    var socket = new ServerSocket(0, 10, InetAddress.getByName("127.0.0.1"));
    Path t = Path.of(a[1] + ".tmp");
    Files.writeString(t, "127.0.0.1:" + cluster.getNameNodePort(0) + " 127.0.0.1:" + cluster.getNameNodePort(1)
        + " 127.0.0.1:" + socket.getLocalPort() + "\n");
    Files.move(t, Path.of(a[1]), StandardCopyOption.ATOMIC_MOVE);
    while (true) {
      try (var s = socket.accept()) {
        var in = new BufferedReader(new InputStreamReader(s.getInputStream()));
        var out = new PrintWriter(s.getOutputStream(), true);
        for (String line; (line = in.readLine()) != null; ) out.println(steer(line.split(" ")));
      }
    }
  }

  static Configuration[] overlays(String[] protections) {
    var all = new Configuration[protections.length];
    for (int i = 0; i < all.length; i++) {
      all[i] = new Configuration(false);
      var protection = protections[i].split(":");
      all[i].set("dfs.data.transfer.protection", protection[0]);
      if (protection.length > 1) all[i].set("dfs.encrypt.data.transfer.cipher.suites", protection[1]);
    }
    return all;
  }

  static String steer(String[] word) {
    try {
      switch (word[0]) {
        case "stop" -> stopped.put(Integer.parseInt(word[1]), cluster.stopDataNode(names.get(Integer.parseInt(word[1]))));
        case "start" -> {
          cluster.restartDataNode(stopped.remove(Integer.parseInt(word[1])), true);
          cluster.waitActive(active);
        }
        case "down" -> cluster.shutdownNameNode(active);
        case "up" -> {
          cluster.restartNameNode(active, false);
          cluster.transitionToActive(active);
          cluster.waitActive(active);
        }
        case "failover" -> {
          cluster.transitionToStandby(active);
          active = 1 - active;
          cluster.transitionToActive(active);
          cluster.waitActive(active);
        }
        case "safemode" -> cluster.getNameNodeRpc(active).setSafeMode(
            word[1].equals("on") ? SafeModeAction.SAFEMODE_ENTER : SafeModeAction.SAFEMODE_LEAVE, false);
        case "quota" -> {
          var bytes = Long.parseLong(word[2]);
          files().mkdirs(new org.apache.hadoop.fs.Path(word[1]));
          files().setQuota(new org.apache.hadoop.fs.Path(word[1]), HdfsConstants.QUOTA_DONT_SET,
              bytes == 0 ? HdfsConstants.QUOTA_RESET : bytes);
        }
        case "mode" -> files().setPermission(new org.apache.hadoop.fs.Path(word[1]),
            new org.apache.hadoop.fs.permission.FsPermission(word[2]));
        case "own" -> {
          files().mkdirs(new org.apache.hadoop.fs.Path(word[1]));
          files().setOwner(new org.apache.hadoop.fs.Path(word[1]), word[2], word[2]);
        }
        case "holds" -> {
          var used = cluster.getDataNodes().get(Integer.parseInt(word[1])).getFSDataset().getDfsUsed();
          if (used < Long.parseLong(word[2])) return "it stores " + used + " bytes";
        }
        default -> throw new IllegalArgumentException(word[0]);
      }
      return "ok";
    } catch (Throwable e) {
      return e.toString().replace('\n', ' ');
    }
  }

  static DistributedFileSystem files() throws Exception { return cluster.getFileSystem(active); }
}
