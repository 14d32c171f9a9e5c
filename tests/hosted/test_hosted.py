"""Init's ops under ASan and UBSan over a scripted kernel; a fuzz target for the plan loader; init for the other architecture."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pyrunc import facts
from pyrunc.plan import exec as exec_plan
from pyrunc.plan.encode import encode
from pyrunc.plan.optable import OPS
from tests.plan.cases import CASES, base
from tests.plan.test_goldens import plan_of

REPOSITORY = Path(__file__).resolve().parent.parent.parent
SOURCES = [str(REPOSITORY / "tests/hosted/kernel.c"), *sorted(str(path) for path in (REPOSITORY / "csrc/init").glob("*.c"))]
FLAGS = ["-std=c11", "-g", "-O1", "-DPYRUNC_HOSTED", "-fno-omit-frame-pointer", f"-I{REPOSITORY}/csrc/init", f"-I{REPOSITORY}/csrc"]
SANITIZE = "-fsanitize=address,undefined"
# What an op can't do alone in a hosted process, with the reason.
NEVER_GOOD: dict[str, str] = {}
NEVER_BAD = {"CLOSE": "close(2) always closes", "HOME": "without a passwd file it is /"}


@pytest.fixture(scope="module")
def plans(tmp_path_factory):
    out = tmp_path_factory.mktemp("plans")
    for name in CASES:
        (out / name).write_bytes(encode(plan_of(name))[0])
    joined = exec_plan.compile({**base(), "process": {**base()["process"], "user": {"uid": 5, "gid": 5}}}, facts.named("root-v2"),
                               {"id": "c1", "bpf": None, "cgroup": "c1", "detach": True})
    (out / "exec").write_bytes(encode(joined)[0])
    return sorted(out.iterdir())


def build(compiler, out, *flags):
    if not shutil.which(compiler):
        pytest.skip(f"{compiler} is not installed")
    done = subprocess.run([compiler, *FLAGS, *flags, *SOURCES, "-o", str(out)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return str(out)


def test_every_op_with_every_kind_of_file_and_every_call_failing(plans, tmp_path):
    program = build("gcc", tmp_path / "ops", SANITIZE, "-fno-sanitize-recover=all")
    done = subprocess.run([program, *plans], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    counts = {name: (int(good), int(bad)) for name, good, bad in (line.split() for line in done.stdout.splitlines())}
    assert set(counts) == set(OPS)
    assert {name for name, (good, _) in counts.items() if not good} == set(NEVER_GOOD)
    assert {name for name, (_, bad) in counts.items() if not bad} == set(NEVER_BAD)


def test_fuzzing_the_loader_and_the_interpreter(plans, tmp_path):
    """A short run from the compiler's own plans; PYRUNC_FUZZ=SECONDS makes it a long one."""
    program = build("clang", tmp_path / "fuzz", "-DFUZZ", "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for plan in plans:
        for script in (b"", b"\0" * 8 + b"\x85", bytes(range(64))):
            (corpus / f"{plan.name}-{len(script)}").write_bytes(bytes([len(script)]) + script + plan.read_bytes())
    seconds = os.environ.get("PYRUNC_FUZZ", "15")
    done = subprocess.run([program, f"-max_total_time={seconds}", "-seed=1", "-max_len=20000", "-timeout=10", "-rss_limit_mb=1024", str(corpus)],
                          capture_output=True, text=True, check=False, cwd=tmp_path, timeout=int(seconds) + 120)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "DONE" in done.stderr or "stat::" in done.stderr or "Done" in done.stderr


def test_init_compiles_for_aarch64_and_needs_nothing(tmp_path):
    compiler = "aarch64-linux-gnu-gcc"
    if not shutil.which(compiler):
        pytest.skip("no cross compiler (apt-get install gcc-aarch64-linux-gnu linux-libc-dev-arm64-cross)")
    text = (REPOSITORY / "setup.py").read_text()
    flags = " ".join(re.findall(r'"([^"]*)"', text[text.index("INIT_FLAGS"):text.index(").split()")])).split()
    out = tmp_path / "init"
    sources = [source for source in SOURCES if "csrc/init" in source]
    done = subprocess.run([compiler, *flags, *sources, "-o", str(out)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    undefined = subprocess.run(["aarch64-linux-gnu-nm", "-u", str(out)], capture_output=True, text=True, check=False)
    assert undefined.stdout.strip() == ""
    assert out.stat().st_size < 64 << 10
