"""Buildah of Debian as root over the runtime, with the environment that docs/podman.md gives it."""

import os

import pytest
from kit.podman import Podman


@pytest.fixture(scope="module")
def engine(runtime):
    engine = Podman(runtime)
    yield engine
    engine.close()


@pytest.fixture
def buildah(engine):
    """Buildah; its working containers go, and the runtime must have kept nothing."""
    yield engine.buildah
    engine.buildah("rm", "--all")
    engine.clear()


@pytest.fixture
def working(buildah):
    """A working container."""
    return buildah("from", "busy").out.strip()


@pytest.fixture
def build(engine, buildah, tmp_path):
    """build(Containerfile text, *options, **files): the result of `bud` in a context with these files."""
    def build(text, *options, files=None, code=0):
        context = engine.base / tmp_path.name
        context.mkdir()
        (context / "Containerfile").write_text(text)
        for name, data in (files or {}).items():
            (context / name).write_text(data)
        engine.calls.write_text("")
        return buildah("bud", "--network", "none", "-t", "built", *options, context, code=code)
    return build


def built(engine, *command):
    """What the built image says under Podman."""
    return engine.run("--rm", "built", *command).out


def test_bud(engine, build):
    build("FROM busy\nCOPY text /text\nRUN echo built >/built && id -u && hostname\nUSER user\nWORKDIR /home/user\n"
          'RUN id -u >uid && pwd >pwd && echo "$WORD" >word\nENV WORD=later\nCMD ["cat", "/text", "/built", "uid", "pwd"]\n',
          files={"text": "copied\n"})
    assert built(engine) == "copied\nbuilt\n1000\n/home/user\n"


def test_the_runtime_is_used(engine, build):
    """Each RUN is one container: create, start, and delete, with a pid file, and no state left."""
    build("FROM busy\nRUN true\nRUN true\n")
    calls = engine.calls.read_text().splitlines()
    verbs = [next(word for word in line.split() if word in ("create", "start", "state", "kill", "delete")) for line in calls]
    assert [verb for verb in verbs if verb != "state"] == ["create", "start", "delete"] * 2 or \
        [verb for verb in verbs if verb not in ("state", "kill")] == ["create", "start", "delete"] * 2, calls
    assert "--pid-file" in calls[0]


def test_bud_by_options(engine, buildah, build):
    """--runtime and --isolation on the command line, with a path."""
    build("FROM busy\nRUN echo by path >/by\n", "--isolation", "oci", "--runtime", engine.path)
    assert engine.calls.read_text() == ""
    assert built(engine, "cat", "/by") == "by path\n"


@pytest.mark.parametrize("command, code", [
    ("exit 7", 7), ("nosuchcommand", 127),
    pytest.param("kill -9 $$", 137, marks=pytest.mark.xfail(reason="Buildah 1.28 takes an end by a signal for success", strict=True)),
])
def test_a_run_that_fails(build, command, code):
    result = build(f"FROM busy\nRUN {command}\n", code=code)
    assert "while running runtime: exit status" in result.err and "Traceback" not in result.err


def test_what_the_runtime_refuses_is_shown(build):
    result = build('FROM busy\nRUN ["nosuch"]\n', code=None)
    message = result.err.replace('\\"', '"')  # runc's own text log has quoted it
    assert result.code == 1 and 'exec: "nosuch": executable file not found in $PATH' in message, repr(result)


def test_run_with_mounts(engine, build):
    (engine.base / "word").write_text("hush")
    build("FROM busy\n"
          "RUN --mount=type=tmpfs,target=/t grep ' /t tmpfs' /proc/mounts >/mounts && touch /t/x\n"
          "RUN --mount=type=cache,target=/cache echo cached >/cache/file\n"
          "RUN --mount=type=cache,target=/cache cat /cache/file >/cached\n"
          "RUN --mount=type=bind,target=/context cat /context/text >/bound\n"
          "RUN --mount=type=secret,id=word cat /run/secrets/word >/secret\n",
          "--secret", f"id=word,src={engine.base}/word", files={"text": "in the context\n"})
    assert built(engine, "cat", "/cached", "/bound", "/secret") == "cached\nin the context\nhush"
    assert "tmpfs" in built(engine, "cat", "/mounts")


