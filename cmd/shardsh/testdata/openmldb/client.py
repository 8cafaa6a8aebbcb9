"""Does with OpenMLDB's own SDK what it is told, a line of JSON each, and answers each with a line of JSON.

{"sql": S, "db": D}                       a statement
{"insert": S, "db": D}                    an INSERT, whose rows the SDK puts on the tablets itself
{"scan": T, "db": D, "index": I, "key": K}  the rows under a key of an index (else the first), newest first
{"databases": true}, {"tables": D}

Answers are {"rows": [[text or null, ...], ...]} or {"error": text}.
"""

import json
import os
import sys

from native import sql_router_sdk as sdk

# The native part writes to standard output, which is for answers.
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)


def rows(result):
    all = []
    columns = result.GetSchema().GetColumnCnt()
    while result.Next():
        all.append([None if result.IsNULL(i) else result.GetAsStringUnsafe(i) for i in range(columns)])
    return all


def do(router, q):
    status = sdk.Status()
    all = []
    if "databases" in q:
        names = sdk.VectorString()
        router.ShowDB(names, status)
        all = [[name] for name in names]
    elif "tables" in q:
        all = [[name] for name in router.GetTableNames(q["tables"])]
    elif "insert" in q:
        router.ExecuteInsert(q["db"], q["insert"], status)
    elif "scan" in q:
        option = sdk.ScanOption()
        option.idx_name = q.get("index", "")
        result = router.GetTableReader().Scan(q["db"], q["scan"], q["key"], 0, 0, option, status)
        if result:
            all = rows(result)
    else:
        result = router.ExecuteSQL(q["db"], q["sql"], status)
        if status.IsOK() and result:
            all = rows(result)
    if not status.IsOK():
        return {"error": status.ToString()}
    return {"rows": all}


def main(cluster, path, user, password):
    options = sdk.SQLRouterOptions()
    options.zk_cluster, options.zk_path = cluster, path
    options.user, options.password = user, password
    options.request_timeout = 10000
    options.zk_log_level, options.glog_level = 1, 2
    router = sdk.NewClusterSQLRouter(options)
    print(json.dumps({"rows": []} if router else {"error": "no connection"}), file=answers, flush=True)
    for line in sys.stdin if router else ():
        print(json.dumps(do(router, json.loads(line))), file=answers, flush=True)


main(*sys.argv[1:])
