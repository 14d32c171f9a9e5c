"""The run: N cases over several processes. Prints the seed, and of each difference the smallest case that shows it.

PYRUNC names the runtime under test, RUNC_NEW (a newer runc) or RUNC the one to compare with.
"""

import argparse
import multiprocessing
import os
import random
import signal
import sys
import time
import traceback
from contextlib import ExitStack
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings

from kit.build import helper
from kit.differences import unexplained

from .bundles import cases
from .host import Host
from .look import Look

REPOSITORY = Path(__file__).resolve().parent.parent.parent
kinds = {}


def kind_of(name):
    """An exception class for each property that differs: hypothesis keeps and shrinks one failure per class."""
    return kinds.setdefault(name, type(f"Difference({name})", (AssertionError,), {}))


class Worker:
    """Runs cases under both runtimes and compares; `seen` has of each difference how often, and the shortest report."""

    def __init__(self):
        self.host = Host()
        self.peer, binary = ("runc-new", os.environ["RUNC_NEW"]) if os.environ.get("RUNC_NEW") else (
            "runc", os.environ.get("RUNC", "/usr/sbin/runc"))
        self.host.names["{probe}"] = str(helper("probe"))
        self.theirs = Look(binary, self.host)
        self.ours = Look(os.environ.get("PYRUNC") or REPOSITORY / "build/venv/bin/pyrunc", self.host)
        self.count, self.seen = 0, {}

    def compare(self, case):
        self.count += 1
        theirs, ours = self.theirs.view(case), self.ours.view(case)
        verbs = [key for key in [*theirs, *ours] if key.startswith("verb ") and theirs.get(key) != ours.get(key)]
        if verbs:  # where one went on and the other not, there is nothing more to compare
            theirs, ours = ({key: view[key] for key in verbs[:1] if key in view} for view in (theirs, ours))
        return unexplained(self.peer, case.config, theirs, ours, "\n".join(self.theirs.said.values()), case)

    def confirmed(self, case):
        """What differs twice. A peer that once could not remove its group was slow; that is told, and proves nothing."""
        found = self.compare(case)
        again = {difference.key for difference in self.compare(case)} if found else ()
        for difference in found:
            if difference.key not in again:
                print(f"not seen again: {difference}", flush=True)
        return [difference for difference in found if difference.key in again]

    def differing(self, case):
        """The first property that differs, if any, after noting all; what goes wrong here is noted as well."""
        try:
            found = {difference.key: difference for difference in self.confirmed(case)}
        except Exception as error:
            found = {f"{type(error).__name__} in {traceback.extract_tb(error.__traceback__)[-1].name}": traceback.format_exc()}
        said = [f"  {name} said: {text}" for name, look in ((self.peer, self.theirs), ("pyrunc", self.ours)) for text in look.said.values()]
        for key, difference in found.items():
            text = "\n".join([repr(case), str(difference), *said])
            times, shortest = self.seen.get(key, (0, text))
            self.seen[key] = (times + 1, min(text, shortest, key=len))
        return next(iter(found), None)

    def close(self):
        with ExitStack() as stack:
            stack.callback(self.host.close)
            stack.callback(self.ours.close)
            self.theirs.runtime.sweep()


def work(count, number, survey):
    """One process's share; its exit code says whether all were the same."""
    ends = []
    for sent in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sent, lambda *_: ends.append(True))  # heeded between two cases: nothing is cut short
    worker, started = Worker(), time.monotonic()

    @seed(number)
    @settings(max_examples=count, database=None, deadline=None, print_blob=False, report_multiple_bugs=True,
              phases=[Phase.generate] + [Phase.shrink] * (not survey), suppress_health_check=list(HealthCheck))
    @given(cases())
    def same(case):
        if ends:
            raise KeyboardInterrupt
        difference = worker.differing(case)
        if difference and not survey:
            raise kind_of(difference)

    try:
        same()
    except (AssertionError, BaseExceptionGroup, KeyboardInterrupt):
        pass  # what was found is in worker.seen
    finally:
        for key, (times, text) in sorted(worker.seen.items(), key=lambda item: -item[1][0]):
            print(f"\n=== {times} x {key}\n{text}")
        print(f"{worker.count} bundles in {time.monotonic() - started:.0f} s, {len(worker.seen)} unexplained differences", flush=True)
        worker.close()
    sys.exit(bool(worker.seen or ends))


def arguments():
    parser = argparse.ArgumentParser(prog="python -m conformance.differential", description="Generated bundles under pyrunc and runc.")
    parser.add_argument("count", metavar="N", nargs="?", type=int, default=500, help="how many bundles (500)")
    parser.add_argument("--seed", type=int, default=os.environ.get("SEED") or (1 if os.environ.get("CI") else random.randrange(2**32)),
                        help="repeats a run with as many workers ($SEED; 1 if $CI is set; else random)")
    parser.add_argument("--workers", type=int, default=os.environ.get("WORKERS") or os.cpu_count() or 1,
                        help="processes side by side ($WORKERS; else as many as processors)")
    parser.add_argument("--survey", action="store_true", help="do not shrink: every kind of difference, and how often, in one pass")
    return parser.parse_args()


def main():
    asked = arguments()
    print(f"SEED={asked.seed}", flush=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    workers = [multiprocessing.get_context("fork").Process(target=work, args=(
        -(-asked.count // asked.workers), asked.seed + 1000003 * index, asked.survey)) for index in range(asked.workers)]
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    except KeyboardInterrupt:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.join()
        return 130
    return max(worker.exitcode != 0 for worker in workers)


if __name__ == "__main__":
    sys.exit(main())
