"""Generated bundles under runc and under pyrunc: the same from inside and from outside, or as docs/differences.md says.

`python -m conformance.differential` runs them (`make differential`). bundles.py draws, host.py has what they are given to
bind and to join, look.py runs one bundle and says what was seen; what may differ stands in tests/kit/differences.py.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "tests"))  # for kit
