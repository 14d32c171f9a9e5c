"""The command line where it needs root or containers: spec, list, ps, features, logs, global options."""

import json
import os
import re
import subprocess

import pytest

known_bad = pytest.mark.runc_known_bad
only_pyrunc = known_bad("a verb of pyrunc alone")
SLEEP = {"process": {"args": ["/bin/probe", "sleep"]}}
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")


# --- spec

@known_bad("1.1 gives ambient capabilities")
def test_spec_writes_a_bundle_that_runs(rt):
    """Shows 2: `spec` plus a busybox rootfs, only without the terminal."""
    container = rt.container()
    os.unlink(container.bundle.path / "config.json")
    assert rt.call("spec", "-b", container.bundle.path).ok().out == ""
    text = (container.bundle.path / "config.json").read_text()
    config = json.loads(text)
    assert text.startswith('{\n\t"ociVersion"')
    assert config["process"]["terminal"] is True and config["process"]["args"] == ["sh"]
    assert config["root"] == {"path": "rootfs", "readonly": True} and config["hostname"]
    assert "inheritable" not in config["process"]["capabilities"] and "ambient" not in config["process"]["capabilities"]
    config["process"].update(terminal=False, args=["/bin/echo", "it runs"])
    config["linux"]["cgroupsPath"] = f"/{container.id}"
    container.bundle.raw(json.dumps(config))
    assert container.run().ok().out == "it runs\n"


def test_spec_does_not_overwrite(rt):
    bundle = rt.bundle()
    before = (bundle.path / "config.json").read_bytes()
    rt.call("spec", cwd=bundle.path).failed("File config.json exists. Remove it first")
    assert (bundle.path / "config.json").read_bytes() == before


def test_spec_rootless_maps_the_caller_and_drops_what_needs_root(rt):
    rt.call("spec", "--rootless", cwd=rt.base).ok()
    config = json.loads((rt.base / "config.json").read_text())
    kinds = {entry["type"] for entry in config["linux"]["namespaces"]}
    assert "user" in kinds and "network" not in kinds
    assert config["linux"]["uidMappings"] == [{"containerID": 0, "hostID": 0, "size": 1}]
    assert "resources" not in config["linux"]
    assert not [option for mount in config["mounts"] for option in mount.get("options", ())
                if option.startswith(("uid=", "gid="))]
    sys = next(mount for mount in config["mounts"] if mount["destination"] == "/sys")
    assert sys["source"] == "/sys" and "rbind" in sys["options"] and "ro" in sys["options"]


# --- list

def test_list_shows_each_container_in_a_table_and_as_json_and_as_ids(rt):
    up, created = rt.container(SLEEP).up(), rt.container(SLEEP, {"annotations": {"a": "b"}})
    created.create().ok()
    lines = rt.call("list").ok().out.splitlines()
    assert lines[0].split() == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    rows = {line.split()[0]: line.split() for line in lines[1:]}
    assert rows[up.id][1:4] == [str(up.pid), "running", str(up.bundle.path)]
    assert rows[created.id][2] == "created" and rows[created.id][5] == "root"
    assert RFC3339.fullmatch(rows[created.id][4])
    entries = {entry["id"]: entry for entry in rt.call("list", "--format=json").ok().json()}
    state = created.state().json()
    assert entries[created.id] == {**state, "owner": "root"}
    text = rt.call("list", "-f", "json").ok().out
    assert text.endswith("\n") and "\n" not in text[:-1] and '": ' not in text
    assert sorted(rt.call("list", "-q").ok().out.split("\n")) == sorted(["", up.id, created.id])


def test_list_of_nothing_is_null_and_a_header(rt):
    assert rt.call("list", "-f", "json").ok().out == "null\n"
    assert rt.call("list").ok().out.split() == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    assert rt.call("list", "-q").ok().out == ""


def test_list_refuses_an_unknown_format(rt):
    rt.container(SLEEP).create().ok()
    rt.call("list", "--format", "xml").failed("invalid format option")


def test_list_shows_the_others_when_one_container_cannot_be_loaded(rt):
    good = rt.container(SLEEP).up()
    broken = rt.root / f"{rt.token}-broken"
    broken.mkdir(mode=0o711)
    (broken / "state.json").write_text("{")
    result = rt.call("list", "-q")
    assert good.id in result.out.split() and "broken" in result.err, result
    (broken / "state.json").unlink()


@known_bad("1.1 lists nothing")
def test_list_of_a_missing_explicit_root_is_an_error(rt):
    rt.call("--root", rt.base / "none", "list", root=False).failed("no such file or directory")


# --- ps

def test_ps_json_is_a_compact_list_of_host_pids(rt):
    up = rt.container(SLEEP).up()
    assert rt.call("ps", "--format", "json", up.id).ok().out.strip() == f"[{up.pid}]"


