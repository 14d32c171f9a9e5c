"""What a schema cannot say about a config: one property against another, and runc's own error texts.

first() is asked by load.py on every create (hot path), every() by `validate`. Both take a config that schema_gen has
passed, so that rules need not look at types. Nothing here looks at the host. A rule is a function that takes what its
table says and yields Faults; the tables below are the whole list.
"""

from __future__ import annotations

from ..typed import TYPE_CHECKING
from . import names, rules_ids, rules_linux, rules_mounts, rules_process, rules_resources, rules_seccomp
from .fault import Fault, View, path_fault, shown, too_long

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    from .shape import Config, Process, Resources

    T = TypeVar("T")

VERSION = "config.md#specification-version"
ROOT = "config.md#root"
HOOKS = "config.md#posix-platform-hooks"
PROCESS = "config.md#process"


def version(view: View) -> Iterator[Fault]:
    """1.x: "forward and backward compatibility within major versions"."""
    text = view.config["ociVersion"]
    major = semver_major(text)
    if major is None:
        yield Fault("/ociVersion", f'"{shown(text)}" is not a semantic version such as 1.3.0', VERSION)
    elif major != 1:
        yield Fault("/ociVersion", f'unsupported version "{shown(text)}": only 1.x is supported', VERSION)


def semver_major(text: str) -> int | None:
    """The first number of MAJOR.MINOR.PATCH[-pre][+build], or None if that's not its form (semver.org 2.0.0)."""
    core, plus, build = text.partition("+")
    core, dash, pre = core.partition("-")
    numbers = core.split(".")
    for number in numbers:
        if names.decimal(number, 1 << 32) is None or number[0] == "0" and number != "0":
            return None
    for mark, tail in ((plus, build), (dash, pre)):
        for part in tail.split(".") if mark else ():
            if not (part.isascii() and part.replace("-", "0").isalnum()):
                return None
    return int(numbers[0]) if len(numbers) == 3 else None


def root(view: View) -> Iterator[Fault]:
    found = view.config.get("root")
    if found is None:
        yield Fault("/root", "root must be specified", ROOT)
    elif not found["path"]:
        yield Fault("/root/path", "root path must not be empty", ROOT)
    elif too_long(found["path"]):
        yield Fault("/root/path", "root path is longer than 4095 bytes", ROOT)


def hooks(view: View) -> Iterator[Fault]:
    found = view.config.get("hooks")
    if not found:
        return
    for kind in names.HOOKS:
        for index, hook in enumerate(found.get(kind, ())):
            yield from path_fault(f"/hooks/{kind}/{index}/path", hook["path"], HOOKS, "hook path")


def annotation_keys(view: View) -> Iterator[Fault]:
    if "" in view.config.get("annotations", ()):
        yield Fault("/annotations", "the key of an annotation must not be empty", "config.md#annotations")


RULES = (version, root, *rules_ids.RULES, *rules_mounts.RULES, *rules_linux.RULES, *rules_seccomp.RULES, hooks,
         annotation_keys)


def _all(config: Config, need_process: bool) -> Iterator[Fault]:
    process = config.get("process")
    if process is None:
        if need_process:
            yield Fault("/process", "process property must not be empty", PROCESS)
    else:
        yield from of_process(process, "/process")
    view = View(config)
    for rule in RULES:
        yield from rule(view)
    if "resources" in view.linux:
        yield from of_resources(view.linux["resources"], "/linux/resources")


def of_process(process: Process, prefix: str = "") -> Iterator[Fault]:
    """The faults of a process object, as its type allows them."""
    return _prefixed(rules_process.RULES, process, prefix)


def of_resources(resources: Resources, prefix: str = "") -> Iterator[Fault]:
    """The faults of a resources object."""
    return _prefixed(rules_resources.RULES, resources, prefix)


def _prefixed(rules: tuple[Callable[[T], Iterator[Fault]], ...], value: T, prefix: str) -> Iterator[Fault]:
    for rule in rules:
        for fault in rule(value):
            fault.pointer = prefix + fault.pointer
            yield fault


def first(config: Config, need_process: bool = True) -> Fault | None:
    """The first fault of a config, or None."""
    return next(_all(config, need_process), None)


def every(config: Config, need_process: bool = True) -> list[Fault]:
    """All faults of a config, in the order of the tables."""
    return list(_all(config, need_process))


def first_without(config: Config, namespace: str) -> Fault | None:
    """The first fault that a checked config would have if it did not list the namespace of this type, or None: what a
    namespace that turns out to be the runtime's own is not good for."""
    view = View(config)
    del view.namespaces[namespace]
    return next((fault for rule in RULES for fault in rule(view)), None)


def first_of_process(process: Process) -> Fault | None:
    return next(of_process(process), None)


def first_of_resources(resources: Resources) -> Fault | None:
    return next(of_resources(resources), None)
