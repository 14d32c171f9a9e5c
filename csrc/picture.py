"""Make the program that starts from a picture of itself (csrc/picture.c says what that is). setup.py calls `make`.

The result is an ordinary executable: the sections of its writable segment have the picture as their content, what was .bss
included. So strip(1), objcopy(1) and the kernel need know nothing of it.
"""

import bisect
import collections
import os
import pathlib
import struct
import subprocess
import tempfile
import typing

PT_LOAD, PT_TLS, PF_W, SHT_PROGBITS, SHT_NOBITS, SHF_TLS = 1, 7, 2, 1, 8, 0x400
HEADER = "<16sHHIQQQIHHHHHH"
SEGMENT = "<IIQQQQQQ"
SECTION = "<IIQQQQIIQQ"
PAGE = 4096
HOT = 128  # rows of a table in picture.c
UNIT, HEAD = 16, 8  # bytes of the arena that picture.c counts in; of struct head
LARGE = 1 << 16  # of such a block nobody writes to more than a small part
# In this order, on what pyrunc/picture.py leaves behind. The live container's process is that of the build.
TRIED = ("state live", "list", "kill live 0", "start live", "state ended", "delete ended", "state none", "--version")
MAKERS = ("create more", "exec -d live true")
CANNOT = 125  # says written.c
TRIES = 3  # a number may look like an address; at other addresses another one does


class Unsound(Exception):
    """This picture is not taken into use, and why."""


class Taken(typing.NamedTuple):
    """A picture: where its memory begins, the memory, /proc/PID/maps of then, where the arena and the table of hot ranges are."""

    start: int
    memory: bytes
    maps: list[list[str]]
    arena: int
    table: int


def make(program, out):
    """Let `program` take its picture, look through it, and write to `out` a copy of `program` that starts from it."""
    original = pathlib.Path(program).read_bytes()
    try:
        layout = rehearse(program, original)
    except (OSError, subprocess.SubprocessError) as err:  # another machine, or no right: slower, not worse
        print(f"the picture is not laid out: {err}")
        layout = None
    for left in reversed(range(TRIES)):
        taken = take(program, layout.dump() if layout else b"")
        found = foreign(taken.start, taken.memory, taken.maps)
        if not found:
            break
        if not left:
            raise Unsound(f"{len(found)} words of the picture point out of it: {', '.join(found[:6])}")
    memory = taken.memory
    if layout:
        at, hot = taken.table - taken.start, table(layout.hot(TRIED)) + table(layout.hot(MAKERS))
        memory = memory[:at] + hot + memory[at + len(hot):]
    write(out, replace_data(bytearray(original), taken.start, memory))


def write(path, image):
    pathlib.Path(path).unlink(missing_ok=True)
    pathlib.Path(path).write_bytes(image)
    os.chmod(path, 0o755)


def take(program, layout=b"", rehearsal=None):
    """A picture of `program`: laid out, or for a rehearsal, in a directory in which that goes on."""
    with tempfile.TemporaryDirectory() as scratch:
        path, maps, places = (pathlib.Path(scratch, name) for name in ("memory", "memory.maps", "layout"))
        places.write_bytes(layout)
        how = ["--rehearse", path] if rehearsal else ["--take-picture", path, *([places] if layout else [])]
        where = pathlib.Path(rehearsal or scratch, "life")
        where.mkdir()
        told = subprocess.run([os.path.abspath(program), *how], input=b"", capture_output=True, timeout=120, check=False, cwd=where,
                              env={"TZ": "UTC0"})
        if told.returncode:
            raise Unsound(f"exit {told.returncode} while the picture was taken: {told.stderr.decode('utf-8', 'replace')[-500:]}")
        if not rehearsal:
            print(told.stderr.decode(), end="")
        raw, lines = path.read_bytes(), maps.read_text().splitlines()
    start, end, arena, hot = struct.unpack_from("<QQQQ", raw)
    memory = raw[32:]
    if len(memory) != end - start:
        raise Unsound("the picture is not complete")
    return Taken(start, memory, [line.split() for line in lines], arena, hot)