def test_ps_table_is_the_header_of_ps_and_the_containers_rows(rt):
    up = rt.container(SLEEP).up()
    up.exec("/bin/sleep", "1000", options=("-d",)).ok()
    lines = rt.call("ps", up.id).ok().out.splitlines()
    assert lines[0].split()[:2] == ["UID", "PID"] and len(lines) == 3
    lines = rt.call("ps", up.id, "-o", "pid,comm").ok().out.splitlines()
    assert lines[0].split() == ["PID", "COMMAND"]
    assert sorted(line.split()[1] for line in lines[1:]) == ["probe", "sleep"]


def test_ps_without_a_pid_column_is_an_error(rt):
    up = rt.container(SLEEP).up()
    rt.call("ps", up.id, "-o", "comm").failed("couldn't find PID field in ps output")


# --- features, version, help

@known_bad("1.1.5 of Debian has no features or other keys")
def test_features_is_the_documented_object(rt):
    features = rt.call("features").ok().json()
    assert features["ociVersionMin"] == "1.0.0"
    assert features["hooks"] == ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]
    assert features["mountOptions"] == sorted(features["mountOptions"])
    assert {"rro", "rbind", "nosymfollow", "tmpcopyup", "idmap", "ridmap"} <= set(features["mountOptions"])
    linux = features["linux"]
    assert sorted(linux["namespaces"]) == ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"]
    assert "CAP_CHECKPOINT_RESTORE" in linux["capabilities"]
    assert linux["seccomp"]["enabled"] is True and "SCMP_ACT_NOTIFY" in linux["seccomp"]["actions"]
    assert linux["mountExtensions"]["idmap"]["enabled"] is True
    assert set(linux["cgroup"]) >= {"v1", "v2", "systemd", "systemdUser"}
    assert isinstance(features["potentiallyUnsafeConfigAnnotations"], list)


@known_bad("1.1.5 of Debian has no features")
def test_features_of_seccomp_are_those_of_the_kernel_and_libseccomp_here(rt):
    features = rt.call("features").ok().json()
    found = features["linux"]["seccomp"]
    assert re.fullmatch(r"2\.\d+\.\d+", features["annotations"]["io.github.seccomp.libseccomp.version"])
    assert {"SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"} <= set(found["archs"])
    assert {"SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"} <= set(found["supportedFlags"]) <= set(found["knownFlags"])


def test_version_has_the_lines_that_callers_parse(rt):
    lines = rt.call("--version", root=False, log=False).ok().out.splitlines()
    assert re.fullmatch(r"\w+ version \S+.*", lines[0])
    assert any(re.fullmatch(r"spec: 1\.\d+\.\d+.*", line) for line in lines)
    assert rt.call("-v", root=False, log=False).ok().out.splitlines() == lines


def test_help_is_on_stdout_and_names_every_verb(rt):
    text = rt.call("--help", root=False, log=False).ok().out
    for verb in ("create", "start", "run", "state", "kill", "delete", "exec", "list", "ps", "spec"):
        assert re.search(rf"^\s+{verb}\b", text, re.M), verb
    assert rt.call(root=False, log=False).out == text or "create" in rt.call(root=False, log=False).out


@pytest.mark.parametrize("verb", ["create", "start", "run", "state", "kill", "delete", "exec", "list", "ps", "spec"])
def test_every_verb_has_help(rt, verb):
    result = rt.call(verb, "--help", root=False, log=False).ok()
    assert verb in result.out and result.err == ""


# --- wrong usage

@pytest.mark.parametrize("args", [("create",), ("create", "a", "b"), ("start",), ("state",), ("kill",), ("delete",), ("run",),
                                  ("start", "a", "b")])
def test_a_wrong_number_of_arguments_shows_usage_on_stdout_and_the_error_on_stderr(rt, args):
    result = rt.call(*args)
    assert result.code == 1
    assert "Incorrect Usage." in result.out and args[0] in result.err
    assert "requires" in result.err and "Traceback" not in result.err


@pytest.mark.parametrize("args", [("create", "--nonsense", "x"), ("--nonsense", "list"), ("nonsense",), ("create", "--bundle"),
                                  ("delete", "--force=maybe", "x"), ("exec", "--user")])
@known_bad("an unknown verb exits with 3")
def test_an_unknown_option_or_verb_is_refused(rt, args):
    result = rt.call(*args)
    if args == ("nonsense",):
        assert result.code != 0 and "nonsense" in result.out + result.err
    else:
        assert result.code in (1, 255) and result.out + result.err
    assert "Traceback" not in result.err


@pytest.mark.parametrize("form", [["--bundle={}"], ["--bundle", "{}"], ["-b", "{}"]])
def test_an_option_may_have_its_value_attached_or_apart(rt, form):
    container = rt.container(SLEEP)
    rt.call("create", *(part.format(container.bundle.path) for part in form), container.id).ok()
    assert container.status == "created"


# --- logs

def test_an_unknown_log_format_is_refused(rt):
    result = rt.call("--log-format", "xml", "list", log=False)
    assert result.code == 1 and "invalid log-format: xml" in result.err


@known_bad("1.1 takes it")
def test_the_root_may_not_be_the_root_directory(rt):
    result = rt.call("--root", "/", "list", root=False)
    assert result.code == 1 and "Option --root argument should not be set to /" in result.err


