"""The grammar of `mounts[].options`: which word means what, and what a list of them asks for.

Data first: each word of config.md#linux-mount-options stands in exactly one of the tables below; everything else is
data for the filesystem. `parse` folds a list of words into a MountOptions, in order, so that later words win. Pure.
"""

from __future__ import annotations

from ..typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# mount_setattr(2), linux/mount.h
ATTR_RDONLY = 0x00000001
ATTR_NOSUID = 0x00000002
ATTR_NODEV = 0x00000004
ATTR_NOEXEC = 0x00000008
ATTR_ATIME = 0x00000070  # a field of three values, not three flags; relatime is its 0
ATTR_NOATIME = 0x00000010
ATTR_STRICTATIME = 0x00000020
ATTR_NODIRATIME = 0x00000080
ATTR_NOSYMFOLLOW = 0x00200000
LOCKABLE = ATTR_RDONLY | ATTR_NOSUID | ATTR_NODEV | ATTR_NOEXEC  # with the access times: mount_namespaces(7)
ATTR_ALL = (ATTR_RDONLY | ATTR_NOSUID | ATTR_NODEV | ATTR_NOEXEC | ATTR_ATIME | ATTR_NODIRATIME | ATTR_NOSYMFOLLOW)

# mount(2) propagation types
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20

# Plain flags of mount(8). word: (bits added to attr_set, bits taken from attr_set, bits added to attr_clr,
#                                 superblock flag, whether the word sets (True) or clears (False) that flag)
FLAGS: dict[str, tuple[int, int, int, str | None, bool]] = {
    "ro": (ATTR_RDONLY, 0, 0, "ro", True),
    "rw": (0, ATTR_RDONLY, ATTR_RDONLY, "ro", False),
    "nosuid": (ATTR_NOSUID, 0, 0, None, True),
    "suid": (0, ATTR_NOSUID, ATTR_NOSUID, None, False),
    "nodev": (ATTR_NODEV, 0, 0, None, True),
    "dev": (0, ATTR_NODEV, ATTR_NODEV, None, False),
    "noexec": (ATTR_NOEXEC, 0, 0, None, True),
    "exec": (0, ATTR_NOEXEC, ATTR_NOEXEC, None, False),
    "nodiratime": (ATTR_NODIRATIME, 0, 0, None, True),
    "diratime": (0, ATTR_NODIRATIME, ATTR_NODIRATIME, None, False),
    "nosymfollow": (ATTR_NOSYMFOLLOW, 0, 0, None, True),
    "symfollow": (0, ATTR_NOSYMFOLLOW, ATTR_NOSYMFOLLOW, None, False),
    "noatime": (ATTR_NOATIME, ATTR_ATIME, ATTR_ATIME, None, True),
    "atime": (0, ATTR_NOATIME, 0, None, False),
    "strictatime": (ATTR_STRICTATIME, ATTR_ATIME, ATTR_ATIME, None, True),
    "nostrictatime": (0, ATTR_STRICTATIME, 0, None, False),
    "relatime": (0, ATTR_ATIME, ATTR_ATIME, None, True),
    "norelatime": (0, 0, 0, None, False),  # relatime is what the kernel does unless told otherwise; nothing to clear
    "sync": (0, 0, 0, "sync", True),
    "async": (0, 0, 0, "sync", False),
    "dirsync": (0, 0, 0, "dirsync", True),
    "mand": (0, 0, 0, "mand", True),
    "nomand": (0, 0, 0, "mand", False),
    "lazytime": (0, 0, 0, "lazytime", True),
    "nolazytime": (0, 0, 0, "lazytime", False),
    "iversion": (0, 0, 0, "iversion", True),
    "noiversion": (0, 0, 0, "iversion", False),
    "silent": (0, 0, 0, "silent", True),
    "loud": (0, 0, 0, "silent", False),
}

# The superblock flags fsconfig(2) knows by name; MS_I_VERSION and MS_SILENT exist in mount(2) only.
SB_FSCONFIG = ("ro", "sync", "dirsync", "mand", "lazytime")
# mount(2) bits of the superblock flags, for the fallback and for comparing with runc
SB_MS = {"ro": 1, "sync": 16, "mand": 64, "dirsync": 128, "silent": 32768, "iversion": 1 << 23, "lazytime": 1 << 25}

