"""What a module takes from `typing` for the type checker alone.

Nothing imports `typing` when the program runs: it loads a shared object, which no picture can have (csrc/picture.c), and it
takes long. So TypedDicts, aliases and protocols stand below `if TYPE_CHECKING`, which a type checker takes for true by its
name, or in stubs (config/shape.pyi), and annotations are never evaluated.
"""

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import cast as cast
else:
    def cast(_kind, value):
        """The value, which the type checker takes for one of that kind."""
        return value