def test_the_json_log_line_is_what_callers_parse(rt):
    result = rt.call("state", "none").failed()
    line = result.log_text
    assert line.endswith("\n") and line.count("\n") == 1
    entry = json.loads(line)
    assert entry["level"] == "error" and RFC3339.fullmatch(entry["time"]) and entry["msg"] == result.error
    assert list(entry) == sorted(entry)


def test_the_text_log_line_is_what_logrus_writes(rt):
    log = rt.base / "text.log"
    result = rt.call("--log", log, "state", "none", log=False)
    assert result.code == 1 and "does not exist" in result.err
    assert re.fullmatch(r'time="[^"]+" level=error msg="?.*does not exist"?\n', log.read_text())


def test_the_log_is_appended_to_and_made_with_mode_0644(rt):
    log = rt.base / "x.log"
    for _ in range(2):
        rt.call("--log", log, "--log-format", "json", "state", "none", log=False)
    assert len(log.read_text().splitlines()) == 2 and log.stat().st_mode & 0o777 == 0o644


def test_without_a_log_file_the_error_is_on_stderr_once(rt):
    result = rt.call("state", "none", log=False)
    assert result.code == 1 and result.err.count("does not exist") == 1


def test_an_error_in_exec_exits_with_255_and_in_all_else_with_1(rt):
    up = rt.container(SLEEP).up()
    assert up.exec("nonesuch").code == 255
    assert rt.call("exec", "none", "true").code == 255
    assert rt.call("state", "none").code == 1


def test_debug_adds_to_the_log_and_changes_no_result(rt):
    container = rt.container({"process": {"args": ["/bin/echo", "x"]}})
    assert container.run(options=("--debug",)).ok().out == "x\n"


def test_prefixes_of_errors_name_the_verb(rt):
    container = rt.container({"process": {"args": ["nonesuch"]}})
    assert re.match(r"\w+ create failed: ", container.create().failed().error)
    assert re.match(r"\w+ run failed: ", container.run().failed().error)
    up = rt.container(SLEEP).up()
    assert up.exec("nonesuch").failed(code=255).error.startswith("exec failed: ")


# --- environment of the runtime

def test_it_works_with_an_empty_environment_and_the_bundle_as_directory(rt):
    container = rt.container({"process": {"args": ["/bin/echo", "fine"]}})
    result = subprocess.run([rt.binary, "--root", str(rt.root), "run", container.id], cwd=container.bundle.path, env={},
                            capture_output=True, text=True, timeout=30, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "fine\n", "")


def test_it_works_with_its_standard_descriptors_closed(rt):
    container = rt.container(SLEEP)
    script = 'exec "$@" <&- >&- 2>&-'
    rt.call("create", "-b", container.bundle.path, container.id, wrap=("/bin/bash", "-c", script, "x")).ok()
    assert container.status == "created"
    fds = {name: os.readlink(f"/proc/{container.pid}/fd/{name}") for name in os.listdir(f"/proc/{container.pid}/fd")}
    assert not [link for link in fds.values() if "state.json" in link], fds


@known_bad("is changed by it")
def test_the_umask_of_the_caller_changes_no_mode_of_the_state(rt):
    container = rt.container(SLEEP)
    container.create(preexec=lambda: os.umask(0o077)).ok()
    assert container.directory.stat().st_mode & 0o777 == 0o711


# --- verbs that only pyrunc has

@only_pyrunc
def test_validate_lists_every_fault_with_its_pointer(rt):
    bundle = rt.bundle({"process": {"cwd": "relative", "args": []}, "hostname": 7})
    result = rt.call("validate", "-b", bundle.path)
    assert result.code == 1
    for pointer in ("/process/cwd", "/process/args", "/hostname"):
        assert pointer in result.out + result.err, pointer


@only_pyrunc
def test_validate_says_nothing_bad_about_a_good_bundle(rt):
    rt.call("validate", "-b", rt.bundle().path).ok()


@only_pyrunc
def test_explain_lists_each_op_with_its_source_and_touches_nothing(rt, host):
    result = rt.call("explain", "-b", rt.bundle().path).ok()
    for word in ("PIVOT", "EXEC", "CAPS", "GATE", "/process/args", "/mounts/0"):
        assert word in result.out, word
    ops = rt.call("explain", "-b", rt.bundle().path, "--format", "json").ok().json()
    assert ops


@only_pyrunc
def test_explain_of_a_created_container_shows_the_plan_it_has(rt):
    container = rt.container(SLEEP)
    container.create().ok()
    (container.bundle.path / "config.json").unlink()
    assert "EXEC" in rt.call("explain", "--id", container.id).ok().out


@only_pyrunc
def test_explain_works_for_an_ordinary_user_without_any_right(rt):
    bundle = rt.bundle()
    os.chmod(rt.base, 0o755)
    result = rt.call("explain", "-b", bundle.path, root=False, log=False,
                     wrap=("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all", "--no-new-privs"))
    assert "PIVOT" in result.ok().out
