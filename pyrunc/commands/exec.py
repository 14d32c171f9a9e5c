"""`exec ID CMD…`: another process in a container, from the process create was given, changed by the options."""

from __future__ import annotations

from .. import facts, foreground, kernel, lifecycle, state, supervise
from ..config import load
from ..config.names import CAPABILITY_SETS, decimal
from ..errors import Error
from ..plan import exec as compiler
from ..plan import limits
from ..typed import TYPE_CHECKING, cast
from . import shared

if TYPE_CHECKING:
    from typing import TypedDict

    from ..args import Globals
    from ..config.shape import Capabilities, Config, Process, User
    from ..foreground import Foreground
    from ..plan.script import Plan
    from ..state import Container, Unit

    class Adopting(Unit):
        """The unit of a container, by whose manager a process is put into its group."""

        group: str | None

    Options = TypedDict("Options", {
        "console-socket": str | None, "pidfd-socket": str | None, "pid-file": str | None, "detach": bool,
        "process": str | None, "cwd": str | None, "env": list[str] | None, "tty": bool, "user": str | None,
        "additional-gids": list[str] | None, "process-label": str | None, "apparmor": str | None, "no-new-privs": bool,
        "cap": list[str] | None, "preserve-fds": int, "cgroup": list[str] | None, "ignore-paused": bool,
        "no-subreaper": bool, "help": bool,
    })

USAGE = "exec [options] CONTAINER COMMAND [ARG...] | exec -p process.json CONTAINER"
ARGS = (1, None)
STOP_AT_ID = True
OPTIONS = (
    (("console-socket", None), "str", None, "AF_UNIX socket that receives the pty's master"),
    (("pidfd-socket", None), "str", None, "AF_UNIX socket that receives a pidfd of the process"),
    (("pid-file", None), "str", None, "file to write the process's pid to"),
    (("detach", "d"), "flag", False, "detach from the process"),
    (("process", "p"), "str", None, "file with the whole process object"),
    (("cwd", None), "str", None, "working directory"),
    (("env", "e"), "list", None, "NAME=VALUE, may be repeated"),
    (("tty", "t"), "flag", False, "allocate a terminal"),
    (("user", "u"), "str", None, "UID[:GID]"),
    (("additional-gids", "g"), "list", None, "additional group id, may be repeated"),
    (("process-label", None), "str", None, "SELinux label"),
    (("apparmor", None), "str", None, "AppArmor profile"),
    (("no-new-privs", None), "flag", False, "set no_new_privs"),
    (("cap", "c"), "list", None, "add a capability, may be repeated"),
    (("preserve-fds", None), "int", 0, "number of additional descriptors to pass on"),
    (("cgroup", None), "list", None, "group below the container's own to run in"),
    (("ignore-paused", None), "flag", False, "run in a paused container too"),
    (("no-subreaper", None), "flag", False, "ignored"),
)
U32 = 4294967295


def run(globals_: Globals, options: Options, args: list[str]) -> int:
    """If the container ends or is deleted while a process enters it, that is the reason, not the call that saw it first."""
    with state.load(globals_["root"], args[0]) as container:
        try:
            return _run(container, globals_, options, args)
        except (OSError, Error):
            if container.alive() or not container.there():
                raise
            raise Error("cannot exec in a stopped container") from None


def _run(container: Container, globals_: Globals, options: Options, args: list[str]) -> int:
    _check_status(container, options)
    if not options["process"]:  # as runc, which is in the bundle by then, unless it has been given a file
        for name in ("console-socket", "pidfd-socket"):
            path = options[name]
            if path and path[0] not in "/@":
                options[name] = f"{container.data['bundle']}/{path}"
    config = container.config()
    _check_saved(config)
    known = lifecycle.capabilities_of(config["process"])  # of which create has warned
    config["process"] = _process(config["process"], options, args[1:])
    load.check_process(config["process"], "exec")
    host = facts.load(container.data["facts"])
    lifecycle.warn_of_capabilities(lifecycle.capabilities_of(config["process"]) - known, config, host)
    lifecycle.refuse_label(config["process"], host)
    from ..host.console import check_stdio

    check_stdio(config["process"].get("terminal", False), options["detach"], options["console-socket"])
    group, v1 = _groups(container, options["cgroup"])
    request = {
        "id": container.id, "bpf": lifecycle.seccomp_filter(config, globals_["root"]),
        "preserve": lifecycle.preserved(options, 0, globals_["inherited"]),
        "detach": options["detach"], "cgroup": group, "cgroup_v1": v1, "follow": not options["cgroup"],
        "unit": _unit(container), "rdt": container.data.get("resctrl"),
        "pidfd_socket": options["pidfd-socket"], "file": load.PROCESS if options["process"] else None,
        "unlimited": container.data["request"].get("rootless") and not options["cgroup"] and not _limited(container),
        "no_new_keyring": container.data["request"].get("no_new_keyring"),
    }
    plan = compiler.compile(config, host, request)
    front = None if options["detach"] else foreground.Foreground(False)
    try:
        return _supervise(container, config, plan, options, front)
    finally:
        if front:
            front.close()


