"""The system calls of the ops that may stand after SECCOMP: what a filter has to leave to init. (Pure.)

Read by words, whose hint names them, and by the tests, which compare them with what strace sees. In brackets stands what
an op does without when it is refused: an older call is tried then, or nothing is lost. After an op init closes the slots
that end with it.
"""

WAITING = ("wait4", "clock_gettime", "kill", "[nanosleep]", "[clock_nanosleep]", "[ppoll]")
CALLS = {
    "CAPS": ("capset",),
    "AMBIENT": ("prctl",),
    "SYNC": ("write", "read", "[close]"),  # a listener leaves by the courier, who has no filter
    "GATE": ("read", "[close]"),
    "HOOK": ("clone", *WAITING, "lseek", "dup3", "[dup2]", "[close]", "fchdir", "execve"),
    "EXEC": ("[write]", "execve"),
}
END = ("[write]", "exit_group", "[exit]")  # of an init that has failed


def hint(plan):
    """What a filter must not refuse to an init that is killed, or fails, without a word."""
    names = {call for op in plan.child_ops() for call in CALLS.get(op.name, ()) if call[0] != "["}
    return f"once it is in force, init calls {', '.join(sorted(names | {'write', 'close', 'exit_group'}))}"


def needed(op):
    """What an op cannot do without, for people."""
    return ", ".join([call for call in CALLS.get(op, ()) if call[0] != "["])
