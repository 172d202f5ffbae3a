"""Flagging anew records that some clock stamped too far ahead.

A device whose clock once was years ahead has journaled its own records as good; they would drag its
clock along for ever. Flags are this store's own: nothing of a record changes.

Must never know: what time it is.
"""

from __future__ import annotations

import sqlite3

from weft_engine.names import ContextName, Hlc
from weft_engine.records.clock import hlc_ms
from weft_engine.records.envelope import decode_envelope
from weft_engine.storage.ledger import SKEWED, Ledger


def flag_skewed(
    connection: sqlite3.Connection, ledger: Ledger, name: ContextName, latest_ms: int
) -> Hlc:
    """Flag the records of a context that are stamped behind `latest_ms`; the highest HLC of the
    others, which becomes the context's. Reads the whole context."""
    ledger.flush()
    head = ledger.head(name)
    skewed: list[tuple[int]] = []
    highest = Hlc(0)
    for position, envelope in connection.execute(
        "SELECT position, envelope FROM records WHERE context = ? AND flags & ? = 0",
        (head.id, SKEWED),
    ):
        hlc = decode_envelope(envelope).hlc
        if hlc_ms(hlc) > latest_ms:
            skewed.append((position,))
        else:
            highest = max(highest, hlc)
    connection.executemany(
        f"UPDATE records SET flags = flags | {SKEWED} WHERE position = ?", skewed
    )
    head.hlc = highest
    connection.execute(
        "UPDATE contexts SET hlc = ? WHERE id = ?", (highest.to_bytes(8, "big"), head.id)
    )
    return highest
