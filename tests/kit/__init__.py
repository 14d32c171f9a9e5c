"""What the root and security tests are written with: bundles, a runtime wrapper, probes, races, traces.

Nothing here imports pyrunc: the kit drives any OCI runtime through its command line, which is what lets the same
suite run on runc (`PYRUNC=/usr/sbin/runc pytest tests/root tests/security`) and tells a wrong test from a wrong
runtime. One concept per module:

    build      compile probe.c, hunt.c and flip.c once
    bundle     a config from a literal dict, a rootfs from busybox and the probe
    runtime    Runtime and Container: run the verbs, capture everything, prove that nothing is left
    canary     what must not change on the host
    console    the other end of --console-socket and --pidfd-socket
    race       RENAME_EXCHANGE under load, inconclusive below 10^4 flips
    trace      strace, parsed, and the rules for syscalls on the container's side
    observe    what the probe saw, normalised so that two runtimes can be compared
    fixtures   the pytest fixtures over all that
"""
