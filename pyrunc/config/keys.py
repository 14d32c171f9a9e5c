"""Keys that the schema does not know: those that differ in case only are taken as Go's decoder takes them, the rest dropped.

A configuration in which `readOnly` stands for `readonly` works with runc, whose decoder folds case; so it works here. The
specification has unknown properties ignored (config.md#extensibility); one that looks like a known one is named, though,
because a property that is ignored protects nobody. Most configurations have no such key, and then nothing here runs. Free-form
maps (annotations, sysctl, unified) have no unknown keys.
"""

from __future__ import annotations

from ..typed import TYPE_CHECKING
from .fault import Fault, shown
from .schema_data import CONFIG

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .fault import Settled
    from .shape import Node

TAKEN, DROPPED = "it is accepted, but other runtimes may ignore it", "it is ignored: no runtime knows it"
EXTENSIBILITY = "config.md#extensibility"
MOST_WORDS = 256  # of different unknown keys that are looked at; the time stays bounded
MOST_SHOWN = 8


def settle(value: object, definition: str | None = None) -> Settled:
    """Rename and drop keys in place. Returns (Faults of what was renamed, of what was dropped and is near a known key), with
    pointers relative to value.

    definition  name in the schema's $defs that value has the form of; None: a whole config
    """
    walk = _Walk()
    walk.into(value, CONFIG["$defs"][definition] if definition else CONFIG, "")
    return walk.taken, walk.dropped


def worded(notes: list[Fault]) -> str:
    """Notes in one line."""
    more = f"; and {len(notes) - MOST_SHOWN} more" if len(notes) > MOST_SHOWN else ""
    return "; ".join([f"{shown(note.pointer)}: {note.message}" for note in notes[:MOST_SHOWN]]) + more


class _Walk:
    def __init__(self) -> None:
        self.taken: list[Fault] = []
        self.dropped: list[Fault] = []
        self.near: dict[tuple[str, tuple[str, ...]], str | None] = {}  # (unknown key, known keys) -> the nearest one

    def into(self, value: object, node: Node, pointer: str) -> None:
        if "$ref" in node:
            node = CONFIG["$defs"][node["$ref"].rsplit("/", 1)[1]]
        if type(value) is list and "items" in node:
            for index, item in enumerate(value):
                self.into(item, node["items"], f"{pointer}/{index}")
        elif type(value) is dict and "properties" in node:
            if not node["properties"].keys() >= value.keys():
                self.rename(value, tuple(node["properties"]), pointer)
            for key, item in value.items():
                self.into(item, node["properties"][key], f"{pointer}/{key}")
        elif type(value) is dict and "additionalProperties" in node:
            for key, item in value.items():
                self.into(item, node["additionalProperties"], f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}")

    def rename(self, value: dict[str, object], known: tuple[str, ...], pointer: str) -> None:
        """In the order of the document: as in Go, the last of two keys that mean the same wins."""
        folded = {name.casefold(): name for name in known}
        given = list(value.items())
        value.clear()
        for key, item in given:
            name = key if key in known else folded.get(key.casefold())
            if name is not None:
                value[name] = item
            if name is None:
                self.note(self.dropped, f"{pointer}/{key}", self.nearest(key, known), DROPPED)
            elif name != key:
                self.note(self.taken, f"{pointer}/{key}", name, TAKEN)

    def note(self, notes: list[Fault], pointer: str, name: str | None, what: str) -> None:
        if name:
            notes.append(Fault(pointer, f"did you mean {name}? {what}", EXTENSIBILITY))

    def nearest(self, key: str, known: tuple[str, ...]) -> str | None:
        if (key, known) not in self.near and len(self.near) < MOST_WORDS:
            self.near[key, known] = nearest(key, known)
        return self.near.get((key, known))


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that `word` is most likely a misspelling of, or None: a letter in four may be wrong, case and the
    word separators _ and - do not count."""
    best = None
    for name in known:
        room = max(len(word), len(name)) // 4
        if abs(len(word) - len(name)) <= room + 3:  # separators come on top
            wrong = _distance(_plain(word), _plain(name))
            if wrong <= room and (best is None or wrong < best[0]):
                best = wrong, name
    return best and best[1]


def _plain(word: str) -> str:
    return word.casefold().replace("_", "").replace("-", "")


def _distance(one: str, other: str) -> int:
    """How many letters to insert, drop, replace, or exchange with the next one."""
    above: list[int] = []
    row = list(range(len(other) + 1))
    for i, x in enumerate(one):
        two_above, above, row = above, row, [i + 1]
        for j, y in enumerate(other):
            row.append(min(above[j] + (x != y), above[j + 1] + 1, row[j] + 1))
            if i and j and x == other[j - 1] and y == one[i - 1]:
                row[-1] = min(row[-1], two_above[j - 1] + 1)
    return row[-1]
