"""Make the program that starts from a picture of itself (csrc/picture.c says what that is). setup.py calls `make`.

The result is an ordinary executable: the sections of its writable segment have the picture as their content, what was .bss
included. So strip(1), objcopy(1) and the kernel need know nothing of it.
"""

import bisect
import ctypes
import os
import pathlib
import shutil
import struct
import subprocess

PT_LOAD, PT_TLS, PF_W, SHT_PROGBITS, SHT_NOBITS, SHF_TLS = 1, 7, 2, 1, 8, 0x400
HEADER = "<16sHHIQQQIHHHHHH"
SEGMENT = "<IIQQQQQQ"
SECTION = "<IIQQQQIIQQ"
PAGE = 4096
HOT = 128  # rows of a table in picture.c
TRIES = 3  # a number may look like an address; at other addresses another one does


class Unsound(Exception):
    """This picture is not taken into use, and why."""


def make(program, out):
    """Let `program` take its picture, look through it, and write to `out` a copy of `program` that starts from it."""
    for left in reversed(range(TRIES)):
        start, memory, maps, table = take(program, pathlib.Path(f"{out}.memory"))
        found = foreign(start, memory, maps)
        if not found:
            break
        if not left:
            raise Unsound(f"{len(found)} words of the picture point out of it: {', '.join(found[:6])}")
    original = pathlib.Path(program).read_bytes()
    write(out, replace_data(bytearray(original), start, memory))
    try:
        hot = hot_ranges(out, start, start + len(memory))
    except (OSError, subprocess.SubprocessError) as err:  # nobody may trace here: slower, not worse
        print(f"the picture is not laid out: {err}")
        return
    at = table - start
    write(out, replace_data(bytearray(original), start, memory[:at] + hot + memory[at + len(hot):]))


def write(path, image):
    pathlib.Path(path).unlink(missing_ok=True)
    pathlib.Path(path).write_bytes(image)
    os.chmod(path, 0o755)


def take(program, path):
    """Where the memory begins, the memory, /proc/PID/maps of then, where the table of hot ranges is."""
    told = subprocess.run([program, "--take-picture", path], input=b"", capture_output=True, timeout=120, check=False, env={"TZ": "UTC0"})
    if told.returncode:
        raise Unsound(f"exit {told.returncode} while the picture was taken: {told.stderr.decode('utf-8', 'replace')[-500:]}")
    print(told.stderr.decode(), end="")
    maps = pathlib.Path(f"{path}.maps")
    raw, lines = path.read_bytes(), maps.read_text().splitlines()
    path.unlink()
    maps.unlink()
    start, end, hot = struct.unpack_from("<QQQ", raw)
    memory = raw[24:]
    if len(memory) != end - start:
        raise Unsound("the picture is not complete")
    return start, memory, [line.split() for line in lines], hot


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


def hot_ranges(program, low, high):
    """The tables of picture.c: what is written to by every verb that was tried, and by what leads to a process, without one."""
    low &= -PAGE
    root, bundle = f"{program}.root", pathlib.Path(f"{program}.bundle")
    (bundle / "rootfs").mkdir(parents=True, exist_ok=True)
    try:
        subprocess.run([program, "spec", "--bundle", bundle], check=True, timeout=30)  # that it runs at all, too
        verbs = (["state", "x"], ["kill", "x"], ["list"], ["--version"], ["explain", "--bundle", bundle])
        *harmless, explained = [written([program, "--root", root, *words], low, high) for words in verbs]
    finally:
        shutil.rmtree(bundle)
    tables = (set.intersection(*harmless), explained)
    return b"".join(b"".join(struct.pack("<QQ", *row) for row in ranges(pages)).ljust(16 * HOT, b"\0") for pages in tables)


def ranges(pages, gap=0):
    """[(address, size)] of these pages, at most HOT: pages between two that are close are taken as well, if need be."""
    found = []
    for page in sorted(pages):
        if found and page - sum(found[-1]) <= gap * PAGE:
            found[-1] = (found[-1][0], page + PAGE - found[-1][0])
        else:
            found.append((page, PAGE))
    return found if len(found) <= HOT else ranges(pages, gap + 1)


def written(argv, low, high):
    """The pages between two addresses that a run of `argv` has of its own when it ends: ptrace(2), proc_pid_pagemap(5)."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long] * 4
    traceme, cont, setoptions, trace_exit, exiting = 0, 7, 0x4200, 0x40, 6
    child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={},
                             preexec_fn=lambda: libc.ptrace(traceme, 0, 0, 0))
    try:
        _, status = os.waitpid(child.pid, 0)
        if not os.WIFSTOPPED(status) or libc.ptrace(setoptions, child.pid, 0, trace_exit):
            raise OSError("ptrace is not allowed")
        while os.WIFSTOPPED(status) and status >> 16 != exiting:
            signal = os.WSTOPSIG(status)
            libc.ptrace(cont, child.pid, 0, 0 if signal == 5 else signal)
            _, status = os.waitpid(child.pid, 0)
        with open(f"/proc/{child.pid}/pagemap", "rb") as pagemap:
            pagemap.seek(low // PAGE * 8)
            words = struct.unpack(f"<{(high - low) // PAGE}Q", pagemap.read((high - low) // PAGE * 8))
    finally:
        child.kill()
        libc.ptrace(cont, child.pid, 0, 0)  # a process at its exit does not hear even that
        child.wait()
    return {low + i * PAGE for i, word in enumerate(words) if word >> 63 and not word >> 61 & 1}  # in memory, not the file's


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
