"""Whether the stores of a mesh hold the same, found by reading their files beside their relays.

Must never know: how the stores came to be what they are.
"""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from weft_engine.replica.replica import Replica

_PERSON: Final = b"weft-mesh"


@dataclass(frozen=True, slots=True)
class Holding:
    """What a store holds. Equal fingerprints: the same records in the same contexts."""

    contexts: int
    records: int
    fingerprint: str


async def holding(store: Path) -> Holding:
    """What the file at `store` holds now, which may be in use. `fingerprint`: BLAKE2b-256 over the
    names and fingerprints of all contexts in the order of their names, in hex."""
    digest = hashlib.blake2b(digest_size=32, person=_PERSON)
    contexts = records = 0
    async with open_to_read(store) as replica:
        after = ""
        while page := await replica.contexts(after=after):
            for state in page:
                if state.records:
                    digest.update(hashlib.blake2b(state.name.encode(), digest_size=32).digest())
                    digest.update(state.fingerprint)
                    contexts += 1
                    records += state.records
            after = page[-1].name
    return Holding(contexts, records, digest.hexdigest())


def open_to_read(store: Path) -> Replica:
    """A store that another process may have open, for reading."""
    return Replica.open(
        store, now_ms=lambda: time.time_ns() // 1_000_000, random=os.urandom, readonly=True
    )
