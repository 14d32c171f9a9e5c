"""Reads what a validation program printed (TAP), as assertions with names that are the same in every run."""

import re

LINE = re.compile(r"(ok|not ok) \d+(?: - | # )?(?:(SKIP|TODO)\b:? ?)?(.*)")
PLAN = re.compile(r"1\.\.(\d+)")
# What differs from run to run: uuids, names of temporary files, pids and namespace inodes.
UNSTABLE = [(re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "UUID"),
            (re.compile(r"/run/tmp/\w+"), "BUNDLE"), (re.compile(r"\b(target|mount|test|example)\d{3,}"), r"\1N"),
            (re.compile(r"\d{4,}"), "N"), (re.compile(r"/proc/\d+"), "/proc/N")]

OK, NOT_OK, SKIPPED = "ok", "not ok", "skipped"
# The program's own end counts as an assertion: a program that gives up early must not look better than one that fails late.
ENDS_WELL = "(the program ends well)"


def read(code, out):
    """{assertion: OK, NOT_OK or SKIPPED} of one program that ended with `code` (None: killed after the time-out).

    Some programs report a fault only as a diagnostic that belongs to no assertion: that is not a good end either.
    """
    found, good, attached, inside, planned = {}, code == 0, False, False, 0
    for line in out.splitlines():
        if match := LINE.fullmatch(line):
            word, directive, text = match.groups()
            found[_unique(_stable(text), found)] = SKIPPED if directive else word
            attached = True
        elif line.startswith("  ---"):
            inside = True
        elif line.startswith("  ..."):
            attached = inside = False
        elif inside and not attached and line.startswith('    "error": '):
            good = False
        elif plan := PLAN.fullmatch(line):
            planned += int(plan[1])
    return {**found, ENDS_WELL: OK if good and planned in (0, len(found)) else NOT_OK}


def _stable(text):
    for pattern, word in UNSTABLE:
        text = pattern.sub(word, text)
    return text.strip()


def _unique(text, found):
    """The text, numbered when a program asserts the same thing again."""
    name, number = text, 1
    while name in found:
        number += 1
        name = f"{text} [{number}]"
    return name
