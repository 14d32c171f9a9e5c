"""The program that starts from a picture of itself (csrc/picture.c) does whatever is asked as one that starts afresh.

That one is the launcher which executes the interpreter, built here from the same source. Each test holds for it as well, so the
file says nothing about a build without a picture, but that it works.
"""

import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "csrc"))
import picture  # noqa: E402


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("picture")


@pytest.fixture(scope="module")
def afresh(place):
    """A launcher that starts an interpreter from its files."""
    program = place / "afresh"
    subprocess.run(["cc", "-DPYRUNC_EXEC", f"-I{ROOT}/build/generated", ROOT / "csrc/launcher.c", "-o", program], check=True)
    return program


@pytest.fixture(scope="module")
def live(pyrunc, place):
    """The id of a running container in the state root `place/root`, with a bundle in `place/bundle`."""
    name, bundle = f"picture-{os.getpid()}", place / "bundle"
    (bundle / "rootfs/bin").mkdir(parents=True)
    shutil.copy("/bin/busybox", bundle / "rootfs/bin/busybox")
    (bundle / "rootfs/bin/sleep").symlink_to("busybox")
    subprocess.run([pyrunc, "spec", "-b", bundle], check=True)
    config = json.loads((bundle / "config.json").read_text())
    config["process"] |= {"terminal": False, "args": ["sleep", "100"]}
    (bundle / "config.json").write_text(json.dumps(config))
    (place / "broken/rootfs").mkdir(parents=True)
    (place / "broken/config.json").write_text(json.dumps({**config, "hostname": 7, "mounts": {}, "process": {"cwd": []}}))
    begin = [pyrunc, "--root", place / "root"]
    with open(os.devnull, "r+b") as null:
        subprocess.run([*begin, "run", "-d", "-b", bundle, name], stdin=null, stdout=null, check=True, timeout=30)
    yield name
    subprocess.run([*begin, "delete", "-f", name], check=True)


def call(program, words, how="", env=None, **options):
    """(exit code, stdout, stderr) of a command line, run by the shell line `how` in which "$@" is the command."""
    argv = [str(word) for word in (program, *words)]
    argv = ["/bin/sh", "-c", how, "sh", *argv] if how else argv
    done = subprocess.run(argv, capture_output=True, timeout=60, check=False, env=env, **options)
    return done.returncode, re.sub(rb"commit: .*", b"", done.stdout), done.stderr


CONDITIONS = {  # a line of shell
    "as it is": "",
    "no address is random": 'setarch -R "$@"',
    "the old layout of addresses": 'setarch -L "$@"',
    "no limit of the stack": 'ulimit -s unlimited; "$@"',
    "a small stack": 'ulimit -s 256; "$@"',
    "few addresses": 'ulimit -v 40000; "$@"',
    "little data": 'ulimit -d 20000; "$@"',
    "few descriptors": 'ulimit -n 16; "$@"',
    "no core, no locked memory": 'ulimit -c 0; ulimit -l 0; "$@"',
    "no stdin": '"$@" <&-',
    "traced": 'strace -f -o /dev/null "$@"',
    "another name": 'cd /; exec "$@"',
    "another umask": 'umask 0777; "$@"',
    "child signals ignored": "trap '' CHLD HUP TERM; \"$@\"",
}
ENVIRONMENTS = {
    "none": {},
    "a locale": {"LC_ALL": "de_DE.UTF-8", "LANG": "tr_TR.UTF-8"},
    "C": {"LC_ALL": "C"},
    "a time zone": {"TZ": "Asia/Tokyo"},
    "no time zone": {"TZ": ":/nonexistent"},
    "python's": {"PYTHONHOME": "/x", "PYTHONPATH": "/y", "PYTHONVERBOSE": "1", "PYTHONMALLOC": "debug", "PYTHONHASHSEED": "0",
                 "PYTHONINSPECT": "1", "PYTHONDEVMODE": "1", "PYTHONUTF8": "0", "PYTHONIOENCODING": "latin-1", "PYTHONTRACEMALLOC": "9"},
    "malloc's": {"MALLOC_PERTURB_": "165", "MALLOC_ARENA_MAX": "1", "MALLOC_TOP_PAD_": "1048576"},
    "the linker's": {"LD_BIND_NOW": "1", "LD_DEBUG": "", "LD_LIBRARY_PATH": "/nonexistent"},
    "large": {"BIG": "x" * 100_000, **{f"V{i}": str(i) for i in range(2000)}},
    "no text": {b"A": b"\xff\xfe", b"\xe4": b"x"},
}
COMMANDS = {
    "version": ["--version"],
    "state": ["--root", "{root}", "state", "{live}"],
    "list": ["--root", "{root}", "list", "--format", "json"],
    "no such container": ["--root", "{root}", "state", "nope"],
    "features": ["features"],
    "validate": ["validate", "-b", "{bundle}"],
    "validate what has faults": ["validate", "-b", "{broken}"],  # imports what no picture can hold
    "explain": ["explain", "-b", "{bundle}"],
    "no command": ["blah"],
    "no text": ["--root", "{root}", "state", b"\xff\xfe".decode("utf-8", "surrogateescape")],
}


