"""`exec --cgroup`, the pure part: which groups the arguments mean (host/cgroup/below.py)."""

import pytest

from pyrunc.errors import Error
from pyrunc.host.cgroup import below

V1 = [["cpu,cpuacct", "/cg/cpu", "a/c"], ["memory", "/cg/memory", "a/c"], ["name=systemd", "/cg/systemd", "b/c"]]


def paths(own, v1, *arguments):
    group, rows = below.groups(own, v1, arguments)
    return group, [path for _, _, path in rows]


@pytest.mark.parametrize("argument, rest", [("sub", "/sub"), ("/sub/", "/sub"), ("a//b/.", "/a/b"), ("/", ""), ("", ""), (".", "")])
def test_a_path_alone_is_below_every_group_of_the_container(argument, rest):
    assert paths("a/c", [], argument) == (f"a/c{rest}", [])
    assert paths("a/c", V1, argument) == (f"a/c{rest}", [f"a/c{rest}", f"a/c{rest}", f"b/c{rest}"])
    assert paths(None, V1, argument)[0] is None


@pytest.mark.parametrize("arguments, expected", [
    (["memory:x"], ["a/c", "a/c/x", "b/c"]),
    (["memory,name=systemd:x"], ["a/c", "a/c/x", "b/c/x"]),
    (["memory:x", "cpuacct:/y/z"], ["a/c/y/z", "a/c/x", "b/c"]),
    (["memory:"], ["a/c", "a/c", "b/c"]),
    (["memory:x:y"], ["a/c", "a/c/x:y", "b/c"]),
])
def test_a_path_with_controllers_is_below_theirs_only(arguments, expected):
    assert paths("a/c", V1, *arguments) == ("a/c", expected)
    assert V1[1][2] == "a/c", "the container's own rows are not touched"


@pytest.mark.parametrize("arguments, message", [
    (["sub", "sub"], "invalid --cgroup argument: sub (missing <controller>: prefix)"),
    (["memory:a", "sub"], "invalid --cgroup argument: sub (missing <controller>: prefix)"),
    ([":sub"], "invalid --cgroup argument: :sub (empty <controller> prefix)"),
    (["memory,:sub"], "invalid --cgroup argument: memory,:sub (empty <controller> prefix)"),
    (["memory:a", "memory:b"], "invalid --cgroup argument(s): controller memory specified multiple times"),
    (["cpu:a", "cpuacct:b"], "invalid --cgroup argument(s): controller cpu,cpuacct specified multiple times"),
    (["pids:a"], "unknown controller pids in SubCgroupPaths"),
    ([".."], "bad sub cgroup path: .."),
    (["../cx"], "bad sub cgroup path: ../cx"),
    (["sub/../../cx"], "bad sub cgroup path: sub/../../cx"),
    (["memory:/../cx"], "bad sub cgroup path: /../cx"),
    (["a\0b"], "bad sub cgroup path: a\0b"),
])
def test_what_leaves_the_container_or_means_nothing_is_refused_in_runcs_words(arguments, message):
    with pytest.raises(Error) as caught:
        below.groups("a/c", V1, arguments)
    assert caught.value.message == message


def test_a_container_without_a_cgroup_has_none_below():
    with pytest.raises(Error, match="^invalid --cgroup argument: the container has no cgroup$"):
        below.groups(None, [], ["sub"])


def test_on_a_cgroup2_host_there_are_no_controllers_to_name():
    with pytest.raises(Error, match="^unknown controller memory in SubCgroupPaths$"):
        below.groups("a/c", [], ["memory:x"])
