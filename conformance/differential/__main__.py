"""The run: N cases over WORKERS processes. Prints the seed, and of each difference the smallest case that shows it.

usage: python -m conformance.differential [N] (SEED=, WORKERS=, PYRUNC=, RUNC_NEW= or RUNC=)
"""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings

from kit.build import helper
from kit.differences import unexplained

from .bundles import cases
from .host import Host
from .look import Look

REPOSITORY = Path(__file__).resolve().parent.parent.parent
kinds = {}


def kind_of(difference):
    """An exception class for each property that differs: hypothesis keeps and shrinks one failure per class."""
    name = difference.key
    return kinds.setdefault(name, type(f"Difference({name})", (AssertionError,), {}))


class Worker:
    """Runs cases under both runtimes and compares."""

    def __init__(self, ours, peer, binary):
        self.host, self.peer = Host(), peer
        self.host.names["{probe}"] = str(helper("probe"))
        self.theirs, self.ours = Look(binary, self.host), Look(ours, self.host)
        self.count = 0

    def compare(self, case):
        self.count += 1
        theirs, ours = self.theirs.view(case), self.ours.view(case)
        verbs = [key for key in sorted(theirs.keys() | ours.keys()) if key.startswith("verb ") and theirs.get(key) != ours.get(key)]
        if verbs:  # where one went on and the other not, there is nothing more to compare
            theirs, ours = ({key: view.get(key) for key in verbs[:1]} for view in (theirs, ours))
        return unexplained(self.peer, case.config, theirs, ours, "\n".join(self.theirs.said.values()))

    def confirmed(self, case):
        """What differs twice. A peer that once could not remove its group was slow; that is told, and proves nothing."""
        found = self.compare(case)
        again = {difference.key for difference in self.compare(case)} if found else ()
        for difference in found:
            if difference.key not in again:
                print(f"not seen again: {difference}", flush=True)
        return [difference for difference in found if difference.key in again]

    def report(self, case, found):
        """What a reader needs to find the fault."""
        said = [f"  {name} said: {text}" for name, look in ((self.peer, self.theirs), ("pyrunc", self.ours))
                for text in look.said.values()]
        return "\n".join([repr(case), *map(str, found), *said])

    def close(self):
        self.theirs.close()
        self.ours.close()
        self.host.close()


def work(count, number):
    """One process's share; whether all were the same."""
    worker = Worker(os.environ["PYRUNC"], *peer())

    @seed(number)
    @settings(max_examples=count, database=None, deadline=None, print_blob=False, phases=[Phase.generate, Phase.shrink],
              suppress_health_check=list(HealthCheck), report_multiple_bugs=True)
    @given(cases())
    def same(case):
        found = worker.confirmed(case)
        if found:
            raise kind_of(found[0])(worker.report(case, found))

    started, found = time.monotonic(), []
    try:
        same()
    except BaseExceptionGroup as group:
        found = group.exceptions
    except AssertionError as error:
        found = [error]
    finally:
        worker.close()
    for error in found:
        print(f"\n=== {type(error).__name__}\n{error}")
    print(f"{worker.count} bundles in {time.monotonic() - started:.0f} s, {len(found)} unexplained differences", flush=True)
    return not found


def survey(count, number):
    """Every kind of difference over all the cases, without shrinking: the first case of each, and how many."""
    worker, seen = Worker(os.environ["PYRUNC"], *peer()), {}

    @seed(number)
    @settings(max_examples=count, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(cases())
    def look(case):
        try:
            found = worker.compare(case)
        except Exception as error:
            import traceback
            tb = traceback.extract_tb(error.__traceback__)[-3:]
            print("!!!", [f"{f.name}:{f.lineno}" for f in tb], str(error)[:300], "\n", repr(case), flush=True)
            return
        for difference in found:
            old = seen.get(difference.key, (0, "x" * 10**9))
            text = worker.report(case, [difference])
            seen[difference.key] = (old[0] + 1, min(old[1], text, key=len))

    started = time.monotonic()
    try:
        look()
    finally:
        print(f"{worker.count} cases in {time.monotonic() - started:.0f} s, {len(seen)} kinds of difference")
        for key, (times, text) in sorted(seen.items(), key=lambda item: -item[1][0]):
            print(f"=== {times} x {key}\n{text}", flush=True)
        worker.close()


def peer():
    if os.environ.get("RUNC_NEW"):
        return "runc-new", os.environ["RUNC_NEW"]
    return "runc", os.environ.get("RUNC", "/usr/sbin/runc")


def main():
    os.environ.setdefault("PYRUNC", str(REPOSITORY / "build/venv/bin/pyrunc"))
    count, workers = int(sys.argv[1]), int(os.environ.get("WORKERS") or os.cpu_count() or 1)
    number = int(os.environ.get("SEED") or (1 if os.environ.get("CI") else random.randrange(2**32)))
    print(f"SEED={number}", flush=True)
    shares = [subprocess.Popen([sys.executable, "-m", __package__, str(-(-count // workers)), str(number + 1000003 * index)])
              for index in range(workers)]
    return max([share.wait() for share in shares])


if __name__ == "__main__":
    if sys.argv[-1] == "survey":
        os.environ.setdefault("PYRUNC", str(REPOSITORY / "build/venv/bin/pyrunc"))
        survey(int(sys.argv[1]), int(os.environ["SEED"]))
    else:
        sys.exit(main() if len(sys.argv) == 2 else not work(int(sys.argv[1]), int(sys.argv[2])))
