"""Sockets in other network namespaces (see csrc/shim_net.c)."""

from pyrunc._native import lib

from .kernel import check


def rtnetlink(netns: int) -> int:
    """An rtnetlink(7) socket in the network namespace of the descriptor `netns`, which we do not enter."""
    return check(lib.net_socket(netns), "rtnetlink socket in the container's network namespace")