# What mount_setattr(2) does to a whole tree (AT_RECURSIVE, Linux 5.12): bits added and taken as in FLAGS.
RECURSIVE = {
    "rro": (ATTR_RDONLY, 0, 0),
    "rrw": (0, ATTR_RDONLY, ATTR_RDONLY),
    "rnosuid": (ATTR_NOSUID, 0, 0),
    "rsuid": (0, ATTR_NOSUID, ATTR_NOSUID),
    "rnodev": (ATTR_NODEV, 0, 0),
    "rdev": (0, ATTR_NODEV, ATTR_NODEV),
    "rnoexec": (ATTR_NOEXEC, 0, 0),
    "rexec": (0, ATTR_NOEXEC, ATTR_NOEXEC),
    "rnodiratime": (ATTR_NODIRATIME, 0, 0),
    "rdiratime": (0, ATTR_NODIRATIME, ATTR_NODIRATIME),
    "rnosymfollow": (ATTR_NOSYMFOLLOW, 0, 0),
    "rsymfollow": (0, ATTR_NOSYMFOLLOW, ATTR_NOSYMFOLLOW),
    "rnoatime": (ATTR_NOATIME, ATTR_ATIME, ATTR_ATIME),
    "ratime": (0, ATTR_NOATIME, ATTR_ATIME),
    "rstrictatime": (ATTR_STRICTATIME, ATTR_ATIME, ATTR_ATIME),
    "rnostrictatime": (0, ATTR_STRICTATIME, ATTR_ATIME),
    "rrelatime": (0, ATTR_ATIME, ATTR_ATIME),
    # unlike the plain word this one has an effect in runc: it puts the field back to its default
    "rnorelatime": (0, 0, ATTR_ATIME),
}

# Shared subtrees, mount_namespaces(7): applied after the mount, one call each, in the order given.
PROPAGATION = {
    "private": (MS_PRIVATE, False),
    "rprivate": (MS_PRIVATE, True),
    "shared": (MS_SHARED, False),
    "rshared": (MS_SHARED, True),
    "slave": (MS_SLAVE, False),
    "rslave": (MS_SLAVE, True),
    "unbindable": (MS_UNBINDABLE, False),
    "runbindable": (MS_UNBINDABLE, True),
}

# Words that set a slot of MountOptions: word: ((slot, value), ...)
WORDS: dict[str, tuple[tuple[str, bool], ...]] = {
    "defaults": (),
    "bind": (("bind", True),),
    "rbind": (("bind", True), ("recursive", True)),
    "remount": (("remount", True),),
    "tmpcopyup": (("tmpcopyup", True),),
    "idmap": (("idmap", True), ("ridmap", False)),
    "ridmap": (("idmap", True), ("ridmap", True)),
}

# For `features`: every word that is not data.
NAMES = sorted([*FLAGS, *RECURSIVE, *PROPAGATION, *WORDS])


class MountOptions:
    """What one mount's options ask for.

    bind         bind mount; recursive: of the whole tree (rbind)
    remount      the word was there
    attr_set     MOUNT_ATTR_* bits asked for; attr_clr: bits asked to be off (ATTR_ATIME in it: the field was chosen)
    any_flag     some plain flag was asked for, on or off: then, and only then, a bind gets its own flags
    sb_set       names of superblock flags wanted, in order; sb_clr: names asked to be off
    rec_attr_set, rec_attr_clr   as attr_*, for the whole tree
    propagation  [(MS_SHARED | MS_PRIVATE | MS_SLAVE | MS_UNBINDABLE, recursive)], in order
    data         ["key=value" or "key"] for the filesystem; commas: some word had one
    tmpcopyup    copy the directory's content into the tmpfs
    idmap        the mount must be idmapped; ridmap: its whole tree
    """

    __slots__ = ("bind", "recursive", "remount", "attr_set", "attr_clr", "any_flag", "sb_set", "sb_clr",
                 "rec_attr_set", "rec_attr_clr", "propagation", "data", "commas", "tmpcopyup", "idmap", "ridmap")

    def __init__(self) -> None:
        self.bind = self.recursive = self.remount = self.any_flag = False
        self.commas = self.tmpcopyup = self.idmap = self.ridmap = False
        self.attr_set = self.attr_clr = self.rec_attr_set = self.rec_attr_clr = 0
        self.sb_set: list[str] = []
        self.sb_clr: list[str] = []
        self.propagation: list[tuple[int, bool]] = []
        self.data: list[str] = []

    def __repr__(self) -> str:
        return "MountOptions(" + ", ".join([name + "=" + repr(getattr(self, name)) for name in self.__slots__]) + ")"

    def __eq__(self, other: object) -> bool:
        return type(other) is MountOptions and all([getattr(self, n) == getattr(other, n) for n in self.__slots__])


