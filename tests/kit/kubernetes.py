"""A Kubernetes node, and a cluster of it, from the real programs ($KUBERNETES names the directory they are in).

Everything runs in the place of a `kit.cri.Node`: containerd, the kubelet, and for a cluster etcd, the API server, scheduler and
controller-manager. Tests drive it by kubectl, with literal dicts.
"""

import json
import os
import signal
import ssl
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path

from kit import cri
from kit.cri import Node
from kit.managers import DRIVER, IMAGE, make_image, recipe
from kit.runtime import wait_until

PROGRAMS = Path(os.environ.get("KUBERNETES", ""))
ADDRESS = "10.77.0.1"  # of the node; kubelet and API server refuse a loopback one
SERVER = "https://127.0.0.1:6443"
RESOURCES = {"pod": "/api/v1/namespaces/default/pods", "event": "/api/v1/namespaces/default/events", "job": "/apis/batch/v1/namespaces/default/jobs"}
TOKENS = {"admin": ("admin", "system:masters"), "node": ("system:node:node1", "system:nodes")}
# What a kubelet wants of the host; where the host has it otherwise the kubelet is shown files that say so.
SYSCTLS = {"vm/overcommit_memory": 1, "vm/panic_on_oom": 0, "kernel/panic": 10, "kernel/panic_on_oops": 1,
           "kernel/keys/root_maxkeys": 1000000, "kernel/keys/root_maxbytes": 25000000}
# In a mount namespace of the kubelet's own, for what lies over /proc would keep containers from mounting theirs. The rest
# stays shared, so that volumes it mounts reach containerd. User-Mode Linux does not say the MHz that it asks for.
KUBELET = """mount --make-private /proc
grep -q MHz /proc/cpuinfo || { sed '/^model name/a cpu MHz\\t\\t: 2000.000' /proc/cpuinfo > "$1/cpuinfo" && mount --bind "$1/cpuinfo" /proc/cpuinfo; }
cd "$1/sys" && find . -type f | while read file; do mount --bind "$file" "/proc/sys/$file"; done
shift; exec "$@\""""
CONFIG = {
    "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", "cgroupDriver": DRIVER, "failCgroupV1": False, "oomScoreAdj": 0,
    "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}}, "authorization": {"mode": "AlwaysAllow"},
    "address": ADDRESS, "readOnlyPort": 0, "resolvConf": "", "failSwapOn": False, "makeIPTablesUtilChains": False, "enforceNodeAllocatable": ["pods"],
    "fileCheckFrequency": "1s", "syncFrequency": "2s", "nodeStatusUpdateFrequency": "2s", "imageGCHighThresholdPercent": 100,
    "evictionHard": dict.fromkeys(("memory.available", "nodefs.available", "nodefs.inodesFree", "imagefs.available", "imagefs.inodesFree"), "1%"),
    "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
}


def missing(*programs):
    """What the tests need and do not find, or None."""
    for program in programs:
        if not (PROGRAMS / program).exists():
            return f"KUBERNETES={PROGRAMS} holds no {program}: make test-kubernetes"
    return cri.missing()


class Kubelet(Node):
    """A node whose kubelet knows no API server, only manifests."""

    kubeconfig = ()

    def __init__(self, runtime, name="kubelet"):
        super().__init__(runtime, name)
        base = self.place.base
        self.manifests = base / "manifests"
        self.manifests.mkdir()
        for file, value in SYSCTLS.items():
            path = base / "sys" / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{value}\n")
        config = {**CONFIG, "staticPodPath": str(self.manifests), "cgroupRoot": "/" if DRIVER == "systemd" else self.place.cgroup, "volumePluginDir": str(base / "plugins")}
        (base / "kubelet.json").write_text(json.dumps(config))
        for top in cri.hierarchies():
            (top / self.place.cgroup.lstrip("/")).mkdir()
        make_image(base / "image2.tar", IMAGE.replace(":1", ":2"), Env=["PATH=/bin", "RELEASE=2"])
        self.place.call("ip", "address", "add", f"{ADDRESS}/32", "dev", "lo").ok()

    def start_kubelet(self):
        base = self.place.base
        self.kubelet = self.place.daemon(
            "unshare", "--mount", "--propagation=unchanged", "sh", "-c", KUBELET, "sh", base, PROGRAMS / "kubelet", "--config", base / "kubelet.json",
            "--hostname-override=node1", f"--node-ip={ADDRESS}", "--cert-dir=/var/lib/kubelet-pki", *self.kubeconfig, ready=self.kubelet_is_ready)
        return self

    def kubelet_is_ready(self):
        return b"Started kubelet" in self.place.daemons[-1].log.read_bytes()

    def containers(self, pod):
        """The containers that run for a pod, by name, as the CRI has them."""
        found = self.client.ListContainers(filter={"state": {"state": "CONTAINER_RUNNING"}}).containers
        return {container.metadata.name: container for container in found if container.labels["io.kubernetes.pod.name"].startswith(pod)}


