"""Checking the checkpoints of one context: whole, of this journal, and agreeing with it.

A wrong checkpoint harms nobody who opens the document, for it is not used; but it says that the
file or the program is not what it should be. Must never know: who asks.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import TYPE_CHECKING

from weft_engine.names import ContextName, Position
from weft_engine.storage import reading
from weft_engine.storage.checkpoints import Checkpoint, every
from weft_engine.storage.findings import Findings

if TYPE_CHECKING:
    from weft_engine.document.rebuild import Rebuild

_RECORDS = 4096
_BYTES = 8 * 1024 * 1024


def check_checkpoints(
    connection: sqlite3.Connection,
    context_id: int,
    name: ContextName,
    *,
    findings: Findings,
    step: Callable[[int], None],
) -> int:
    """How many checkpoints the context has; what is wrong with them goes to `findings`. Its records
    are known to be sound. `step` is told how many records were replayed."""
    found = every(connection, context_id, name)
    if not found:
        return 0
    from weft_engine.document.rebuild import Rebuild  # pycrdt is loaded for checkpoints only

    rebuild = Rebuild()
    done = Position(0)
    for position, checkpoint in found:
        if checkpoint is None:
            findings.add(
                f"the checkpoint at position {position!r} is damaged or of another journal",
                context=name,
                is_spare=True,
            )
            continue
        while done < checkpoint.position:
            some = reading.records_after(
                connection, context_id, done, records_max=_RECORDS, bytes_max=_BYTES
            )
            upto = [stored for stored in some if stored.position <= checkpoint.position]
            rebuild.take(stored.record for stored in upto)
            done = upto[-1].position
            step(len(upto))
        if not _agrees(rebuild, checkpoint):
            findings.add(
                f"the checkpoint at position {position} is not the document of its records",
                context=name,
                is_spare=True,
            )
    return len(found)


def _agrees(rebuild: Rebuild, checkpoint: Checkpoint) -> bool:
    return rebuild.is_sound and rebuild.tips == checkpoint.tips and rebuild.agrees(checkpoint.state)
