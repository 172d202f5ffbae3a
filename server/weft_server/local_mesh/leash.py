"""``python -m weft_server.local_mesh.leash ...``: the command `weft`, for as long as somebody holds
the other end of its stdin.

So a process that a mesh started ends with the mesh, even if that was killed. Must never know: what
the command does.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import Final

_ENDING_S: Final = 10.0
_EXIT: Final = 1


def _hold() -> None:
    """End as on SIGTERM when the other end of stdin is closed; and at once if that takes too
    long. Reads without Python's buffer, whose lock would be waited for at exit."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_ENDING_S)
    os._exit(_EXIT)


def main() -> int:
    from weft_server.cli import main as weft

    threading.Thread(target=_hold, name="weft-mesh-leash", daemon=True).start()
    return weft(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
