"""What one message carries, as it was chosen from what was read.

Must never know: which messages came before, frames' bytes.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from weft_engine.names import ContextName, Position, RecordHash
from weft_engine.records.envelope import Record
from weft_engine.records.erasure import Eraser
from weft_engine.records.identity import SignatureItem
from weft_engine.storage.ledger import Stored
from weft_engine.sync.end.record_questions import RecordsRead


@dataclass(frozen=True, slots=True)
class Composed:
    """What one message carries. `firsts`: where the first record of each context stands."""

    records: tuple[Record, ...]
    items: tuple[SignatureItem, ...]
    firsts: Mapping[ContextName, Position]
    erasers: tuple[Eraser, ...] = ()
    """Those that prove the stand-ins among the records."""

    @property
    def first(self) -> Position:
        return min(self.firsts.values())

    @property
    def size(self) -> int:
        return sum(record.size for record in self.records) + sum(
            eraser.record.size for eraser in self.erasers
        )


def beside(records: Sequence[Stored], read: RecordsRead) -> tuple[Eraser, ...]:
    """The erasers that a message of these records needs, each once."""
    found: dict[RecordHash, Eraser] = {}
    for one in records:
        for eraser in read.erasers.get(one.record.hash, ()):
            found[eraser.record.hash] = eraser
    return tuple(found.values())


def firsts(records: Iterable[Stored]) -> dict[ContextName, Position]:
    """Where the first of these stands in each context."""
    found: dict[ContextName, Position] = {}
    for one in records:
        context = one.record.envelope.context
        found[context] = min(found.get(context, one.position), one.position)
    return found


def not_at_peer(
    stored: Sequence[Stored], positions: Container[Position], hashes: Container[RecordHash]
) -> list[Stored]:
    """What of this the peer lacks: not what came from it, at these positions or with these hashes,
    and not what that stands on, for nobody journals a record before its past."""
    left: list[Stored] = []
    below: set[RecordHash] = set()
    for one in sorted(stored, key=lambda one: one.position, reverse=True):
        hash_ = one.record.hash
        if one.position in positions or hash_ in hashes or hash_ in below:
            below.update(one.record.envelope.parents)
        else:
            left.append(one)
    left.reverse()
    return left
