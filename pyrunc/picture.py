"""Before the picture is taken (csrc/picture.c): import every verb, run what every container costs.

What an import or the start of an interpreter takes from the process, and what becomes of that:

    os.environ, thread idents   renewed by csrc/picture.c
    stdin, stdout, stderr       objects over descriptors 0 to 2; setup.py gives pipes, so they know of no file or terminal
    time.timezone and the like  UTC, by the TZ that setup.py sets; the functions of `time` ask the C library afresh
    signal dispositions         csrc/launcher.c sets them; nobody here asks Python for them
    hash secret                 drawn when the picture is taken (docs/security.md)
    sys.path_importer_cache     emptied: directories are listed again
    what a verb has found       no module keeps any of it: a verb's facts are in its own objects
    threading, random, tempfile KEPT_OUT: they would remember an ident or a seed. A verb that needs them imports them itself

A verb that cannot be imported without a shared object is left to import itself, too: what dlopen(3) maps is no part of a picture.
"""

import _imp
import gc
import posix
import sys

from . import args, boot, facts, jsonio, lifecycle, state, supervise
from .config import defaults
from .config import load as configs
from .errors import Error
from .plan import create, encode

KEPT_OUT = ("threading", "random", "tempfile", "uuid", "multiprocessing", "asyncio")
ROUNDS = 12  # CPython 3.11 specializes code after 8 calls of it


class Refused(ImportError):
    """Not in the picture."""


def prepare():
    """Called by csrc/picture.c, once. What is imported and warm now need never be again."""
    left = everything()
    sys.stderr.write(f"not in the picture: {', '.join(left) or 'nothing'}\n")
    sys.stderr.flush()
    for _ in range(ROUNDS):
        words()
        for host in facts.NAMED:
            container(facts.named(host))
    gc.collect()
    gc.freeze()
    live()
    sys.path_importer_cache.clear()
    gc.collect()
    gc.freeze()  # new objects are not chained to old ones


def everything():
    """Import each verb and all frozen modules of pyrunc; the names of those that cannot be."""
    create_dynamic = _imp.create_dynamic
    finder = type(sys.implementation)(find_spec=refuse_kept_out)
    _imp.create_dynamic = refuse
    sys.meta_path.insert(0, finder)
    names = [name for name in sorted(_imp._frozen_module_names()) if name.startswith("pyrunc.") and not name.endswith(".__main__")]
    try:
        return [name for name in names if not imported(name)]
    finally:
        sys.meta_path.remove(finder)
        _imp.create_dynamic = create_dynamic


def imported(name):
    """Whether `name` can be imported; if not, all that it imported is forgotten, since it may have found half of it."""
    before = set(sys.modules)
    try:
        __import__(name)
    except (ImportError, Error):
        for new in set(sys.modules) - before:
            del sys.modules[new]
        return False
    return True


def refuse(spec, *_):
    raise Refused(spec.name)


def refuse_kept_out(name, _path=None, _target=None):
    if name in KEPT_OUT:
        raise Refused(name)


def words():
    """Every verb's command line."""
    for name, (command, _) in boot.COMMANDS.items():
        if f"pyrunc.commands.{name}" in sys.modules:
            module = command()
            globals_, _ = args.parse(args.GLOBALS, ["--root", "/x", "--log", "/y", "--log-format=json", name, "x"], True)
            args.parse(module.OPTIONS + args.HELP, ["--help", "x"], getattr(module, "STOP_AT_ID", False))


def container(host):
    """A container's life on paper: read and check its config, compile, encode, and read what was recorded."""
    raw = (jsonio.dumps(defaults.config(False), indent="\t") + "\n").encode()
    config = configs.parse(raw)
    configs.check(config, True)
    group, v1 = lifecycle.cgroup_paths(config, host, "ID", False)
    request = {"rootless": False, "id": "ID", "bundle": "/b", "state": "/s", "gate": True, "detach": True,
               "cgroup": group, "cgroup_v1": v1, "unit": None, "bpf": None}
    encode.encode(create.compile(config, host, request))
    jsonio.loads(jsonio.dumps(host.dump()).encode())


# --- a container's life, as far as it goes without a process of its own: to grow warm, and for csrc/picture.py to see what verbs write to

LIVE, ENDED = "live", "ended"
LIFE = (  # what a verb refuses makes it warm, too
    f"create {LIVE}", f"state {LIVE}", "list", f"kill {LIVE} 0", f"start {LIVE}", f"exec -d {LIVE} true",
    f"create {ENDED}", f"state {ENDED}", f"kill {ENDED} 0", f"delete {ENDED}", f"state {ENDED}", "--version", f"create {ENDED}",
)


class Paper(supervise.Supervisor):
    """Encodes the plan, and that is all. In the place of init there is who builds pyrunc, who gets no signal but 0; or nobody."""

    def run(self):
        encode.encode(self.plan)
        if self.container.id == LIVE and self.created:
            self.created(posix.getppid())

    def await_exec(self):
        """There is nobody."""


def live():
    """LIFE several times, in the working directory, which was made for this. The containers of the last time are left there."""
    where = posix.getcwd()
    config = defaults.rootless(posix.geteuid(), posix.getegid()) if posix.geteuid() else defaults.config()
    config["process"]["terminal"] = False
    config["linux"]["cgroupsPath"] = "/pyrunc-picture"  # nobody makes it
    for name in ("root", "bundle", "bundle/rootfs"):
        posix.mkdir(f"{where}/{name}", 0o755)
    fd = posix.open(f"{where}/bundle/config.json", posix.O_WRONLY | posix.O_CREAT | posix.O_CLOEXEC, 0o644)
    posix.write(fd, jsonio.dumps(config).encode())
    posix.close(fd)
    posix.chdir(f"{where}/bundle")
    real, supervise.Supervisor = supervise.Supervisor, Paper
    for _ in range(ROUNDS):
        for name in posix.listdir(f"{where}/root"):
            state.load(f"{where}/root", name).remove()
        for line in LIFE:
            try:
                boot.Boundary().command(["--root", f"{where}/root", *line.split()])
            except Error:
                pass
            posix.closerange(3, 100)  # else its locks are held
            gc.collect()
    supervise.Supervisor = real


def main(argv):
    """Of the program that is made to see what it writes to."""
    supervise.Supervisor = Paper
    boot.main(argv)