def _check_saved(config: Config) -> None:
    """create has checked the saved config. A damaged one has to fail here. A container without a process has no args."""
    load.check(config if config["process"].get("args") else {key: value for key, value in config.items() if key != "process"}, False)


def _supervise(container: Container, config: Config, plan: Plan, options: Options, front: Foreground | None) -> int:
    pid_file = lifecycle.absolute(options["pid-file"]) if options["pid-file"] else None
    walk = supervise.Supervisor(
        plan, container, config, container.data["bundle"], None,
        shared.console_of(options, front), shared.pidfd_socket_of(options), front,
    )
    try:
        walk.run()
        walk.await_exec()
        if pid_file:
            shared.write_pid_file(pid_file, walk.pid)
    except BaseException:
        walk.unwind()
        raise
    return front.wait(walk) if front else 0


def _limited(container: Container) -> bool:
    return any([True for _ in limits.writes(container.resources(), ())])


def _groups(container: Container, chosen: list[str] | None) -> tuple[str | None, list[list[str]] | None]:
    """(group in the cgroup2 tree, v1 rows) to be born in: the container's own, or with --cgroup some below them."""
    own, v1 = container.data.get("cgroup"), container.data.get("cgroup_v1")
    if not chosen:
        return own, v1
    from ..host.cgroup import below

    return below.groups(own, v1 or [], chosen)


def _unit(container: Container) -> Adopting | None:
    unit = container.data.get("unit")
    return {**unit, "group": container.data["cgroup"]} if unit and unit["bus"] != "system" else None


def _check_status(container: Container, options: Options) -> None:
    status = container.status()
    if status == "stopped":
        raise Error("cannot exec in a stopped container")
    if status == "paused" and not options["ignore-paused"]:
        raise Error("cannot exec in a paused container (use --ignore-paused to override)")


def _process(template: Process, options: Options, command: list[str]) -> Process:
    """The template with the options applied, or the --process that replaces it."""
    if options["process"]:
        return _whole(template, load.load_process(options["process"], kernel.read_timeout))
    if not command:
        raise Error("exec args cannot be empty", "name a command, or give a file with --process")
    process: Process = {**template, "args": command, "terminal": options["tty"]}
    process["env"] = template.get("env", []) + (options["env"] or [])
    if options["cwd"]:
        process["cwd"] = options["cwd"]
    if not process["cwd"].startswith("/"):
        raise Error(f'--cwd "{process["cwd"]}": Cwd must be an absolute path')
    process["user"] = _user(template.get("user", {}), options)
    if options["process-label"]:
        process["selinuxLabel"] = options["process-label"]
    if options["apparmor"]:
        process["apparmorProfile"] = options["apparmor"]
    if options["no-new-privs"]:
        process["noNewPrivileges"] = True
    if options["cap"]:
        process["capabilities"] = _capabilities(template.get("capabilities") or {}, options["cap"])
    return process


def _whole(template: Process, process: Process) -> Process:
    """A process object of the caller's, completed by the container's where it says nothing.

    noNewPrivileges is not completed: callers written in Go leave out what is false. An empty `capabilities` says none.
    """
    for key in ("capabilities", "apparmorProfile", "selinuxLabel", "rlimits", "ioPriority", "scheduler", "execCPUAffinity",
                "oomScoreAdj"):
        if process.get(key) in (None, "", []) and key in template:
            process[key] = template[key]
    process["user"] = {"uid": 0, "gid": 0, **(process.get("user") or {})}
    if "umask" in template.get("user", {}):
        process["user"].setdefault("umask", template["user"]["umask"])
    return process


def _user(template: User, options: Options) -> User:
    """UID[:GID], ASCII digits only (CVE-2016-3697, CVE-2026-30892); without a GID the template's stays."""
    user = template.copy()
    if options["user"] is not None:
        uid, colon, gid = options["user"].partition(":")
        user["uid"] = _id(uid, "bad uid")
        if colon:
            user["gid"] = _id(gid, "bad gid")
    if options["additional-gids"]:
        user["additionalGids"] = user.get("additionalGids", []) + [_id(g, "bad gid") for g in options["additional-gids"]]
    return user


def _id(text: str, message: str) -> int:
    value = decimal(text, U32 - 1)
    if value is None:
        raise Error(f"{message}: {text!r} is not a number between 0 and {U32 - 1}")
    return value


def _capabilities(template: Capabilities, added: list[str]) -> Capabilities:
    """To bounding, effective and permitted; to ambient only with an inheritable set; never to inheritable
    (CVE-2022-29162)."""
    out: dict[str, list[str]] = {key: list(template.get(key, [])) for key in CAPABILITY_SETS}
    for key in ["bounding", "effective", "permitted"] + (["ambient"] if template.get("inheritable") else []):
        out[key] += [cap for cap in added if cap not in out[key]]
    return cast("Capabilities", out)