def words_of(command, place, live):
    return [word.format(root=place / "root", live=live, bundle=place / "bundle", broken=place / "broken") for word in COMMANDS[command]]


@pytest.fixture(scope="module")
def wanted(afresh, place, live):
    """{command: what the program that starts afresh says}"""
    return {command: call(afresh, words_of(command, place, live)) for command in COMMANDS}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_kind_of_command_says_what_a_fresh_start_says(pyrunc, wanted, place, live, command):
    assert call(pyrunc, words_of(command, place, live)) == wanted[command]


@pytest.mark.parametrize("command", ("state", "no such container", "features"))
@pytest.mark.parametrize("condition", CONDITIONS)
def test_neither_limits_nor_addresses_nor_descriptors_change_what_is_said(pyrunc, wanted, place, live, condition, command):
    assert call(pyrunc, words_of(command, place, live), CONDITIONS[condition]) == wanted[command]


@pytest.mark.parametrize("command", ("state", "list", "validate", "no text"))
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_no_environment_changes_what_is_said(pyrunc, wanted, place, live, environment, command):
    assert call(pyrunc, words_of(command, place, live), env=ENVIRONMENTS[environment]) == wanted[command]


@pytest.mark.parametrize("how", ('"$@" >&-', '"$@" 2>&-', '"$@" <&- >&- 2>&-', '"$@" >/dev/full', '"$@" | true', '"$@" >/dev/full 2>&1'))
@pytest.mark.parametrize("command", ("state", "features", "no such container"))
def test_a_broken_stdout_ends_in_the_same_way(pyrunc, afresh, place, live, how, command):
    words = words_of(command, place, live)
    assert call(pyrunc, words, how) == call(afresh, words, how)


def test_another_user_is_told_the_same(pyrunc, afresh, place):
    unprivileged = 'setpriv --reuid 65534 --regid 65534 --clear-groups "$@"'
    elsewhere = shutil.copy(pyrunc, "/tmp/" + place.name), shutil.copy(afresh, "/tmp/" + place.name + "-afresh")
    try:
        for words in (["--version"], ["--root", "/nonexistent/x", "state", "nope"]):
            assert call(elsewhere[0], words, unprivileged) == call(elsewhere[1], words, unprivileged)
    finally:
        for path in elsewhere:
            os.unlink(path)


# --- what belongs to a process is the process's

def test_the_environment_is_the_callers(pyrunc, tmp_path):
    """XDG_RUNTIME_DIR chooses the state root of whoever is not root."""
    program = shutil.copy(pyrunc, "/tmp/" + tmp_path.name)
    try:
        for name in ("one", "two"):
            runtime_dir = Path("/tmp") / f"{tmp_path.name}-{name}"
            runtime_dir.mkdir()
            os.chown(runtime_dir, 65534, 65534)
            call(program, ["list"], 'setpriv --reuid 65534 --regid 65534 --clear-groups "$@"', env={"XDG_RUNTIME_DIR": str(runtime_dir)})
            traced = call(program, ["list"], 'setpriv --reuid 65534 --regid 65534 --clear-groups strace -f -e trace=file "$@"',
                          env={"XDG_RUNTIME_DIR": str(runtime_dir), "PATH": os.environ["PATH"]})[2]
            assert str(runtime_dir).encode() in traced
            shutil.rmtree(runtime_dir)
    finally:
        os.unlink(program)


def test_the_log_tells_the_time_of_now_in_utc(pyrunc, tmp_path):
    for zone in ("Asia/Tokyo", "UTC0", "America/Los_Angeles"):
        log = tmp_path / zone.replace("/", "-")
        call(pyrunc, ["--log", log, "--log-format", "json", "--root", tmp_path, "state", "x"], env={"TZ": zone})
        told = json.loads(log.read_text())["time"]
        assert abs(time.time() - time.mktime(time.strptime(told + "UTC", "%Y-%m-%dT%H:%M:%SZ%Z")) + time.timezone) < 60


