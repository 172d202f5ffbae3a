"""What a relay knew of other regions when it looked last, kept for when it begins anew.

Must never know: links, clocks, how it is shown.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from weft_engine.names import Position

_KEY: Final = "regions"
"""Of the table `meta`: a row that stores of earlier versions lack, and that they leave alone."""


@dataclass(frozen=True, slots=True)
class KnownRegion:
    """`upto`: up to which position of our journal it held everything, None if that is not known.
    `since_ms`: when the oldest record behind that came, or when there was none yet. `heard_ms`:
    when it was linked last, or others have said that it holds more. `store` and `epoch`: of its
    store, empty if it has never been linked. Times are milliseconds since 1970."""

    name: str
    upto: Position | None
    since_ms: int
    heard_ms: int
    store: bytes = b""
    epoch: bytes = b""


def load_regions(connection: sqlite3.Connection, *, store: bytes) -> list[KnownRegion]:
    """What was saved last. In a `store` that is another one since, as a restored backup is, nobody
    is known to hold anything. Nothing if the row is damaged: it is all heard again."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (_KEY,)).fetchone()
    if row is None:
        return []
    try:
        said = json.loads(row[0])
        is_ours = said["store"] == store.hex()
        return [_region(one, is_ours=is_ours) for one in said["regions"]]
    except (ValueError, KeyError, TypeError):
        return []


def save_regions(
    connection: sqlite3.Connection, regions: Iterable[KnownRegion], *, store: bytes
) -> None:
    """In place of what was saved before."""
    said = {
        "store": store.hex(),
        "regions": [
            {
                "name": one.name,
                "upto": one.upto,
                "since_ms": one.since_ms,
                "heard_ms": one.heard_ms,
                "store": one.store.hex(),
                "epoch": one.epoch.hex(),
            }
            for one in regions
        ],
    }
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_KEY, json.dumps(said)))


def _region(said: dict[str, Any], *, is_ours: bool) -> KnownRegion:
    upto = said["upto"] if is_ours else None
    return KnownRegion(
        str(said["name"]),
        None if upto is None else Position(int(upto)),
        int(said["since_ms"]),
        int(said["heard_ms"]),
        bytes.fromhex(said["store"]),
        bytes.fromhex(said["epoch"]),
    )
