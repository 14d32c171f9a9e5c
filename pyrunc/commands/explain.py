"""`explain`: the plan of a bundle or of a container, op by op; needs no root and touches nothing."""

from __future__ import annotations

from .. import facts, kernel, lifecycle, log, state
from ..config import load
from ..errors import Error
from ..host import sources
from ..jsonio import dumps
from ..paths import clean
from ..plan import create as compiler
from ..plan import explain
from ..plan.rootfs import join
from ..typed import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from typing import TypedDict

    from ..args import Globals
    from ..config.shape import Config
    from ..plan.script import Plan
    from ..seccomp.compile import Filter

    class Options(TypedDict):
        bundle: str | None
        id: str | None
        format: str
        facts: str | None
        help: bool

USAGE = "explain [-b BUNDLE | --id ID] [--format text|json] [--facts NAME|FILE]"
ARGS = (0, 0)
OPTIONS = (
    (("bundle", "b"), "str", None, "path to the bundle, by default the current directory"),
    (("id", None), "str", None, "explain the plan of an existing container"),
    (("format", "f"), "str", "text", "text or json"),
    (("facts", None), "str", None, "another host: " + ", ".join(facts.NAMED) + ", or a JSON file"),
)


def run(globals_: Globals, options: Options, args: list[str]) -> int:
    if options["format"] not in ("text", "json"):
        raise Error("invalid format option", "the formats are text and json")
    if options["id"]:
        plan = lifecycle.recompile(state.load(globals_["root"], options["id"]))
    else:
        plan = _of_bundle(globals_, lifecycle.absolute(options["bundle"] or "."), options["facts"])
    out = explain.text(plan) if options["format"] == "text" else dumps(explain.data(plan), indent=2) + "\n"
    log.out(out)
    return 0


def _of_bundle(globals_: Globals, bundle: str, name: str | None) -> Plan:
    config, _ = load.load(bundle)
    host = host_facts(config, name)
    rootless, unit = lifecycle.tolerates(globals_, host), None
    group: str | None
    if globals_["systemd-cgroup"]:
        host, unit, group, v1 = lifecycle.systemd_unit(config, host, "ID", asked=not name)
    else:
        group, v1 = lifecycle.cgroup_paths(config, host, "ID", rootless)
    request = {
        "rootless": rootless,
        "id": "ID", "bundle": bundle, "state": "STATE", "gate": True, "detach": True,
        "cgroup": group, "cgroup_v1": v1, "unit": unit, "bpf": _filter(config),
        "inside": sources.inside(config, bundle, clean(join(bundle, config["root"]["path"]))),
    }
    return compiler.compile(config, host, request)


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


def _filter(config: Config) -> Filter | None:
    """The filter's place in the plan; its code is compiled where libseccomp is."""
    return lifecycle.seccomp_filter(config)
