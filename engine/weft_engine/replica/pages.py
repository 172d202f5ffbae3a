"""Reading a context's records in pages."""

from __future__ import annotations

import sqlite3
from typing import Final

from weft_engine.names import Position
from weft_engine.storage import reading
from weft_engine.storage.ledger import Stored

_READ_BYTES: Final = 8 * 1024 * 1024
_READ_RECORDS: Final = 4096


def page(context_id: int, after: Position, connection: sqlite3.Connection) -> list[Stored]:
    """The next records of a context behind `after`, at least one if there is any."""
    return reading.records_after(
        connection, context_id, after, records_max=_READ_RECORDS, bytes_max=_READ_BYTES
    )
