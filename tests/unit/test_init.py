"""init is freestanding: it needs nothing from anybody, and its plan loader takes no plan that is not whole."""

import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
FLAGS = ("-std=c11 -Os -ffreestanding -fno-stack-protector -fno-pic -no-pie -static -nostdlib").split()


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    out = tmp_path_factory.mktemp("init") / "init"
    sources = sorted(map(str, (ROOT / "csrc/init").glob("*.c")))
    subprocess.run(["cc", *FLAGS, *sources, "-o", str(out)], check=True)
    return out


def test_init_has_no_undefined_symbols(image):
    assert subprocess.run(["nm", "-u", str(image)], capture_output=True, text=True, check=True).stdout == ""


def test_init_needs_no_interpreter_and_no_library(image):
    headers = subprocess.run(["readelf", "-lW", str(image)], capture_output=True, text=True, check=True).stdout
    assert "INTERP" not in headers and "DYNAMIC" not in headers


@pytest.mark.parametrize("args", [[], ["x"], ["3"], ["99999999999"], ["3", "4"], ["-1"], ["/bin/sh"]])
def test_init_called_without_a_plan_ends_at_once(image, args):
    assert subprocess.run([str(image), *args], timeout=5, stdin=subprocess.DEVNULL).returncode == 255
