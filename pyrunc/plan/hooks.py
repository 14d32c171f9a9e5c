"""Hooks: who runs which, when, and what they get. config.md#posix-platform-hooks."""

from __future__ import annotations

from ..typed import TYPE_CHECKING
from .process import environment

if TYPE_CHECKING:
    from typing import Literal

    from ..config.shape import Config, Hook
    from .kinds import Operand
    from .script import Plan

    Kind = Literal["prestart", "createRuntime", "createContainer", "startContainer"]

LONGEST = (1 << 32) - 1  # seconds: 136 years
KINDS_AT_SETUP: tuple[Kind, ...] = ("prestart", "createRuntime")


def listed(config: Config, kind: Kind) -> list[Hook]:
    return config.get("hooks", {}).get(kind) or []


def setup(plan: Plan, config: Config, environ: list[str]) -> None:
    """SYNC: the host runs prestart and createRuntime in its namespaces; init gets the state for createContainer."""
    inside = listed(config, "createContainer")
    kinds = [kind for kind in KINDS_AT_SETUP if listed(config, kind)]
    if not (kinds or inside):
        return
    plan.source = "/hooks"
    plan.sync("I", receive=("hook-state",) if inside else ())
    for kind in kinds:
        for i, hook in enumerate(listed(config, kind)):
            plan.add("H", "HOOK", (), _args(hook, environ, False), source=f"/hooks/{kind}/{i}")
    if inside:
        plan.add("H", "STATE_JSON", ("hook-state",), ("created",), source="/hooks/createContainer")
        for i, hook in enumerate(inside):
            plan.source = f"/hooks/createContainer/{i}"
            plan.add("I", "HOOK", ("root", "hook-state", "hook-out", "hook-err"), _args(hook, environ, False))


def outputs(plan: Plan, config: Config) -> None:
    """H: where createContainer hooks write; read by the supervisor when one fails."""
    if listed(config, "createContainer"):
        plan.add("H", "MEMFD", ("hook-out",), source="/hooks/createContainer")
        plan.add("H", "MEMFD", ("hook-err",), source="/hooks/createContainer")


def start_container(plan: Plan, config: Config) -> None:
    """After the gate, as the process itself would run: its credentials, its filter; its environment unless it has one."""
    for i, hook in enumerate(listed(config, "startContainer")):
        plan.source = f"/hooks/startContainer/{i}"
        plan.add("I", "HOOK", (None, "start-state", None, None), _args(hook, environment(config["process"]), True))


def _args(hook: Hook, environ: list[str], home: bool) -> tuple[Operand, ...]:
    """The array `env` is the environment, an empty one too. Without it a hook has `environ`, and with `home` what op HOME has found."""
    env = hook.get("env")
    return (hook["path"], hook.get("args") or [hook["path"]], environ if env is None else env,
            min(hook.get("timeout", 0), LONGEST), int(home and env is None))
