"""One source: the Python table is what ops.def says."""

import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_the_python_table_is_generated_from_ops_def():
    out = subprocess.run([sys.executable, str(ROOT / "csrc/optable.py")], capture_output=True, text=True, check=True)
    assert out.stdout == (ROOT / "pyrunc/plan/optable.py").read_text()


def test_every_op_of_the_host_has_an_action():
    source = (ROOT / "pyrunc/supervise.py").read_text()
    from pyrunc.plan.hostops import HOST

    missing = [name for name in HOST if f'"{name}": _' not in source]
    assert missing == []
