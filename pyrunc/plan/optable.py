"""The instruction set, generated from csrc/ops.def by csrc/optable.py. Do not edit.

name: (code, roles, phase, ((slot, kind, produced), ...), ((arg, type), ...), may stand after SECCOMP); produced 2: a list
"""

OPS = {
    "SIGRESET": (0, "MI", "clean", (), (), 0),
    "PDEATHSIG": (1, "MI", "any", (), (("signal", "u32"),), 0),
    "DUMPABLE": (2, "MI", "any", (), (("value", "u32"),), 0),
    "OOM": (3, "MI", "clean", (("proc", "proc", 0),), (("value", "str"),), 0),
    "JOIN": (4, "MI", "any", (("tasks", "tasks", 0),), (), 0),
    "NOFILE": (5, "MI", "any", (), (("raise", "u32"),), 0),
    "SETNS": (6, "MI", "ns", (("ns", "ns", 0),), (("nstype", "u32"),), 0),
    "UNSHARE": (7, "MI", "ns", (), (("flags", "u32"),), 0),
    "FORK": (8, "M", "ns", (), (), 0),
    "SETSID": (9, "MI", "ns", (), (), 0),
    "KEYRING": (10, "MI", "ns", (), (("name", "str"), ("perms", "u32")), 0),
    "LOOPBACK": (11, "I", "ns", (), (), 0),
    "BECOME": (12, "MI", "ns", (), (("uid", "u32"), ("gid", "u32")), 0),
    "SLAVE": (13, "MI", "fs", (), (("propagation", "u32"),), 0),
    "TREE": (14, "MI", "any", (("tree", "tree", 1), ("root", "root", 0)), (("path", "str"), ("flags", "u32"), ("set", "u32"), ("clear", "u32"), ("propagation", "u32"), ("explicit", "u32")), 0),
    "VERIFY_DEV": (15, "I", "fs", (("tree", "tree", 0),), (("mode", "u32"), ("dev", "u32")), 0),
    "FSMOUNT": (16, "MI", "fs", (("tree", "tree", 1), ("root", "root", 0)), (("type", "str"), ("data", "vec"), ("attr", "u32"), ("like", "str")), 0),
    "MOUNT": (17, "I", "fs", (("tree", "tree", 1), ("root", "root", 0)), (("type", "str"), ("source", "str"), ("flags", "u32"), ("data", "str"), ("attr", "u32"), ("like", "str")), 0),
    "RELABEL": (18, "I", "fs", (("tree", "tree", 0),), (("label", "str"),), 0),
    "SETATTR": (19, "MI", "any", (("tree", "tree", 0),), (("flags", "u32"), ("set", "u32"), ("clear", "u32"), ("propagation", "u32"), ("explicit", "u32")), 0),
    "ROOT": (20, "I", "fs", (("tree", "tree", 0), ("root", "root", 1)), (("path", "str"),), 0),
    "OPENROOT": (21, "I", "fs", (("root", "root", 1),), (), 0),
    "NEWPROC": (22, "I", "fs", (("proc", "proc", 1),), (), 0),
    "OPENPROC": (23, "I", "fs", (("proc", "proc", 1), ("root", "root", 0)), (), 0),
    "ATTACH": (24, "I", "any", (("tree", "tree", 0), ("root", "root", 0)), (("path", "str"), ("flags", "u32"), ("mode", "u32")), 0),
    "COPYUP": (25, "I", "fs", (("tree", "tree", 0), ("root", "root", 0)), (("path", "str"),), 0),
    "NODE": (26, "I", "fs", (("root", "root", 0),), (("path", "str"), ("mode", "u32"), ("dev", "u32"), ("uid", "u32"), ("gid", "u32")), 0),
    "LINK": (27, "I", "fs", (("root", "root", 0),), (("path", "str"), ("target", "str"), ("replace", "u32")), 0),
    "MKDIR": (28, "I", "any", (("root", "root", 0),), (("path", "str"), ("mode", "u32")), 0),
    "PIVOT": (29, "I", "fs", (("root", "root", 0),), (), 0),
    "MOVEROOT": (30, "I", "fs", (("root", "root", 0),), (), 0),
    "PURGE": (31, "I", "fs", (("root", "root", 0),), (), 0),
    "CHROOT": (32, "MI", "any", (("root", "root", 0),), (), 0),
    "DEVNULL": (33, "I", "sys", (("root", "root", 0), ("devnull", "devnull", 1)), (), 0),
    "NULLFD": (34, "I", "sys", (("root", "root", 0),), (), 0),
    "PTY": (35, "I", "sys", (("root", "root", 0), ("master", "pty", 1), ("peer", "tty", 1)), (("rows", "u32"), ("cols", "u32"), ("uid", "u32")), 0),
    "CTTY": (36, "I", "sys", (("peer", "tty", 0),), (), 0),
    "HOSTNAME": (37, "I", "sys", (), (("name", "str"),), 0),
    "DOMAINNAME": (38, "I", "sys", (), (("name", "str"),), 0),
    "SYSCTL": (39, "I", "sys", (("proc", "proc", 0),), (("path", "str"), ("value", "str")), 0),
    "READONLY": (40, "I", "sys", (("root", "root", 0),), (("path", "str"),), 0),
    "MASK": (41, "I", "sys", (("root", "root", 0), ("devnull", "devnull", 0)), (("path", "str"), ("label", "str")), 0),
    "UMASK": (42, "I", "sys", (), (("mask", "u32"),), 0),
    "CHOWN_STDIO": (43, "I", "sys", (), (("uid", "u32"),), 0),
    "LABEL": (44, "I", "any", (("proc", "proc", 0),), (("path", "str"), ("value", "str")), 0),
    "SCHED": (45, "I", "cred", (), (("attr", "blob"),), 0),
    "IOPRIO": (46, "I", "cred", (), (("value", "u32"),), 0),
    "PERSONALITY": (47, "I", "cred", (), (("persona", "u32"),), 0),
    "MEMPOLICY": (48, "I", "cred", (), (("mode", "u32"), ("nodes", "blob")), 0),
    "AFFINITY": (49, "MI", "any", (), (("mask", "blob"),), 0),
    "NNP": (50, "I", "cred", (), (), 0),
    "CHDIR": (51, "I", "cred", (("root", "root", 0),), (("path", "str"),), 0),
    "HOME": (52, "I", "cred", (("root", "root", 0),), (("uid", "u32"),), 0),
    "BOUND": (53, "I", "cred", (), (("keep", "u64"),), 0),
    "RLIMIT": (54, "I", "cred", (), (("resource", "u32"), ("soft", "u64"), ("hard", "u64")), 0),
    "KEEPCAPS": (55, "I", "cred", (), (), 0),
    "SETGROUPS": (56, "MI", "any", (), (("gids", "blob"),), 0),
    "SETID": (57, "I", "cred", (), (("uid", "u32"), ("gid", "u32")), 0),
    "CAPS": (58, "I", "cred", (), (("masks", "blob"),), 1),
    "AMBIENT": (59, "I", "cred", (), (("caps", "u64"),), 1),
    "SIGEND": (60, "I", "cred", (), (), 0),
    "VERIFY_CWD": (61, "I", "cred", (), (), 0),
    "LOOKUP": (62, "I", "cred", (("root", "root", 0),), (("candidates", "vec"),), 0),
    "SEAL": (63, "I", "cred", (("keep", "any", 0), ("also", "any", 0), ("third", "any", 0)), (("first", "u32"),), 0),
    "SECCOMP": (64, "I", "cred", (("notify", "notify", 1),), (("filter", "blob"), ("flags", "u32")), 0),
    "SYNC": (65, "MI", "any", (("send", "any", 0), ("got", "any", 2)), (("seq", "u32"),), 1),
    "GATE": (66, "I", "gate", (("gate", "gate", 0),), (), 1),
    "HOOK": (67, "I", "any", (("cwd", "root", 0), ("state", "memfd", 0), ("out", "memfd", 0), ("err", "memfd", 0)), (("path", "str"), ("argv", "vec"), ("env", "vec"), ("timeout", "u32"), ("home", "u32")), 1),
    "EXEC": (68, "I", "exec", (("status", "status", 0),), (("argv", "vec"), ("env", "vec")), 1),
}

STEPS = ("none", "load", "open", "create", "clone", "move", "attr", "fsopen", "fsconfig", "fscreate", "fsmount", "stat", "verify", "read", "write", "unlink", "chown", "chmod", "ioctl", "dup", "fork", "exec", "timeout", "exit", "signalled", "umount", "chdir", "peer", "notfound", "symlink", "notdir", "notproc", "locked", "label")

PLAN_MAGIC = 1314214480
PLAN_VERSION = 4
NO_SLOT = 4294967295
BATCH = 16
SAY_EXEC = 4294967280
SAY_FAIL = 4294967295
ATTACH_REAL_DIR = 1
ATTACH_CLONE = 2
ATTACH_FILE = 4
ATTACH_IN_PROC = 8
ATTACH_PROC = 16
TREE_RECURSIVE = 1
TREE_NOFOLLOW = 2
TREE_ATTR_REC = 4
TREE_KEEP = 8