def parse(options: Iterable[str]) -> MountOptions:
    """Fold a list of option words into a MountOptions. Never fails: an unknown word is data (config.md says SHOULD)."""
    out = MountOptions()
    for word in options:
        if word in FLAGS:
            _flag(out, *FLAGS[word])
        elif word in WORDS:
            for slot, value in WORDS[word]:
                setattr(out, slot, value)
        elif word in PROPAGATION:
            out.propagation.append(PROPAGATION[word])
        elif word in RECURSIVE:
            add, take, clear = RECURSIVE[word]
            out.rec_attr_set = out.rec_attr_set & ~take | add
            out.rec_attr_clr = out.rec_attr_clr & ~(add & ~ATTR_ATIME) | clear
        elif "," in word:
            out.data += split(word)
            out.commas = True
        elif word:
            out.data.append(word)
    return out


def _flag(out: MountOptions, add: int, take: int, clear: int, superblock: str | None, on: bool) -> None:
    out.any_flag = True
    out.attr_set = out.attr_set & ~take | add
    out.attr_clr = out.attr_clr & ~(add & ~ATTR_ATIME) | clear
    if superblock is not None:
        wanted, other = (out.sb_set, out.sb_clr) if on else (out.sb_clr, out.sb_set)
        if superblock in other:
            other.remove(superblock)
        if superblock not in wanted:
            wanted.append(superblock)


def split(word: str) -> list[str]:
    """Cut `a=1,b="x,y",c=p\\,q` at its commas as mount(8) and overlayfs do: not in quotes, not after a backslash.

    mount(2) would have cut the data string; fsconfig(2) takes one key at a time.
    """
    parts, part, quoted, escaped = [], "", False, False
    for char in word:
        if char == "," and not quoted and not escaped:
            parts.append(part)
            part = ""
            continue
        quoted ^= char == '"' and not escaped
        escaped = char == "\\" and not escaped
        part += char
    parts.append(part)
    return [part for part in parts if part]


def bind_attrs(options: MountOptions) -> tuple[int, int]:
    """(set, clear) for mount_setattr(2) on a bind whose options have any_flag: exactly the flags asked for.

    Flags of the source that were not asked for are dropped, as runc's MS_REMOUNT|MS_BIND does; and as with that call
    the access-time fields are kept unless one of them was asked for (fs/namespace.c, path_mount()), which the words that
    only take one back (atime, diratime, nostrictatime, norelatime) do not.
    """
    clear = ATTR_ALL & ~(options.attr_set & ~ATTR_ATIME)
    if not (options.attr_clr & ATTR_ATIME or options.attr_set & ATTR_NODIRATIME):
        clear &= ~(ATTR_ATIME | ATTR_NODIRATIME)
    return options.attr_set, clear


def explicit(options: MountOptions) -> int:
    """The lockable flags whose opposites the options name: a user namespace that insists on one of them is an error."""
    return options.attr_clr & LOCKABLE


STRING_MAX = 255  # bytes of one string of fsconfig(2)
PAGE_MAX = 4095  # bytes of the data of mount(2), which reads a page


def page(options: MountOptions, source: str, data: list[str] | None = None) -> str | None:
    """The data as mount(2) takes it, or None where fsconfig(2) does. data: what stands in the place of the options' own.

    That takes no string above 255 bytes; and a comma in a value (escaped, quoted, a list of nodes) is for the file system to
    read, in the way it does in a whole page of options.
    """
    data = options.data if data is None else data
    strings = [source, *[half for part in data for half in part.partition("=")[::2]]]
    if options.commas or any([len(text.encode("utf-8", "surrogateescape")) > STRING_MAX for text in strings]):
        return ",".join(data)
    return None
