"""`run` in miniature, for test_console.py: a process on a pty of its own, served by kernel_tty.wait. Not a test.

    foreground_driver.py OPTIONS PROGRAM [ARG...]

OPTIONS is JSON: pty (bool), stdio (bool: pipes between, where kernel_tty.stdio makes them), attach (bool: our terminal becomes the process's), reap_all, hello (bool: say "ready" on
fd 2 before the process exists, and go on when something comes on fd 3), extra (bool: fd 4 is watched), report (file).
The report is JSON: code (wait status), extra (what came there), fds (open at the end).
"""

import fcntl
import json
import os
import signal
import sys
import termios

from pyrunc import kernel, kernel_tty
from pyrunc.host import console


def child(slave, master, argv, stdio):
    os.setsid()
    for fd, theirs in enumerate(stdio):
        if theirs >= 0:
            os.dup2(theirs, fd)
    if slave >= 0:
        os.close(master)
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        for fd in range(3):
            os.dup2(slave, fd)
        os.close(slave)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.execv(argv[0], argv)


def main(options, argv):
    tty = console.host_terminal() if options.get("attach") else -1
    if options.get("reap_all"):
        kernel.subreaper(True)
    sigfd = kernel_tty.prepare()
    if options.get("hello"):
        os.write(2, b"ready\n")
        os.read(3, 1)
    master = slave = -1
    mode = None
    if options.get("pty"):
        master, slave = os.openpty()
    if options.get("attach"):
        mode = console.attach(tty, master)
    stdio = kernel_tty.stdio(False) if options.get("stdio") else ()
    pid = os.fork()
    if pid == 0:
        try:
            child(slave, master, argv, stdio)
        finally:
            os._exit(127)
    for fd in {slave, *stdio} - {-1}:
        os.close(fd)
    extra = b""
    pidfd = os.pidfd_open(pid)
    while True:
        status = kernel_tty.wait(
            sigfd, pidfd, pid, master, tty, options.get("reap_all", False), 4 if options.get("extra") else -1
        )
        if status is not None:
            break
        extra += os.read(4, 1)
    if mode is not None:
        console.detach(tty, mode)
    kernel_tty.cancel(sigfd)
    report = {"code": status, "extra": extra.decode(), "fds": sorted(os.listdir("/proc/self/fd"))}
    with open(options["report"], "w", encoding="ascii") as out:
        json.dump(report, out)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), sys.argv[2:])