def foreign(start, memory, maps):
    """Words that point to what will lie elsewhere in another process: any mapping but the program's own, which are the lowest."""
    end, places = start + len(memory), []
    for span, _, _, _, _, *name in maps:
        low, high = (int(number, 16) for number in span.split("-"))
        if low >= end:
            places.append((low, high, name[0] if name else "anonymous memory"))
    places.sort()
    lows = [low for low, _, _ in places]
    found = []
    for at, (word,) in enumerate(struct.iter_unpack("<Q", memory[:len(memory) // 8 * 8])):
        i = bisect.bisect(lows, word) - 1 if word >= lows[0] else -1
        if i >= 0 and word < places[i][1]:
            found.append(f"{start + 8 * at:#x} to {places[i][2]}+{word - places[i][0]:#x}")
    return found


# --- the layout: which blocks of the arena verbs write to is tried with a first picture; in the second these lie side by side

def rehearse(program, original):
    """A Layout, by trying."""
    with tempfile.TemporaryDirectory() as scratch:
        spy, tried = pathlib.Path(scratch, "written.so"), pathlib.Path(scratch, "pyrunc")
        subprocess.run([os.environ.get("CC", "cc"), "-O2", "-shared", "-fPIC", "csrc/written.c", "-o", spy], check=True)
        taken = take(program, rehearsal=scratch)
        write(tried, replace_data(bytearray(original), taken.start, taken.memory))
        return Layout(taken, {line: written(spy, tried, taken, line.split()) for line in TRIED + MAKERS})


def written(spy, program, taken, words):
    """The units of 16 bytes that a verb writes to: csrc/written.c notes them."""
    low, high = taken.start & -PAGE, taken.start + len(taken.memory)
    life, seen = spy.with_name("life"), spy.with_name("seen")
    with open(seen, "wb") as file:
        file.truncate((high - low) // UNIT)
    done = subprocess.run([program, "--root", life / "root", *words], cwd=life / "bundle", stdin=subprocess.DEVNULL, capture_output=True,
                          env={"LD_PRELOAD": str(spy), "PYRUNC_WRITTEN": f"{low:x} {high:x} {seen}"}, timeout=120, check=False)
    if done.returncode < 0 or done.returncode == CANNOT:  # other codes are the verb's own
        raise OSError(f"{' '.join(words)} ends with {done.returncode} when its memory is read-only")
    return {low + UNIT * i for i, byte in enumerate(seen.read_bytes()) if byte}


class Layout:
    """Where each block is to lie that a verb writes to: at the front of the arena, those that all write to last.

    A block is known by which allocation it was and how large: by these the next run, which allocates the same, finds its place.
    """

    def __init__(self, taken, runs):
        self.runs, self.arena = runs, taken.arena
        heads = list(blocks(taken))
        starts, end = [at for at, _, _ in heads], heads[-1][0] + heads[-1][2]
        self.writers = collections.defaultdict(set)  # by number
        sizes = {}
        for line, units in runs.items():
            for unit in units:
                if taken.arena <= unit < end:
                    _, number, size = heads[bisect.bisect(starts, unit + HEAD - 1) - 1]
                    if size <= LARGE:
                        self.writers[number].add(line)
                        sizes[number] = size
        self.places, self.size = {}, 0
        for number in sorted(sizes, key=self.rank):
            self.places[number] = UNIT + self.size, sizes[number]
            self.size += sizes[number]

    def rank(self, number):
        makers = len(self.writers[number].intersection(MAKERS))
        return len(self.writers[number]) - makers, makers, number

    def dump(self):
        """As picture.c reads it: how much room the places take, then by number where each is and of how many units."""
        places = bytearray(8 * (1 + max(self.places, default=0)))
        for number, (at, size) in self.places.items():
            struct.pack_into("<II", places, 8 * number, at, size // UNIT)
        return struct.pack("<Q", self.size) + places

    def hot(self, lines):
        """The pages that a third of these verbs writes to, or more: copied in advance, one costs a third of what it costs later."""
        counts = collections.Counter()
        for line in lines:
            pages = {unit & -PAGE for unit in self.runs[line] if unit < self.arena}
            for number, (at, size) in self.places.items():
                if line in self.writers[number]:
                    pages.update(range(self.arena + at - HEAD & -PAGE, self.arena + at - HEAD + size, PAGE))
            counts.update(pages)
        return [page for page, count in counts.items() if 3 * count >= len(lines)]


def blocks(taken):
    """(address, number, size) of each block of the arena: struct head of picture.c is in front of it."""
    at = taken.arena - taken.start + UNIT - HEAD
    while at < len(taken.memory):
        number, room = struct.unpack_from("<II", taken.memory, at)
        if not room:
            break
        yield taken.start + at, number, room + HEAD
        at += room + HEAD


def table(pages):
    """One of picture.c: [(address, size)] of these pages."""
    return b"".join([struct.pack("<QQ", *row) for row in ranges(pages)]).ljust(16 * HOT, b"\0")


def ranges(pages, gap=0):
    """[(address, size)] of these pages, at most HOT: pages between two that are close are taken as well, if need be."""
    found = []
    for page in sorted(pages):
        if found and page - sum(found[-1]) <= gap * PAGE:
            found[-1] = (found[-1][0], page + PAGE - found[-1][0])
        else:
            found.append((page, PAGE))
    return found if len(found) <= HOT else ranges(pages, gap + 1)


def replace_data(image, start, memory):
    """`image`, an ELF, with `memory` as what lies at `start` and behind: everything in the file after its writable segment moves."""
    header = list(struct.unpack_from(HEADER, image))
    phoff, shoff, phentsize, phnum, shentsize, shnum = header[5], header[6], header[9], header[10], header[11], header[12]
    segments = [phoff + i * phentsize for i in range(phnum)]
    for at in segments:
        kind, flags, offset, vaddr, paddr, filesz, memsz, align = struct.unpack_from(SEGMENT, image, at)
        if kind == PT_LOAD and flags & PF_W:
            break
    end = start + len(memory)
    if not (vaddr <= start <= vaddr + filesz and vaddr + filesz <= end <= vaddr + memsz):
        raise Unsound("the picture does not cover the program's data")
    new = bytes(image[offset:offset + start - vaddr]) + memory
    behind = offset + filesz  # in the file
    moved = len(new) - filesz + 63 & ~63
    struct.pack_into(SEGMENT, image, at, kind, flags, offset, vaddr, paddr, len(new), len(new), align)
    for i in range(shnum):
        row = shoff + i * shentsize
        section = list(struct.unpack_from(SECTION, image, row))
        _, sort, flags, address, place, size = section[:6]
        if vaddr <= address < vaddr + memsz and not flags & SHF_TLS:
            section[4] = offset + address - vaddr
            if sort == SHT_NOBITS:
                section[1], section[5] = SHT_PROGBITS, max(0, min(address + size, end) - address)
        elif place >= behind and sort != SHT_NOBITS:
            section[4] += moved
        struct.pack_into(SECTION, image, row, *section)
    header[6] += moved if shoff >= behind else 0
    struct.pack_into(HEADER, image, 0, *header)
    return bytes(image[:offset]) + new + b"\0" * (moved - len(new) + filesz) + bytes(image[behind:])
