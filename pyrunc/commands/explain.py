"""`explain`: the plan of a bundle or of a container, op by op, or what two plans differ in; needs no root and touches nothing."""

from __future__ import annotations

import posix

from .. import facts, kernel, lifecycle, log, state
from ..config import load
from ..errors import Error
from ..host import sources
from ..jsonio import dumps
from ..paths import clean
from ..plan import check, explain
from ..plan import create as compiler
from ..plan.request import Request
from ..plan.rootfs import join
from ..typed import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from typing import Any, TypedDict

    from ..args import Globals
    from ..config.shape import Config
    from ..plan.script import Plan
    from ..state import Container

    class Options(TypedDict):
        bundle: str | None
        id: str | None
        diff: str | None
        phase: str | None
        format: str
        facts: str | None
        help: bool

USAGE = "explain [-b BUNDLE | --id ID] [--diff BUNDLE|ID] [--phase PHASE] [--format text|json] [--facts NAME|FILE]"
ARGS = (0, 0)
OPTIONS = (
    (("bundle", "b"), "str", None, "path to the bundle, by default the current directory"),
    (("id", None), "str", None, "explain the plan of an existing container"),
    (("diff", None), "str", None, "show what another plan does instead: that of a bundle (a directory) or of a container (its id)"),
    (("phase", None), "str", None, "show one phase: " + ", ".join(explain.SECTIONS)),
    (("format", "f"), "str", "text", "text or json"),
    (("facts", None), "str", None, "another host: " + ", ".join(facts.NAMED) + ", or a JSON file"),
)


def run(globals_: Globals, options: Options, args: list[str]) -> int:
    if options["format"] not in ("text", "json"):
        raise Error("invalid format option", "the formats are text and json")
    phase = options["phase"]
    if phase not in (None, *explain.SECTIONS):
        raise Error(f"invalid phase {phase}", "it is one of " + ", ".join(explain.SECTIONS))
    log.out(_difference(globals_, options, options["diff"], phase) if options["diff"] else _plan(globals_, options, phase))
    return 0


def _plan(globals_: Globals, options: Options, phase: str | None) -> str:
    container = state.load(globals_["root"], options["id"]) if options["id"] else None
    plan = _of_container(container) if container else _of_bundle(globals_, options["bundle"] or ".", options["facts"])
    if options["format"] == "json":
        return dumps(explain.data(plan, phase), indent=2) + "\n"
    return explain.text(plan, phase, _coloured())


def _difference(globals_: Globals, options: Options, with_: str, phase: str | None) -> str:
    """A bundle is explained as what the container was made of: with its id, on its host, with the options of its creation."""
    names = options["id"] or options["bundle"] or ".", with_
    containers = [state.load(globals_["root"], name) if is_id else None
                  for name, is_id in zip(names, (bool(options["id"]), not _is_directory(with_)), strict=True)]
    like = next((container for container in containers if container), None)
    one, other = [_of_container(container) if container else _of_bundle(globals_, name, options["facts"], like)
                  for name, container in zip(names, containers, strict=True)]
    if options["format"] == "json":
        return dumps(explain.diff_data(one, other, phase), indent=2) + "\n"
    return explain.diff(one, other, names, phase, _coloured())


def _is_directory(name: str) -> bool:
    try:
        return posix.stat(name).st_mode & 0o170000 == 0o040000
    except OSError:
        return False


def _coloured() -> bool:
    """On a terminal, unless the user wants none anywhere (no-color.org)."""
    return posix.isatty(1) and not posix.environ.get(b"NO_COLOR") and posix.environ.get(b"TERM") != b"dumb"


def _of_container(container: Container) -> Plan:
    """As it was run: a rule may be younger."""
    return lifecycle.plan_of(container)


def _of_bundle(globals_: Globals, bundle: str, name: str | None, like: Container | None = None) -> Plan:
    bundle = lifecycle.absolute(bundle)
    config, _ = load.load(bundle)
    host = facts.load(like.data["facts"]) if like and not name else host_facts(config, name)
    rootless, unit, container_id = lifecycle.tolerates(globals_, host), None, like.id if like else "ID"
    group: str | None
    if globals_["systemd-cgroup"]:
        host, unit, group, v1 = lifecycle.systemd_unit(config, host, container_id, asked=not name)
    else:
        group, v1 = lifecycle.cgroup_paths(config, host, container_id, rootless)
    how: dict[str, Any] = Request.known(like.data["request"]) if like else {"rootless": rootless, "gate": True, "detach": True}
    how["inside"] = sources.inside(config, bundle, clean(join(bundle, config["root"]["path"])))
    request = Request(container_id, bundle, like.path if like else "STATE", cgroup=group, cgroup_v1=v1, unit=unit,
                      bpf=lifecycle.seccomp_filter(config), **how)
    return check.sound(compiler.compiled(config, host, request))


def host_facts(config: Config, name: str | None) -> facts.Facts:
    """Named, from a file, or this host as root would see it unless the config is a rootless one."""
    if name in facts.NAMED:
        return facts.named(name)
    if name:
        return facts.load(cast("dict[str, facts.Value]", load.load_json(name, kernel.read_timeout)))
    host = facts.probe("intelRdt" in config.get("linux", {}))
    rootless = any([ns["type"] == "user" for ns in config.get("linux", {}).get("namespaces", [])])
    if host.euid and not rootless:
        return facts.Facts(**{**host.dump(), "euid": 0, "egid": 0, "userns": False})
    return host
