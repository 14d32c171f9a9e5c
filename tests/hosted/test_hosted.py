"""Init's own sources under ASan and UBSan over a scripted kernel, and a fuzz target for the plan loader."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pyrunc import facts
from pyrunc.plan import exec as exec_plan
from pyrunc.plan.encode import encode
from pyrunc.plan.ops import INIT
from pyrunc.plan.optable import STEPS
from pyrunc.plan.request import Joining
from pyrunc.plan.script import Plan
from tests.plan.cases import CASES, base
from tests.plan.test_goldens import plan_of

HERE = Path(__file__).parent
CSRC = HERE.parents[1] / "csrc"
SOURCES = [HERE / "driver.c", HERE / "kernel.c", *sorted((CSRC / "init").glob("*.c"))]
FLAGS = ["-std=c11", "-g", "-O1", "-Wall", "-Wextra", "-Werror", "-DPYRUNC_HOSTED", "-fno-omit-frame-pointer",
         "-fno-sanitize-recover=all", f"-I{CSRC}", f"-I{CSRC}/init"]
EIO = 5
# No failure of a call of theirs is theirs, and why.
ALWAYS_GOOD = {"HOME": "without a passwd file it is /"}


def compiled():
    """name -> the plan of every case of the goldens, and of an exec."""
    plans = {name: plan_of(name) for name in CASES}
    user = {**base(), "process": {**base()["process"], "user": {"uid": 5, "gid": 5}}}
    plans["exec"] = exec_plan.compiled(user, facts.named("root-v2"), Joining("c1", cgroup="c1", detach=True))
    return plans


def alone(op):
    """The bytes of a plan of this op: what it takes is there from birth, and ends with it; what a SYNC gets ends after it."""
    plan = Plan(10)
    for slot in op.consumed():
        plan.add("H", "HOSTDIR", (slot,), ("/",))
    plan.kinds.clear()  # what is in a slot is nothing to the scripted kernel
    plan.add("H", "PLAN")
    plan.add(op.row.roles[-1], op.name, op.slots, op.args)
    for slot in op.produced() if op.name == "SYNC" else ():
        plan.add("I", "SETATTR", (slot,), (0, 0, 0, 0, 0))
    return encode(plan)[0]


def every_op():
    """Each op as the compiler writes it, once; the ops of all plans make up the instruction set."""
    ops = {}
    for plan in compiled().values():
        for op in plan.child_ops():
            ops[repr((op.name, op.args, [slot is not None for slot in op.slots]))] = op
    assert {op.name for op in ops.values()} == {row.name for row in INIT}
    return list(ops.values())


def build(compiler, out, *flags):
    if not shutil.which(compiler):
        pytest.skip(f"{compiler} is not installed")
    sources = [source for source in SOURCES if source.name != "start.c"]  # the driver includes it
    done = subprocess.run([compiler, *FLAGS, *flags, *sources, "-o", out], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    return build("gcc", tmp_path_factory.mktemp("driver") / "driver", "-fsanitize=address,undefined")


def step_of(outcome):
    """`read`, `read=ENOENT` or `ok`"""
    step, _, errno = outcome.partition("=")
    return step if step == "ok" else STEPS[int(step) & 0xFF] + (f"={os.strerror(int(errno))}" if errno else "")


def table(lines):
    """OP CALL: what init tells when the call fails with EIO; and what else with an errno it treats in its own way."""
    found = {}
    for op, call, errno, outcome in map(str.split, lines):
        found.setdefault((op, call), {}).setdefault(int(errno), set()).add(step_of(outcome))
    text = ""
    for (op, call), outcomes in sorted(found.items()):
        usual = outcomes[EIO]
        special = [f"{os.strerror(errno)}: {' '.join(sorted(steps))}" for errno, steps in sorted(outcomes.items()) if steps != usual]
        text += f"{op:12}{call:18}{'; '.join([' '.join(sorted(usual)), *special])}\n"
    return text


def test_what_every_op_tells_of_every_call_that_fails(driver, tmp_path):
    """The table that was reviewed. PYRUNC_GOLDENS=write renews it."""
    plans = [tmp_path / str(i) for i, _ in enumerate(every_op())]
    for plan, op in zip(plans, every_op(), strict=True):
        plan.write_bytes(alone(op))
    lines = run(driver, *plans).splitlines()
    told = {op for op, _, _, outcome in map(str.split, lines) if outcome != "ok"}
    assert {row.name for row in INIT} - told == set(ALWAYS_GOOD)
    golden = HERE / "failures.txt"
    if os.environ.get("PYRUNC_GOLDENS") == "write":
        golden.write_text(table(lines))
    assert table(lines) == golden.read_text()


def test_fuzzing_the_loader_and_the_interpreter(tmp_path):
    """A short run from the compiler's own plans; PYRUNC_FUZZ=SECONDS makes it a long one."""
    program = build("clang", tmp_path / "fuzz", "-DFUZZ", "-fsanitize=fuzzer,address,undefined")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for name, plan in compiled().items():
        for script in (b"", bytes(8) + b"\x85", bytes(range(64))):
            (corpus / f"{name}-{len(script)}").write_bytes(bytes([len(script)]) + script + encode(plan)[0])
    seconds = os.environ.get("PYRUNC_FUZZ", "15")
    done = subprocess.run(
        [program, f"-max_total_time={seconds}", "-seed=1", "-max_len=20000", "-timeout=10", "-rss_limit_mb=1024", corpus],
        capture_output=True, text=True, check=False, cwd=tmp_path, timeout=int(seconds) + 120)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "DONE" in done.stderr


