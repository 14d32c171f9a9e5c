"""Paths as text. A leaf: everybody may import it, and it asks the file system nothing."""


def clean(path):
    """The path without empty, `.` and `..` parts, `..` stopping at /: how it looks from inside a root. Always absolute."""
    parts = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part and part != ".":
            parts.append(part)
    return "/" + "/".join(parts)
