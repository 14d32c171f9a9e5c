"""The host's part of the instruction set: what the supervisor does itself, in Python, between the child's steps.

name: (((slot, kind, produced), ...), (arg, ...)). The actions live in `supervise.ACTIONS` under the same names.
"""

HOST = {
    # before the process exists
    "CGROUP": ((("cgroup", "cgroup", True),), ("root", "path", "domain", "optional")),
    "TASKS": ((("cgroup", "cgroup", False), ("tasks", "tasks", True)), ()),
    "CLOS": ((("group", "cgroup", True),), ("root", "name", "existing", "schemas")),
    "LIMIT": ((("cgroup", "cgroup", False),), ("file", "value")),
    "FITS": ((("cgroup", "cgroup", False),), ("file", "limit")),
    "OWNER": ((("cgroup", "cgroup", False),), ("uid",)),
    "DEVICES": ((("cgroup", "cgroup", False),), ("rules",)),
    "PROPERTY": ((), ("name", "type", "value")),
    "SETUNIT": ((("cgroup", "cgroup", False),), ("bus", "unit")),
    "OPENNS": ((("ns", "ns", True),), ("path", "type")),
    "SAME_MAPS": ((("ns", "ns", False),), ("uid_map", "gid_map")),
    "OPENPID": ((("ns", "ns", True),), ()),
    "HOSTPROC": ((("proc", "proc", True),), ()),
    "TREE": ((("tree", "tree", True),), ("path", "flags", "set", "clear", "propagation")),
    "SETATTR": ((("tree", "tree", False),), ("set", "clear", "propagation", "recursive")),
    "USERNS": ((("userns", "ns", True),), ("uid_map", "gid_map")),
    "IDMAP": ((("tree", "tree", False), ("userns", "ns", False)), ("recursive",)),
    "HOSTDIR": ((("root", "root", True),), ("path",)),
    "FIFO": ((("gate", "gate", True), ("status", "status", True)), ()),
    "NETLINK": ((), ("names",)),
    "MEMFD": ((("out", "memfd", True),), ()),
    "NOTIFYDIR": ((), ()),
    "SPAWN": ((("cgroup", "cgroup", False), ("other", "cgroup", False)), ("flags", "first", "affinity")),
    # at a SYNC
    "UNIT": ((("cgroup", "cgroup", True),), ("root", "path", "bus", "unit")),
    "ADOPT": ((), ("bus", "unit", "below")),
    "MAPS": ((), ("uid_map", "gid_map", "setgroups", "helpers")),
    "TIMENS": ((), ("offsets",)),
    "NETNS": ((("netns", "ns", True),), ()),
    "NETDEV": ((("netns", "ns", False),), ("name", "wanted")),
    "HOOKS": ((), ("kind",)),
    "STATE_JSON": ((("state", "memfd", True),), ("status",)),
    "CONSOLE": ((("master", "pty", False),), ()),
    "RLIMITS": ((), ("limits",)),
    "AGENT": ((("notify", "notify", False),), ("listener",)),
    "PIDFD": ((), ("name",)),
    "CREATED": ((), ()),
    "CGROUP_OF": ((("cgroup", "cgroup", True),), ("root", "path")),
    "CGROUP_OF_INIT": ((("cgroup", "cgroup", True),), ("root", "path")),
    "ROOT_OF": ((("root", "root", True),), ()),
    "EXECED": ((), ()),
}
