"""What a filter has to leave to init: the system calls of the ops that stand after SECCOMP (the `calls` of ops.py). (Pure.)

The hints name them, and the tests compare them with what strace sees. After an op init closes the slots that end with it.
"""

from __future__ import annotations

from ..typed import TYPE_CHECKING
from .ops import OPS

if TYPE_CHECKING:
    from .script import Plan


def hint(plan: Plan) -> str:
    """What a filter must not refuse to an init that is killed, or fails, without a word."""
    names = {call for op in plan.child_ops() for call in op.row.calls if call[0] != "["}
    return f"once it is in force, init calls {', '.join(sorted(names | {'write', 'close', 'exit_group'}))}"


def needed(op: str) -> str:
    """What an op cannot do without, for people."""
    return ", ".join([call for call in OPS[op].calls if call[0] != "["])
