"""`explain` needs no root and touches nothing; a poisoned working directory is no path to code of root."""

import os
import subprocess

import pytest


@pytest.fixture
def bundle(rt):
    return rt.container().bundle.path


def as_nobody(command, cwd="/"):
    return subprocess.run(command, cwd=cwd, user=65534, group=65534, extra_groups=[], capture_output=True, text=True)


def test_an_ordinary_user_can_explain_a_bundle_and_every_op_has_its_source(rt, tmp_path):
    os.chmod(tmp_path, 0o755)
    subprocess.run([rt.binary, "spec", "--bundle", str(tmp_path)], check=True)
    for parent in tmp_path.parents:
        if parent.stat().st_uid == 0 and parent != parent.parent and not parent.stat().st_mode & 1:
            os.chmod(parent, parent.stat().st_mode | 0o055)
    before = sorted(os.listdir(tmp_path))
    out = as_nobody([rt.binary, "explain", "--bundle", str(tmp_path), "--facts", "root-v2"])
    assert out.returncode == 0, out.stderr
    lines = out.stdout.splitlines()
    assert len(lines) > 60 and all(" <- " in line for line in lines)
    assert sorted(os.listdir(tmp_path)) == before


def test_python_files_in_the_working_directory_are_never_run(rt, bundle):
    for name in ("json", "posix", "os", "encodings", "pyrunc", "codecs", "_cffi_backend", "sitecustomize", "site"):
        (bundle / f"{name}.py").write_text("raise SystemExit('poisoned')\n")
    environment = {"PYTHONPATH": str(bundle), "PYTHONSTARTUP": str(bundle / "json.py"), "PYTHONHOME": str(bundle)}
    for env in ({}, environment):
        out = subprocess.run([rt.binary, "--root", str(rt.root), "run", "poison"], cwd=bundle, env=env,
                             capture_output=True, text=True, timeout=30)
        assert "poisoned" not in out.stdout + out.stderr
        assert out.returncode == 0, out.stderr
