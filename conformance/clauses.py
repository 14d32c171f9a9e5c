"""The clause suite on several runtimes, and the tables of it: `make conformance`.

    clauses.py [--runtimes pyrunc,runc,crun] [--jobs 3]     runs, prints the counts, writes build/conformance/clauses.md
    clauses.py --write                                      the same, and renews conformance/clauses.md

A row per clause of the specification: id, strength, own words, the test or the reason why there is none, and what came out.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import known
import peers
import reasons
import spec

HERE = Path(__file__).resolve().parent
TABLE = HERE / "clauses.md"
NULL = peers.BUILD / "null"  # crun 1.8 gives /dev/null to the container's user: it gets one of its own
HIDE = f"mount --bind {NULL} /dev/null; mount --bind {NULL} /sys/fs/cgroup/unified/cgroup.controllers 2> {NULL}; "
HEAD = """# The clauses of runtime-spec 1.3 and their tests

Written by `conformance/clauses.py --write`. An id is the section's anchor and a number: `conformance/spec.py ID` prints the sentence.
Results: the host of the last run, which is {host}; - means that the clause was not tested there.

"""


def run(peer, file):
    """{clause: row} of one test file on one runtime."""
    out = peers.BUILD / "clauses" / peer.name / f"{file.stem}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.unlink(missing_ok=True)
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rfsxX", str(file)]
    private = ["unshare", "-m", "sh", "-c", (HIDE if peer.hide else "") + 'exec "$@"', "sh"]
    done = subprocess.run([*private, *pytest], env={**os.environ, "PYRUNC": peer.binary, "CLAUSE_RESULTS": str(out)}, cwd=HERE.parent,
                          capture_output=True, text=True, check=False)
    out.with_suffix(".log").write_text(done.stdout + done.stderr)
    return (json.loads(out.read_text()) if out.exists() else {}), done


def results(found, jobs):
    """({runtime: {clause: row}}, [(runtime, file, what pytest printed)] of files in which something failed)"""
    files, rows, failed = sorted(HERE.glob("test_*.py")), {peer.name: {} for peer in found}, []
    started = time.monotonic()
    with ThreadPoolExecutor(jobs) as pool:
        work = [(peer, file, pool.submit(run, peer, file)) for peer in found for file in files]
        for peer, file, future in work:
            got, done = future.result()
            for id, row in got.items():
                rows[peer.name][id] = merged(rows[peer.name].get(id), row)
            if done.returncode:
                failed.append((peer.name, file.name, done.stdout))
    print(f"clauses: {time.monotonic() - started:.0f} s", flush=True)
    return rows, failed


def merged(one, other):
    """A clause with tests in two files."""
    if one is None:
        return other
    worst = next(kind for kind in ("failed", "passed", "skipped", None) if kind in (one["result"], other["result"]))
    return {**one, "tests": [*one["tests"], *other["tests"]], "result": worst}


def table(clauses, rows, untested):
    """Markdown: a row per clause."""
    first = next(iter(rows.values()))
    lines = [f"| clause | strength | in short | test, or why not | {' | '.join(rows)} |", "|---" * (4 + len(rows)) + "|"]
    for id, clause in clauses.items():
        row, reason = first.get(id), untested.get(id)
        words, how = (row["words"], "; ".join(row["tests"])) if row else reason or ("", "NO ROW")
        if row and id in known.CLAUSES:
            how += f" (deliberately not kept: {known.CLAUSES[id]})"
        if row and row["result"] == "skipped":
            how += f" (skipped: {row.get('why')})"
        marks = [{"passed": "ok", "failed": "not ok"}.get((got.get(id) or {}).get("result"), "-") for got in rows.values()]
        lines.append(f"| {id} | {clause.level} | {words} | {how} | {' | '.join(marks)} |")
    return "\n".join(lines)


def summary(clauses, rows, untested):
    """Markdown: how many clauses each file has, how many are tested, how many each runtime keeps."""
    first = next(iter(rows.values()))
    lines = [f"| file | clauses | with a test | with a reason | {' | '.join(f'{name} tested | {name} keeps' for name in rows)} |",
             "|---" * (4 + 2 * len(rows)) + "|"]
    for name in [*spec.FILES, "all"]:
        ids = [id for id in clauses if name in ("all", id.partition("#")[0])]
        cells = [len(ids), sum(id in first for id in ids), sum(id in untested for id in ids)]
        for got in rows.values():
            outcome = [(got.get(id) or {}).get("result") for id in ids]
            cells += [outcome.count("passed") + outcome.count("failed"), outcome.count("passed")]
        lines.append(f"| {name} | {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--runtimes", default="pyrunc,runc,crun")
    options.add_argument("--jobs", type=int, default=3)
    options.add_argument("--write", action="store_true")
    options = options.parse_args()
    clauses, untested = spec.clauses(), reasons.rows()
    if not NULL.exists():
        os.mknod(NULL, 0o20666, os.makedev(1, 3))
        NULL.chmod(0o666)
    rows, failed = results(peers.find(options.runtimes.split(",")), options.jobs)
    text = HEAD.format(host=os.uname().sysname + " " + os.uname().release.partition("-")[0]) + summary(clauses, rows, untested) \
        + "\n\n" + table(clauses, rows, untested) + "\n"
    (peers.BUILD / "clauses.md").write_text(text)
    if options.write:
        TABLE.write_text(text)
    print(summary(clauses, rows, untested))
    own = next(iter(rows))
    for name, file, said in failed:
        if name == own:
            print(f"--- {name}: {file}\n{said}")
    sys.exit(any(name == own for name, _, _ in failed))


if __name__ == "__main__":
    main()
