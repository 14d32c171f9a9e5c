"""A client of the Container Runtime Interface, and the containerd whose plug-in it talks to; what a kubelet would use.

Messages are made from api.proto by `make build/cri` (or $CRI_API names the directory). Requests are literal dicts with the
protocol's own names: `client.ExecSync(container_id=..., cmd=[...])`. Streams (exec, attach, port-forward) are WebSockets to
the address that containerd answers, in the network namespace of its place.
"""

import contextlib
import json
import os
import re
import struct
import sys
import time
from pathlib import Path

from pyroute2 import netns

from kit.bundle import apply
from kit.managers import DRIVER, IMAGE, Place, make_image, recipe
from kit.runtime import KEPT_IN_ROOT, wait_until

API = Path(os.environ.get("CRI_API") or Path(__file__).resolve().parent.parent.parent / "build/cri")
PAUSE = "localhost/pause:1"
CNI = Path("/usr/lib/cni")
NETWORK = {"cniVersion": "1.0.0", "name": "pods", "plugins": [
    {"type": "bridge", "bridge": "cni0", "isGateway": True, "hairpinMode": True,
     "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.88.77.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
# What the recipe leaves to a node's own circumstances. Tests may run where nobody may lower an OOM score.
CIRCUMSTANCES = f"""version = 3
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "{PAUSE}"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".cni]
  bin_dirs = ["{CNI}"]
"""
STDIN, STDOUT, STDERR, ERROR, RESIZE = range(5)


def missing():
    """What the tests need and do not find, or None."""
    for path, cure in ((API / "api_pb2.py", "make build/cri"), (CNI / "bridge", "apt-get install containernetworking-plugins")):
        if not path.exists():
            return f"no {path}: {cure}"
    if not os.path.exists(f"{os.environ.get('CONTAINERD_NEW', '')}/containerd"):
        return "CONTAINERD_NEW names no directory with containerd 2 (make test-managers)"


def hierarchies():
    """Where groups are made."""
    top = Path("/sys/fs/cgroup")
    return [top] if (top / "cgroup.procs").exists() else [path for path in top.iterdir() if path.is_dir() and not path.is_symlink()]


class Refused(Exception):
    """What the CRI answered instead; its code and text."""

    def __init__(self, error):
        self.code, self.text = error.code().name, error.details()
        super().__init__(f"{self.code}: {self.text}")


class Client:
    """Every method of the protocol that answers once."""

    def __init__(self, socket):
        sys.path.insert(0, str(API))
        import api_pb2
        import grpc
        from google.protobuf.message_factory import GetMessageClass
        self.grpc, self.api = grpc, api_pb2
        self.channel = grpc.insecure_channel(f"unix://{socket}", options=[("grpc.default_authority", "localhost")])
        self.calls = {
            method.name: (GetMessageClass(method.input_type), self.channel.unary_unary(
                f"/{service.full_name}/{method.name}", request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=GetMessageClass(method.output_type).FromString))
            for service in api_pb2.DESCRIPTOR.services_by_name.values() for method in service.methods if not method.server_streaming}

    def __getattr__(self, name):
        if name not in self.calls:
            raise AttributeError(name)
        message, call = self.calls[name]

        def ask(**request):
            try:
                return call(message(**request), timeout=60, wait_for_ready=True)
            except self.grpc.RpcError as error:
                raise Refused(error) from None
        return ask

    def state(self, status):
        """CONTAINER_RUNNING and its like, in words."""
        return self.api.ContainerState.Name(status.state)


@contextlib.contextmanager
def network_of(place):
    """What is connected in this block is connected from the place's network namespace."""
    netns.pushns(f"/proc/{place.pid}/ns/net")
    try:
        yield
    finally:
        netns.popns()


class Stream:
    """An exec, attach or port-forward in progress: numbered channels over one WebSocket."""

    def __init__(self, place, url):
        import websocket
        with network_of(place):
            socket = websocket.create_connection(url.replace("http", "ws", 1), subprotocols=["v4.channel.k8s.io"], timeout=30)
        self.socket, self.closed = socket, websocket.WebSocketConnectionClosedException
        self.channels = {}

    def write(self, data, channel=STDIN):
        self.socket.send_binary(bytes([channel]) + (data.encode() if isinstance(data, str) else data))

    def resize(self, columns, rows):
        self.write(json.dumps({"Width": columns, "Height": rows}), RESIZE)

    def pump(self):
        """Take one message; False at the end."""
        try:
            data = self.socket.recv()
        except self.closed:
            return False
        if not data:
            return False
        data = data.encode() if isinstance(data, str) else data
        self.channels[data[0]] = self.channels.get(data[0], b"") + data[1:]
        return True

    def read(self, until, channel=STDOUT):
        """Read until a channel has said so."""
        while until.encode() not in self.channels.get(channel, b""):
            assert self.pump(), f"{until!r} never came: {self.channels}"

    def end(self):
        """(exit code, {channel: text}) when the other side has closed."""
        while self.pump():
            pass
        said = {number: data.decode() for number, data in self.channels.items()}
        status = json.loads(said[ERROR])
        if status["status"] == "Success":
            return 0, said
        causes = {cause["reason"]: cause["message"] for cause in status["details"]["causes"]}
        return int(causes["ExitCode"]), said

    def close(self):
        self.socket.close()


def port(number):
    """What comes first on each channel of a port-forward."""
    return struct.pack("<H", number)


class Node:
    """containerd with its CRI plug-in, the config.toml of docs/containerd.md and a bridge for pods, in a place of its own."""

    def __init__(self, runtime, name):
        self.name, self.runtime = runtime
        self.place = Place(name)
        self.bin = os.environ["CONTAINERD_NEW"]
        etc, base = self.place.base / "etc", self.place.base
        (etc / "containerd").mkdir()
        (etc / "cni/net.d").mkdir(parents=True)
        config = recipe("containerd.md", "config.toml").replace("/usr/local/bin/pyrunc", self.runtime)
        driver = "  SystemdCgroup = true\n" if DRIVER == "systemd" else ""
        (etc / "containerd/config.toml").write_text(f'imports = ["circumstances.toml"]\n{config}{driver}')
        (etc / "containerd/circumstances.toml").write_text(CIRCUMSTANCES)
        (etc / "cni/net.d/10-pods.conflist").write_text(json.dumps(NETWORK))
        make_image(base / "image.tar")
        make_image(base / "pause.tar", PAUSE, Cmd=["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done"])
        self.pod_logs = base / "pods"
        self.pod_logs.mkdir()
        self.client = Client(base / "run/containerd/containerd.sock")

    def start(self):
        env = {"PATH": f"{self.bin}:{self.place.env['PATH']}"}
        self.daemon = self.place.daemon(f"{self.bin}/containerd", env=env, ready=self.is_ready)
        return self

    def is_ready(self):
        """The plug-in serves some time after containerd does."""
        try:
            return self.ctr("version").returncode == 0 and bool(self.client.Status())
        except Refused:
            return False

    def load(self, *names):
        for name in names or ("image", "pause"):
            self.ctr("images", "import", self.place.base / f"{name}.tar").ok()
        return self

    def ctr(self, *args):
        return self.place.call(f"{self.bin}/ctr", "--namespace", "k8s.io", *args)

    def states(self):
        """Containers that the runtime knows."""
        return [path.name for path in (self.place.base / "run/containerd/runc/k8s.io").glob("*") if path.name not in KEPT_IN_ROOT]

    def groups(self):
        """Ids of containers that have a cgroup, below the place's or in systemd's slice of pods."""
        names = (name for top in (*self.place.groups(), "/sys/fs/cgroup/kubepods.slice") for _, names, _ in os.walk(top) for name in names)
        return {found[0] for name in names if (found := re.search(r"[0-9a-f]{64}", name))}

    def pod(self, handler="pyrunc", *, namespaces=(), security=(), linux=(), **config):
        return Pod(self, handler, dict(namespaces), dict(security), dict(linux), config)


class Pod:
    """A sandbox. Its containers get its namespaces, as from a kubelet."""

    def __init__(self, node, handler, namespaces, security, linux, config):
        self.node, self.client = node, node.client
        self.uid = f"u{time.monotonic_ns()}"
        self.namespaces = {"network": "POD", "pid": "CONTAINER", "ipc": "POD", **namespaces}
        self.cgroup = f"{node.place.cgroup}/{os.path.basename(node.place.below(self.uid))}"
        self.config = {
            "metadata": {"name": self.uid, "uid": self.uid, "namespace": "default"}, "log_directory": str(node.pod_logs / self.uid),
            "linux": {"cgroup_parent": self.cgroup, "security_context": {"namespace_options": self.namespaces, **security}, **linux}, **config}
        if self.namespaces["network"] == "POD":
            self.config.setdefault("hostname", "box")
        (node.pod_logs / self.uid).mkdir()
        self.id = self.client.RunPodSandbox(config=self.config, runtime_handler=handler).pod_sandbox_id

    def create(self, *command, security=(), resources=(), namespaces=(), **config):
        """A container that is not started; without a command it sleeps."""
        name = f"c{time.monotonic_ns()}"
        document = {
            "metadata": {"name": name}, "image": {"image": IMAGE}, "command": command or ["sleep", "1000"], "log_path": f"{name}.log",
            "linux": {"resources": dict(resources),
                      "security_context": {"namespace_options": {**self.namespaces, **dict(namespaces)}, **dict(security)}}}
        apply(document, config)
        answer = self.client.CreateContainer(pod_sandbox_id=self.id, config=document, sandbox_config=self.config)
        return Container(self, answer.container_id)

    def up(self, *command, **config):
        return self.create(*command, **config).start()

    def sh(self, script, **config):
        """What a script says, as a container of its own."""
        done = self.up("sh", "-c", script, **config).wait()
        assert done.status.exit_code == 0, f"{done.status}{done.log()}"
        return done.log().strip()

    def probe(self, **config):
        return json.loads(self.sh("probe", **config))

    @property
    def status(self):
        return self.client.PodSandboxStatus(pod_sandbox_id=self.id).status

    def remove(self):
        self.client.StopPodSandbox(pod_sandbox_id=self.id)
        self.client.RemovePodSandbox(pod_sandbox_id=self.id)


class Container:
    def __init__(self, pod, id):
        self.pod, self.client, self.id = pod, pod.client, id

    def start(self):
        self.client.StartContainer(container_id=self.id)
        return self

    @property
    def status(self):
        return self.client.ContainerStatus(container_id=self.id).status

    @property
    def state(self):
        return self.client.state(self.status)

    @property
    def pid(self):
        """Its process, in the place."""
        return json.loads(self.client.ContainerStatus(container_id=self.id, verbose=True).info["info"])["pid"]

    def wait(self):
        wait_until(lambda: self.state == "CONTAINER_EXITED", timeout=30, what=f"{self.id} runs on")
        return self

    def stop(self, grace=0):
        self.client.StopContainer(container_id=self.id, timeout=grace)
        return self

    def remove(self):
        self.client.RemoveContainer(container_id=self.id)

    def exec(self, *cmd, timeout=20):
        return self.client.ExecSync(container_id=self.id, cmd=cmd, timeout=timeout)

    def ask(self, script):
        """What a script says that is run in it."""
        done = self.exec("sh", "-c", script)
        assert done.exit_code == 0, f"{done}"
        return done.stdout.decode().strip()

    def stream(self, kind, **how):
        """kind is Exec or Attach."""
        how = {"stdout": True, "stderr": not how.get("tty"), **how}
        return Stream(self.pod.node.place, getattr(self.client, kind)(container_id=self.id, **how).url)

    def log(self, *streams):
        """What it wrote to its standard streams, without the CRI's marks."""
        text = []
        for line in Path(self.status.log_path).read_text().splitlines():
            _, stream, tag, content = line.split(" ", 3)
            if not streams or stream in streams:
                text.append(content + ("\n" if tag == "F" else ""))
        return "".join(text)
