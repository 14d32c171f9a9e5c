"""Runs the validation programs of opencontainers/runtime-tools on runtimes and compares: `make conformance`.

    suite.py [--runtime NAME] [--peers NAME,...] [--jobs N] [--only PROGRAM,...]   the table, with reasons
    suite.py --check                            pyrunc alone, against expected.txt: what passed must pass
    suite.py --write                            renews expected.txt after a deliberate change

An assertion is named by its program and text. For pyrunc each one that fails must stand in known.py with its reason, and
each one that a peer passes and pyrunc does not is listed: that is the point of the whole.
"""

import argparse
import functools
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import known
import peers
import tap
from cell import Cell, hierarchies

EXPECTED = Path(__file__).with_name("expected.txt")
PROGRAMS = peers.BUILD / "bin"
TIMEOUT = 90


def run(peer, program):
    """{assertion: result} of one program on one runtime, in a cell of its own; once more if it did not come to an end."""
    for _ in range(2):
        with Cell(peer.hide) as cell:
            code, out, err = cell.run([PROGRAMS / program], peers.BUILD, {"RUNTIME": peer.binary}, TIMEOUT)
        log = peers.BUILD / "log" / peer.name / program
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(f"{out}\n--- stderr, exit {code}\n{err}")
        if code is not None:
            break
    return tap.read(code, out)


def results(found, programs, jobs):
    """{runtime: {program: {assertion: result}}}"""
    out = {}
    with ThreadPoolExecutor(jobs) as pool:
        for peer in found:
            started = time.monotonic()
            out[peer.name] = dict(zip(programs, pool.map(functools.partial(run, peer), programs), strict=True))
            print(f"{peer.name}: {peer.binary}: {time.monotonic() - started:.0f} s", flush=True)
    return out


def counts(assertions):
    """[ok, not ok, skipped] of a program; its end counts only if it is a bad one."""
    values = [result for name, result in assertions.items() if name != tap.ENDS_WELL or result != tap.OK]
    return [values.count(kind) for kind in (tap.OK, tap.NOT_OK, tap.SKIPPED)]


def clean(assertions):
    return tap.NOT_OK not in assertions.values()


def table(got):
    """Markdown: one line per program, ok / not ok / skipped per runtime, and the reason of what pyrunc does not pass."""
    names = list(got)
    lines = ["| program | " + " | ".join(names) + " | why not |", "|---" * (len(names) + 2) + "|"]
    for program in got[names[0]]:
        cells = ["/".join(map(str, counts(got[name][program]))) for name in names]
        reasons = dict.fromkeys(filter(None, (known.reason(program, text) for text in failing(got[names[0]][program]))))
        lines.append(f"| {program} | " + " | ".join(cells) + f" | {'; '.join(reasons)} |")
    for title, wanted in (("clean", lambda asserted: clean(asserted) and len(asserted) > 1),
                          ("clean, silent on success", lambda asserted: clean(asserted) and len(asserted) == 1)):
        lines.append(f"| {title} | " + " | ".join(str(sum(map(wanted, got[name].values()))) for name in names) + " | |")
    return "\n".join(lines)


def failing(assertions):
    return [text for text, result in assertions.items() if result == tap.NOT_OK]


def behind(got):
    """[(program, assertion, peers)] that a peer passes and the first runtime does not."""
    own, *others = got
    found = []
    for program, asserted in got[own].items():
        for text in dict.fromkeys(text for name in others for text in got[name][program]):
            who = [name for name in others if got[name][program].get(text) == tap.OK]
            if who and asserted.get(text) != tap.OK:
                found.append((program, text, who))
    return found


def kind_of_host():
    """The first line of expected.txt: which cgroup versions there are decides what the programs can ask for."""
    return "# " + " ".join(sorted({"v2" if (path / "cgroup.procs").exists() and not (path / "tasks").exists() else "v1"
                                   for path in hierarchies()}))


def expected(asserted):
    """The other lines: how many assertions of each program passed, its good end among them."""
    return [f"{program} {list(asserted[program].values()).count(tap.OK)}" for program in sorted(asserted)]


def unexplained(asserted):
    return [f"{program}: {text}" for program in asserted for text in failing(asserted[program])
            if not known.reason(program, text)]


def check(asserted):
    """Where fewer assertions passed than expected.txt says: lines to print; none is good."""
    host, *lines = EXPECTED.read_text().splitlines()
    if host != kind_of_host():
        print(f"{EXPECTED.name} is of a host with {host[2:]}, this one has {kind_of_host()[2:]}: not compared")
        return []
    before = dict(line.split() for line in lines)
    now = dict(line.split() for line in expected(asserted))
    return [f"{program}: {now[program]} assertions passed, not {before[program]}; not ok: {failing(asserted[program])}"
            for program in now if int(now[program]) < int(before[program])]


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--runtime", default="pyrunc")
    options.add_argument("--peers", default="runc,crun,youki")
    options.add_argument("--jobs", type=int, default=4)
    options.add_argument("--only")
    options.add_argument("--check", action="store_true")
    options.add_argument("--write", action="store_true")
    options = options.parse_args()
    programs = options.only.split(",") if options.only else sorted(os.listdir(PROGRAMS))
    others = [] if options.check or options.write else options.peers.split(",")
    found = peers.find([options.runtime, *others])
    got = results(found, programs, options.jobs)
    own = found[0].name
    if options.write:
        EXPECTED.write_text("\n".join([kind_of_host(), *expected(got[own])]) + "\n")
    text = table(got)
    (peers.BUILD / "runtime-tools.md").write_text(text + "\n")
    print(text)
    for program, assertion, who in behind(got):
        reason = known.reason(program, assertion)
        print(f"passed by {', '.join(who)} only: {program}: {assertion}: {reason or 'NO REASON'}")
    bad = check(got[own]) + unexplained(got[own]) if own == "pyrunc" else []
    for line in bad:
        print(f"FAILED: {line}")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