def test_stages_volumes_and_shell_forms(engine, build):
    build("FROM busy AS first\nRUN echo from the first >/made\n"
          "FROM busy\nCOPY --from=first /made /made\nVOLUME /data\nRUN touch /data/gone\n"
          "SHELL [\"/bin/ash\", \"-ec\"]\nRUN true && cp /made /copy\n"
          'RUN ["/bin/sh", "-c", "echo listed >/listed"]\n')
    assert built(engine, "cat", "/copy", "/listed") == "from the first\nlisted\n"


def test_limits_and_capabilities_of_bud(engine, build):
    build("FROM busy\nRUN cat /proc/self/status >/status; cat /proc/self/limits >/limits; df -k /dev/shm >/shm\n",
          "--cap-drop", "CHOWN", "--ulimit", "nofile=200:300", "--shm-size", "2m",
          "--cgroup-parent", f"{engine.place.cgroup}/built")  # which Buildah makes the container's own group
    assert "Max open files            200                  300" in built(engine, "cat", "/limits")
    assert "2048" in built(engine, "cat", "/shm")
    bounding = next(line for line in built(engine, "cat", "/status").splitlines() if line.startswith("CapBnd"))
    assert not int(bounding.split()[1], 16) & 1


def test_run(buildah, working):
    result = buildah("run", working, "sh", "-c", "echo out; echo err >&2; exit 3", code=3)
    assert result.out == "out\n" and "err\n" in result.err


def test_run_with_stdin(buildah, working):
    assert buildah("run", working, "cat", stdin="typed\n").out == "typed\n"


def test_run_on_a_terminal(engine, working):
    shown = engine.terminal("run", "-t", working, "sh", "-c", "tty; echo shown", program="buildah", env=engine.buildah_env)
    assert "/dev/pts/0" in shown and "shown" in shown


def test_run_as_told(engine, buildah, working):
    source = engine.base / "volume"
    source.mkdir()
    (source / "file").write_text("on the host\n")
    options = ("--user", "1000:2000", "--workingdir", "/tmp", "-e", "WORD=one two", "-v", f"{source}:/data:ro", "--hostname", "here")
    out = buildah("run", *options, working, "sh", "-c", 'id -u; id -g; pwd; echo "$WORD"; cat /data/file; hostname; touch /data/x || echo refused').out
    assert out.splitlines() == ["1000", "2000", "/tmp", "one two", "on the host", "here", "refused"]


def test_run_with_other_namespaces(engine, buildah, working):
    host = {kind: os.readlink(f"/proc/{engine.place.pid}/ns/{kind}") for kind in ("net", "ipc", "pid")}
    script = "for n in net ipc pid; do readlink /proc/self/ns/$n; done"
    own = buildah("run", "--network", "none", working, "sh", "-c", script).out.split()
    assert not set(own) & set(host.values())
    shared = buildah("run", "--network", "host", "--ipc", "host", "--pid", "host", working, "sh", "-c", script).out.split()
    assert shared == list(host.values())


def test_run_in_a_user_namespace(buildah):
    name = buildah("from", "--userns-uid-map", "0:100000:5000", "--userns-gid-map", "0:100000:5000", "busy").out.strip()
    assert buildah("run", name, "cat", "/proc/self/uid_map").out.split() == ["0", "100000", "5000"]
    assert buildah("run", name, "sh", "-c", "touch /tmp/made && stat -c %u /tmp/made").out == "0\n"


def test_commit_of_what_was_run(engine, buildah, working):
    buildah("run", working, "sh", "-c", "echo made >/made")
    buildah("config", "--cmd", "cat /made", "--user", "user", working)
    buildah("commit", "-q", working, "built")
    assert built(engine) == "made\n"
