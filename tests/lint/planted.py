"""Faults of the kinds that are made, one a line: test_lint.py has mypy look, and it has to find each. Nobody runs this."""
# mypy: strict-equality

from __future__ import annotations

import posix

from pyrunc import args, facts, foreground, jsonio, kernel, kernel_bus, kernel_hook, kernel_tty, log
from pyrunc._native import ffi, lib
from pyrunc.commands import delete, update
from pyrunc.config import cpulist, fault, load, mountopts, names, rules
from pyrunc.config.shape import Config, Process
from pyrunc.errors import Error, from_oserror, reason
from pyrunc.host import console, executable, hooks, hostmounts, idmap, notify, pidfile, rdt, sources, systemd, unixsock
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


def of_the_seam(fd: int, bus: kernel_bus.Connection, path: bytes) -> None:
    ids, message, report = ffi.new("uint64_t[2]"), ffi.new("struct message *"), ffi.new("struct hook_report *")
    lib.k_mount_ids(ids, fd)  # planted: swapped
    lib.k_openat2(path, fd, 0, 0, 0)  # planted: swapped
    lib.k_socketpair(ids)  # planted: another type of C
    lib.k_recv(fd, report)  # planted: another struct
    lib.k_userns_maps(fd, path, path, 4096)  # planted: bytes where C writes
    lib.k_unmount(fd)  # planted: misspelt
    lib.k_umount()  # planted: nothing
    ffi.new("int[4]")  # planted: a type that nobody asks for
    print(message.record.sequence, report.status)  # planted: misspelt fields
    print(ids[0:1])  # planted: slices are cffi's alone
    bus.wait_job(1000, "/job/1")  # planted: swapped
    ffi.string(message.fd)  # planted: text of numbers


def of_the_host(fd: int, known: hostmounts.Known, state: hooks.OciState, proxy: notify.Proxy, group: rdt.Group) -> None:
    kernel.openat2("/proc", fd, posix.O_PATH)  # planted: swapped
    kernel.memfd("name", "text")  # planted: text for bytes
    kernel.mount_ids(open("/proc"))  # planted: a file where a descriptor belongs
    first, second, third = kernel.mount_ids(fd)  # planted: a row of another length
    kernel.spawn_begin(fd, flag=0)  # planted: a misspelt keyword
    kernel_tty.restore(fd, "mode")  # planted: text for bytes
    kernel_hook.run("/bin/true", "true", {})  # planted: a dict for a list
    print(known["befor"], state["pids"])  # planted: misspelt keys
    state["pid"] = "1"  # planted: of another type
    hooks.run("poststart", [{"paht": "/bin/true"}], state)  # planted: misspelt key of a hook
    idmap.write(fd, "0 0 1", "0 0 1", ("", ""), "deny")  # planted: swapped
    console.attach(fd, proxy)  # planted: an object for a descriptor
    posix.close(proxy)  # planted: an object for a descriptor
    proxy.steps()  # planted: misspelt
    pidfile.write(fd, "pid")  # planted: swapped
    sources.inside({}, "/bundle", None)  # planted: None
    systemd.attach("system", fd, "unit", "below")  # planted: swapped
    executable.why("/", "/bin/sh", "ENOENT")  # planted: a name for a number
    print(unixsock.Address("/run/x").path)  # planted: misspelt
    if group.exists:  # planted: not called
        group.remove()
    if kernel.getrlimit(fd, 7) == 0:  # planted: things of different types compared
        group.remove()
