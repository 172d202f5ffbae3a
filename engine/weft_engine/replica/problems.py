"""What is wrong in a context, beside what its event index lists: text that notes do not show.

Must never know: how it is shown.
"""

from __future__ import annotations

import sqlite3

from weft_engine.document.left_out import LeftOut, left_out
from weft_engine.names import ContextName, Position
from weft_engine.storage import reading


def left_out_texts(connection: sqlite3.Connection, name: ContextName) -> list[LeftOut]:
    """What the losing sides of equivocations wrote into the notes of a context, by time. One
    question where there was none; otherwise the whole context is read."""
    state = reading.context(connection, name)
    if state is None or not reading.has_sides(connection, state):
        return []
    stored = reading.records_after(
        connection, state.id, Position(0), records_max=state.records, bytes_max=1 << 62
    )
    return left_out([one.record for one in stored])


def reason(lost: LeftOut) -> str:
    return (
        f"left out with the losing side of an equivocation, written by {lost.origin.hex()} at"
        f" {lost.time_ms} ms: {lost.text!r}"
    )
