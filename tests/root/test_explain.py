"""`explain` needs no root and touches nothing; a poisoned working directory is no path to code of root."""

import json
import os
import subprocess

import pytest

from pyrunc.plan import explain


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
    lines = [line for line in out.stdout.splitlines() if line[:4].strip().isdigit()]
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


# --- what people see


def shown(rt, *args, **how):
    return rt.call("explain", *args, **how).ok().out


def test_one_phase_can_be_asked_for(rt, bundle):
    whole, part = shown(rt, "-b", bundle), shown(rt, "-b", bundle, "--phase", "sys")
    assert "sys: " in part and "MASK" in part and "PIVOT" not in part
    assert set(part.splitlines()) < set(whole.splitlines())
    rt.call("explain", "-b", bundle, "--phase", "x").failed("invalid phase x")


def test_json_has_the_same_words(rt, bundle):
    ops = json.loads(shown(rt, "-b", bundle, "--format", "json"))
    assert [op["n"] for op in ops] == list(range(1, len(ops) + 1)) and {op["phase"] for op in ops} == set(explain.SECTIONS)
    by_name = {op["op"]: op for op in ops}
    assert by_name["SLAVE"]["args"] == {"propagation": "MS_SLAVE"}
    assert by_name["AFFINITY"]["tolerate"] == ["EINVAL"]
    assert by_name["NODE"]["args"]["dev"] == "1:9" and by_name["NODE"]["args"]["uid"] == 0
    assert "CVE-2025-31133" in by_name["MASK"]["guards"]


def on_a_terminal(rt, *args, **env):
    master, slave = os.openpty()
    with subprocess.Popen([rt.binary, "explain", *args], stdout=slave, env={**os.environ, **env}) as child:
        os.close(slave)
        out = b""
        while True:
            try:
                data = os.read(master, 65536)
            except OSError:
                break
            out += data
        assert child.wait() == 0
    os.close(master)
    return out


def test_colour_is_for_a_terminal_and_for_who_wants_it(rt, bundle):
    assert "\x1b" not in shown(rt, "-b", bundle)
    args = ("-b", str(bundle))
    assert b"\x1b[" in on_a_terminal(rt, *args, TERM="xterm")
    assert b"\x1b[" not in on_a_terminal(rt, *args, TERM="xterm", NO_COLOR="1")
    assert b"\x1b[" not in on_a_terminal(rt, *args, TERM="dumb")


def test_two_bundles_differ_in_what_their_configs_differ_in(rt, bundle):
    other = rt.container({"process": {"noNewPrivileges": False}, "hostname": "other"}).bundle.path
    out = shown(rt, "-b", bundle, "--diff", other)
    changed = [line for line in out.splitlines() if line[:2] in ("- ", "+ ")][2:]
    names = [line.split()[2] for line in changed]
    assert "NNP" in names and "HOSTNAME" in names and "SETID" not in names and "MASK" not in names
    assert "the plans do the same" in shown(rt, "-b", bundle, "--diff", bundle)
    data = json.loads(shown(rt, "-b", bundle, "--diff", other, "--format", "json"))
    assert "NNP" in {op["op"] for op in data["removed"]} and "NNP" not in {op["op"] for op in data["added"]}


def test_a_container_differs_from_its_bundle_in_what_was_changed_since(rt):
    container = rt.container()
    container.create().ok()
    path = container.bundle.path
    assert "the plans do the same" in shown(rt, "--id", container.id, "--diff", path)
    config = json.loads((path / "config.json").read_text())
    config["process"]["user"] = {"uid": 7, "gid": 8}
    (path / "config.json").write_text(json.dumps(config))
    out = shown(rt, "-b", path, "--diff", container.id, "--phase", "cred")
    assert "- I  SETID        uid=7 gid=8" in out and "+ I  SETID        uid=0 gid=0" in out
    container.delete("--force").ok()


def test_an_id_that_nobody_has_is_no_container(rt, bundle):
    rt.call("explain", "-b", bundle, "--diff", "nobody").failed("does not exist")


# --- the plan that create ran is kept


def test_the_plan_of_a_container_is_the_one_that_create_ran(rt):
    container = rt.container({"hostname": "first"})
    container.create().ok()
    kept = rt.root / container.id / "plan.json"
    kept.write_text(kept.read_text().replace('"first"', '"kept"'))
    assert '"kept"' in shown(rt, "--id", container.id)
    for broken in ("{", "{}", '{"format": 9}', kept.read_text().replace('"HOSTNAME"', '"NEWER"')):
        kept.write_text(broken)
        assert '"first"' in shown(rt, "--id", container.id)
    kept.unlink()
    assert '"first"' in shown(rt, "--id", container.id)
    container.delete("--force").ok()


@pytest.mark.parametrize("keep", (True, False))
def test_start_words_a_failure_by_the_plan_that_was_kept_or_compiles_it(rt, keep):
    container = rt.container({"hooks": {"startContainer": [{"path": "/bin/false"}]}})
    container.create().ok()
    kept = rt.root / container.id / "plan.json"
    if keep:
        text = kept.read_text()
        assert text.count("/hooks/startContainer/0") == 1
        kept.write_text(text.replace("/hooks/startContainer/0", "/hooks/startContainer/7"))
    else:
        kept.unlink()
    container.start().failed(f"error running startContainer hook #{7 if keep else 0}")
    container.delete("--force").ok()