def test_output_at_a_terminal_and_in_a_file_is_whole(pyrunc, wanted, tmp_path):
    """The objects of stdout were made over a pipe."""
    out = tmp_path / "out"
    out.write_text("before\n")
    assert call(pyrunc, ["features"], f'"$@" >> {out}')[0] == 0
    assert out.read_bytes() == b"before\n" + wanted["features"][1]
    import pty

    master, slave = pty.openpty()
    child = subprocess.Popen([pyrunc, "features"], stdout=slave, stdin=slave, stderr=slave)
    os.close(slave)
    read = b""
    try:
        while data := os.read(master, 65536):
            read += data
    except OSError:
        pass
    os.close(master)
    assert child.wait() == 0 and read.replace(b"\r\n", b"\n") == wanted["features"][1]


def test_a_signal_ends_it_as_it_ends_any_program(pyrunc, place, live):
    """Nothing of Python's signal handling is in the way: the build ran with other dispositions."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        child = subprocess.Popen([pyrunc, "--root", place / "root", "events", live], stdout=subprocess.DEVNULL)
        time.sleep(0.3)
        child.send_signal(number)
        assert child.wait(timeout=10) == -number


def test_many_run_at_once(pyrunc, wanted, place, live):
    words = [str(word) for word in (pyrunc, *words_of("state", place, live))]
    children = [subprocess.Popen(words, stdout=subprocess.PIPE) for _ in range(50)]
    assert {child.communicate()[0] for child in children} == {wanted["state"][1]}


# --- the file

@pytest.mark.parametrize("tool", (["strip"], ["strip", "-s"], ["objcopy"], ["objcopy", "--strip-debug"], ["cp", "--sparse=always"]), ids=" ".join)
def test_tools_that_rewrite_the_file_leave_it_sound(pyrunc, wanted, place, live, tmp_path, tool):
    changed = tmp_path / "pyrunc"
    if tool[0] == "strip":
        shutil.copy(pyrunc, changed)
        subprocess.run([*tool, changed], check=True)
    else:
        subprocess.run([*tool, pyrunc, changed], check=True)
    for command in ("state", "features"):
        assert call(changed, words_of(command, place, live)) == wanted[command]


def test_the_file_is_an_ordinary_hardened_executable(pyrunc):
    def readelf(flag):
        return subprocess.run(["readelf", "-W", flag, pyrunc], capture_output=True, text=True, check=True)

    segments, dynamic = readelf("-l"), readelf("-d")
    assert not segments.stderr and not readelf("-S").stderr
    assert "GNU_RELRO" in segments.stdout and "RWE" not in segments.stdout
    assert "BIND_NOW" in dynamic.stdout or "NOW" in dynamic.stdout
    assert "libm." not in dynamic.stdout  # csrc/maths.c: 9 pages and a tenth of what ld.so does, for nothing
    assert re.search(r"GNU_STACK .* RW ", segments.stdout)


# --- the scan

MAPS = [["400000-500000", "r-xp", "0", "8:1", "7", "/pyrunc"], ["500000-600000", "rw-p", "0", "8:1", "7", "/pyrunc"],
        ["7f0000000000-7f0000100000", "r-xp", "0", "8:1", "8", "/libc"], ["7ffd00000000-7ffd00021000", "rw-p", "0", "0:0", "0", "[stack]"]]


@pytest.mark.parametrize(("word", "found"), ((0, 0), (0x400123, 0), (0x550000, 0), (0x7f0000000010, 1), (0x7f0000100000, 0), (0x7ffd00000001, 1)))
def test_a_word_that_points_out_of_the_program_is_found(word, found):
    memory = bytes(64) + struct.pack("<Q", word) + bytes(24)
    wanted = [f"0x500040 to {'/libc+0x10' if word < 0x7f0000100000 else '[stack]+0x1'}"] if found else []
    assert picture.foreign(0x500000, memory + bytes(0x100000 - len(memory)), MAPS) == wanted


def test_a_picture_with_such_a_word_is_not_used(tmp_path, monkeypatch):
    stack = struct.pack("<Q", 0x7ffd00000001)
    monkeypatch.setattr(picture, "take", lambda *_: picture.Taken(0x500000, stack + bytes(0x100000 - 8), MAPS, 0, 0))
    monkeypatch.setattr(picture, "rehearse", lambda *_: None)
    (tmp_path / "program").touch()
    with pytest.raises(picture.Unsound, match="1 words of the picture point out of it"):
        picture.make(tmp_path / "program", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_program_that_takes_no_picture_is_not_used(tmp_path):
    with pytest.raises(picture.Unsound, match="exit 1 while the picture was taken"):
        picture.take("/bin/false")


# --- the layout

def arena(*sizes):
    """A picture of nothing but an arena with these blocks, and their addresses."""
    memory, places = bytearray(8), []
    for number, size in enumerate(sizes):
        places.append(0x500000 + len(memory) + 8)
        memory += struct.pack("<II", number, size - 8) + bytes(size - 8)
    return picture.Taken(0x500000, bytes(memory) + bytes(-len(memory) % 4096), [], 0x500000, 0), places


def test_blocks_lie_in_the_order_of_how_many_verbs_write_to_them():
    taken, (_, one, some, maker, huge, every) = arena(32, 48, 2048, 64, 1 << 17, 16)
    runs = {line: {every} for line in (*picture.TRIED, *picture.MAKERS)}
    runs[picture.TRIED[0]] |= {one + 32, some + 1024, huge + 32}
    runs[picture.TRIED[1]] |= {some}
    runs[picture.MAKERS[0]] |= {maker + 48, some + 2032}  # the last word of each; the next head is in the same unit
    layout = picture.Layout(taken, runs)
    assert layout.places == {3: (16, 64), 1: (80, 48), 2: (128, 2048), 5: (2176, 16)} and layout.size == 2176
    size, *rows = struct.unpack("<Q12I", layout.dump())
    assert size == 2176 and rows == [0, 0, 80, 3, 128, 128, 16, 4, 0, 0, 2176, 1]


def test_what_a_third_of_the_verbs_writes_to_is_copied_in_advance():
    taken, places = arena(*[4096] * 9)
    runs = {line: set(places[:i]) | {0x4ff000} for i, line in enumerate(picture.TRIED)} | {line: set() for line in picture.MAKERS}
    layout = picture.Layout(taken, runs)
    hot = layout.hot(picture.TRIED)
    assert 0x4ff000 in hot and layout.hot(picture.MAKERS) == []
    wanted = {0x500000 + (layout.places[n][0] - 8 + byte) // 4096 * 4096 for n in range(5) for byte in (0, 4095)}  # 7 to 3 of 8 verbs
    assert set(hot) == wanted | {0x4ff000}


def test_pages_become_few_ranges():
    assert picture.ranges([0x3000, 0x1000, 0x2000, 0x9000]) == [(0x1000, 0x3000), (0x9000, 0x1000)]
    many = picture.ranges(range(0, 4096 * 2 * 200, 4096 * 2))
    assert len(many) <= picture.HOT and sum(size for _, size in many) >= 200 * 4096


def test_the_installed_picture_is_laid_out(pyrunc, tmp_path):
    """What lies together is copied by one call."""
    calls = subprocess.run(["strace", "-e", "trace=madvise", pyrunc, "--root", tmp_path, "state", "none"], capture_output=True, text=True).stderr
    sizes = [int(size) for size in re.findall(r"madvise\(0x\w+, (\d+), MADV_POPULATE_WRITE\)", calls)]
    assert len(sizes) < 64 and max(sizes) > sum(sizes) / 4


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="csrc/written.c knows no other processor")
def test_the_rehearsal_needs_no_privilege_and_its_verbs_get_far():
    """Verbs that were refused would have written to about as much as one that finds no container."""
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        os.chmod(place, 0o777)
        for path in (*(ROOT / "csrc").glob("[wp]*.[cp]*"), ROOT / "build/generated/pyrunc-without-picture"):
            shutil.copy(path, place)
        os.mkdir(f"{place}/csrc")
        shutil.copy(ROOT / "csrc/written.c", f"{place}/csrc")
        script = ("import json, pathlib, picture; program = pathlib.Path('pyrunc-without-picture')\n"
                  "print(json.dumps({line: len(units) for line, units in picture.rehearse(program, program.read_bytes()).runs.items()}))")
        done = subprocess.run(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "/usr/bin/env", "-i", f"PATH={os.environ['PATH']}",
                               sys.executable, "-B", "-c", script], cwd=place, capture_output=True, text=True, check=True, timeout=200)
        wrote = json.loads(done.stdout)
    assert wrote.keys() == {*picture.TRIED, *picture.MAKERS}
    for line, times in (("state live", 1.2), ("delete ended", 1.2), ("create more", 3), ("exec -d live true", 3)):
        assert wrote[line] > times * wrote["state none"], wrote