class Cluster(Kubelet):
    """One node with everything that makes a cluster of it, and the RuntimeClass of docs/kubernetes.md."""

    def __init__(self, runtime, name="cluster"):
        super().__init__(runtime, name)
        base = self.place.base
        self.kubeconfig = ("--kubeconfig", base / "node.json")
        self.program = PROGRAMS / "kubectl"
        self.env = {"KUBECONFIG": str(base / "admin.json")}
        (base / "tokens.csv").write_text("".join(f'{name}-token,{user},{name},"{group}"\n' for name, (user, group) in TOKENS.items()))
        for name in TOKENS:
            (base / f"{name}.json").write_text(json.dumps({
                "apiVersion": "v1", "kind": "Config", "current-context": "here", "clusters": [
                    {"name": "here", "cluster": {"server": SERVER, "insecure-skip-tls-verify": True}}],
                "users": [{"name": name, "user": {"token": f"{name}-token"}}], "contexts": [{"name": "here", "context": {"cluster": "here", "user": name}}]}))
        subprocess.run(["openssl", "genrsa", "-out", base / "sa.key", "2048"], check=True, stderr=subprocess.DEVNULL)
        subprocess.run(["openssl", "rsa", "-in", base / "sa.key", "-pubout", "-out", base / "sa.pub"], check=True, stderr=subprocess.DEVNULL)

    def start_cluster(self):
        base, run = self.place.base, self.place.daemon
        run(PROGRAMS / "etcd", "--data-dir=/var/lib/etcd", "--unsafe-no-fsync", ready=lambda: True)
        run(PROGRAMS / "kube-apiserver", "--etcd-servers=http://127.0.0.1:2379", "--cert-dir=/var/lib/apiserver", "--bind-address=127.0.0.1",
            f"--advertise-address={ADDRESS}", "--endpoint-reconciler-type=none", "--service-cluster-ip-range=10.96.0.0/24", "--allow-privileged",
            "--authorization-mode=AlwaysAllow", f"--token-auth-file={base}/tokens.csv", "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={base}/sa.pub", f"--service-account-signing-key-file={base}/sa.key", "--kubelet-preferred-address-types=InternalIP",
            ready=lambda: self("get", "--raw=/readyz").returncode == 0)
        for program, options in (("kube-scheduler", ()), ("kube-controller-manager", (
                f"--service-account-private-key-file={base}/sa.key", "--root-ca-file=/var/lib/apiserver/apiserver.crt", "--cert-dir=/var/lib/manager"))):
            run(PROGRAMS / program, f"--kubeconfig={base}/admin.json", "--leader-elect=false", "--bind-address=127.0.0.1", *options, ready=lambda: True)
        self.start_kubelet()
        wait_until(lambda: self("get", "serviceaccount", "default").returncode == 0, timeout=60, what="no service account")
        self("create", "--filename=-", input=recipe("kubernetes.md", "runtimeclass.yaml")).ok()
        return self

    def kubelet_is_ready(self):
        return "Ready" in self("get", "node", "node1", "--no-headers").stdout.split()

    def __call__(self, *args, **how):
        return self.place.call(self.program, *args, env=self.env, **how)

    def create(self, document):
        self("create", "--filename=-", input=json.dumps(document)).ok()

    def pod(self, name, *command, container=(), **spec):
        """A pod of pyrunc's RuntimeClass with one container, unless the spec says otherwise."""
        self.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
                     "spec": pod_spec(*command, container=container, **spec)})
        return name

    def ask(self, path):
        """A document of the API; kubectl takes long to start, and tests ask often."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        request = urllib.request.Request(SERVER + path, headers={"Authorization": "Bearer admin-token"})
        with cri.network_of(self.place), urllib.request.urlopen(request, context=context, timeout=30) as answer:
            return json.load(answer)

    def get(self, kind, name):
        return self.ask(f"{RESOURCES[kind]}/{name}")

    def list(self, kind, **selectors):
        """Those that a labelSelector or fieldSelector picks."""
        return self.ask(f"{RESOURCES[kind]}?{urllib.parse.urlencode(selectors)}")["items"]

    def container(self, name, index=0):
        """A container's status."""
        return (self.get("pod", name)["status"].get("containerStatuses") or [{"state": {}, "restartCount": 0}])[index]

    def await_pod(self, name, condition="Ready"):
        """Wait; a pod that does not get there is shown with its events."""
        done = self("wait", f"--for=condition={condition}", f"pod/{name}", "--timeout=60s", timeout=90)
        assert done.returncode == 0, f"{done.stderr}{self('describe', 'pod', name).stdout}"
        return name

    def up(self, name, *command, **spec):
        return self.await_pod(self.pod(name, *command, **spec))

    def ended(self, name):
        """How a pod's container ended that is not started again."""
        wait_until(lambda: self.get("pod", name)["status"]["phase"] in ("Succeeded", "Failed"), timeout=60, what=f"{name} does not end")
        return self.container(name)["state"]["terminated"]

    def sh(self, pod, script, *options):
        """What a script says in a pod's container."""
        return self("exec", pod, *options, "--", "sh", "-c", script).out

    def logs(self, pod, *options):
        return self("logs", pod, *options).out

    def events(self, name):
        """[(reason, message)]"""
        return [(item["reason"], item["message"]) for item in self.list("event", fieldSelector=f"involvedObject.name={name}")]

    def await_event(self, name, reason, words):
        return wait_until(lambda: any(why == reason and words in text for why, text in self.events(name)), timeout=60,
                          what=f"no event {reason} with {words!r}") or self.events(name)

    def tidy(self):
        """Delete what tests made; nothing of it may remain."""
        self("delete", "deployment,job,pod,configmap,secret", "--all", "--grace-period=0", "--force", "--wait=false").ok()
        wait_until(lambda: not self.list("pod"), timeout=60, what="pods are left")
        wait_until(lambda: not self.states() and not self.groups(), timeout=60, what=f"left behind: {self.states()}, {self.groups()}")

    def restart_kubelet(self):
        self.kubelet.kill(signal.SIGKILL)
        self.kubelet.popen.wait(10)
        self.start_kubelet()


def pod_spec(*command, container=(), **spec):
    return {"runtimeClassName": "pyrunc", "automountServiceAccountToken": False, "terminationGracePeriodSeconds": 1, "restartPolicy": "Never",
            "containers": [box(*command, **dict(container))], **spec}


def box(*command, name="c", **more):
    """A container of the kit's image."""
    return {"name": name, "image": IMAGE, "command": list(command) or ["sleep", "1000"], **more}
