"""How the interpreter of a relay's process is set: its collector, and the turns of its threads.

Must never know: links, stores.
"""

from __future__ import annotations

import gc
import sys
from typing import Final

_COLLECTED_OBJECTS: Final = 10_000
"""New objects after which the young ones are looked through for circles; by default 700."""
_THREAD_TURN_S: Final = 0.0005
"""For which a thread goes on while another one waits for the interpreter."""


def settle_collector() -> None:
    """What is loaded by now stays, and need not be looked at again in the middle of a commit. What
    a message makes goes by itself, but for what an error leaves in a circle now and then."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECTED_OBJECTS, 10, 10)


def share_turns() -> None:
    """A commit calls SQLite a few dozen times, and after each call its thread waits until the event
    loop's lets go of the interpreter. Where that is busy with what a crowd sends, it does so only
    when it is told to: by default after 5 ms, so a commit takes a hundred."""
    sys.setswitchinterval(_THREAD_TURN_S)