def test_init_compiles_for_aarch64_and_needs_nothing(tmp_path):
    compiler = "aarch64-linux-gnu-gcc"
    if not shutil.which(compiler):
        pytest.skip("no cross compiler (apt-get install gcc-aarch64-linux-gnu linux-libc-dev-arm64-cross)")
    text = (CSRC.parent / "setup.py").read_text()
    flags = " ".join(re.findall(r'"([^"]*)"', text[text.index("INIT_FLAGS"):text.index(").split()")])).split()
    out = tmp_path / "init"
    sources = sorted((CSRC / "init").glob("*.c"))
    done = subprocess.run([compiler, *flags, *sources, "-o", out], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    undefined = subprocess.run(["aarch64-linux-gnu-nm", "-u", out], capture_output=True, text=True, check=False)
    assert undefined.stdout.strip() == ""
    assert out.stat().st_size < 64 << 10


@pytest.mark.parametrize("source", sorted(path.name for path in [*CSRC.glob("shim_*.c"), CSRC / "seccomp.c", CSRC / "bus.c"]))
def test_the_shim_compiles_for_aarch64(tmp_path, source):
    if not shutil.which("aarch64-linux-gnu-gcc"):
        pytest.skip("no cross compiler (apt-get install gcc-aarch64-linux-gnu linux-libc-dev-arm64-cross)")
    (tmp_path / "init_image.h").write_text("static const unsigned char init_image[1];\nstatic const unsigned init_image_len = 1;\n")
    run("aarch64-linux-gnu-gcc", "-O2", "-std=gnu11", "-Wall", "-Wextra", "-Werror", f"-I{tmp_path}", "-c", CSRC / source, "-o", tmp_path / "o")


def test_init_does_on_aarch64_what_it_does_here(driver, tmp_path):
    """A sample of the ops, each of their calls failing, by user-mode emulation; the kernel is the scripted one there as well."""
    emulator = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    if not emulator:
        pytest.skip("no emulator (apt-get install qemu-user-static)")
    other = build("aarch64-linux-gnu-gcc", tmp_path / "driver", "-static", "-DNO_RED_ZONES")
    plans = []
    for i, op in enumerate(every_op()[::20]):
        plans.append(tmp_path / str(i))
        plans[-1].write_bytes(alone(op))
    assert run(emulator, other, *plans) == run(driver, *plans) != ""
