"""Faults of the kinds that are made, one a line: test_lint.py has mypy look, and it has to find each. Nobody runs this."""
# mypy: strict-equality

from __future__ import annotations

from pyrunc import args, facts, foreground, jsonio, log
from pyrunc.commands import delete, update
from pyrunc.config import cpulist, fault, load, mountopts, names, rules
from pyrunc.config.shape import Config, Process
from pyrunc.errors import Error, from_oserror, reason
from pyrunc.paths import clean
from pyrunc.seccomp import cache, profile


def swapped(config: Config, process: Process, raw: bytes, directory: int, name: str) -> None:
    load.check_process(name, process)  # planted
    jsonio.loads(name, raw)  # planted
    cache.load(name, directory)  # planted
    names.decimal(64, name)  # planted
    from_oserror("open", OSError())  # planted
    mountopts.page([], name)  # planted


def misspelt_keys(config: Config, globals_: args.Globals, options: delete.Options) -> None:
    print(config["mount"])  # planted
    print(config["mounts"][0]["option"])  # planted
    print(config.get("linux", {}).get("resource", {}).get("memory"))  # planted
    print(config["linux"]["seccomp"]["default_action"])  # planted
    print(globals_["systemd_cgroup"])  # planted
    print(options["forced"])  # planted
    config["process"]["user"] = {"uid": 0, "gids": [0]}  # planted


def misspelt_words(process: Process) -> bool:
    return process["scheduler"]["policy"] == "SCHED_FIFOS"  # planted


def misspelt_names(found: fault.Fault, view: fault.View, host: facts.Facts, front: foreground.Foreground, lowered: profile.Profile) -> None:
    print(found.mesage)  # planted
    print(view.namespace)  # planted
    print(host.privilege)  # planted
    print(lowered.arches)  # planted
    front.detach()  # planted
    log.warn("x")  # planted
    Error("x").points = "/linux"  # planted


def wrong_kinds(config: Config, err: Error, front: foreground.Foreground) -> None:
    front.take(open("/dev/ptmx"))  # planted
    reason(err)  # planted
    log.error(err)  # planted
    clean(None)  # planted
    rules.first(config, need_process=None)  # planted
    print(cpulist.parse("0-3") + 1)  # planted
    update.merged(config["linux"]["resources"]["cpu"]["shares"], {})  # planted
    raise Error("x", 255, "the hint")  # planted
