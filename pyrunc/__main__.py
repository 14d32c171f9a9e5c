"""What the launcher executes, isolated (-I -S): sys.path is set from this file's own place, nothing else is on it.

`_bytecode` holds every module compiled with unchecked hashes; next comes the directory cffi and jsonschema are in.
"""

import _signal
import sys

_signal.signal(_signal.SIGINT, _signal.SIG_DFL)  # as in the launchers that embed: no KeyboardInterrupt in the middle of anything
_package = __file__.rpartition("/")[0]
sys.path[:0] = [_package + "/_bytecode"]
sys.path.append(_package.rpartition("/")[0])
sys.dont_write_bytecode = True

import pyrunc  # noqa: E402

pyrunc.__path__.append(_package)

from pyrunc.boot import main  # noqa: E402

main(sys.argv[1:])
