"""RENAME_EXCHANGE races: an attacker swaps two names while the runtime looks.

A race test that saw too few exchanges has proved nothing, so it fails as inconclusive instead of passing
(docs/security.md, C1).
"""

import os
import subprocess
import time

import pytest

from kit import build

ENOUGH = 10_000
SECONDS = float(os.environ.get("PYRUNC_RACE_SECONDS", "5"))


class Flips:
    """The attacker: exchanges two paths as long as the block runs; `count` is known afterwards."""

    def __init__(self, one, other):
        self.paths = [str(one), str(other)]
        self.count = None

    def __enter__(self):
        cpu = str(max(os.sched_getaffinity(0)))
        self.popen = subprocess.Popen([build.helper("flip"), *self.paths], stdout=subprocess.PIPE, text=True,
                                      env={"FLIP_CPU": cpu})
        return self

    def __exit__(self, *_):
        self.popen.terminate()
        output, _ = self.popen.communicate(timeout=10)
        self.count = int(output.split()[0])


def attack(one, other, attempt, seconds=None, tries=2):
    """Call attempt(n) for a while, with `one` and `other` being exchanged; how often it was called.

    Retried when the machine was too busy to exchange them often enough, and then failed as inconclusive.
    """
    rounds = 0
    for _ in range(tries):
        with Flips(one, other) as flips:
            deadline = time.monotonic() + (seconds or SECONDS)
            while time.monotonic() < deadline:
                attempt(rounds)
                rounds += 1
        if flips.count >= ENOUGH:
            return rounds
    pytest.fail(f"inconclusive: {flips.count} exchanges, {ENOUGH} needed ({rounds} rounds)")
