"""Paths as text. A leaf: everybody may import it, and it asks the file system nothing."""

from __future__ import annotations


def clean(path: str) -> str:
    """The path without empty, `.` and `..` parts, `..` stopping at /: how it looks from inside a root. Always absolute."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part and part != ".":
            parts.append(part)
    return "/" + "/".join(parts)
