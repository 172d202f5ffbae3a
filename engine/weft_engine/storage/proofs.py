"""The erasers that are left in a damaged store, and which of them prove a stand-in.

What a record's payload may be replaced by follows from erasers alone (`records.erasure`), so a
stand-in can be proved even where the table that says by which is lost.
Must never know: where they were found, what becomes of what they prove.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from weft_engine.names import ContextName, RecordHash
from weft_engine.records.envelope import Record
from weft_engine.records.erasure import Eraser, Erasure, decode_erasure, proving
from weft_engine.records.identity import SignatureItem
from weft_engine.storage.erasure_check import is_gone
from weft_engine.yjs.stand_in import Anatomy


@dataclass(slots=True)
class Proofs:
    _erasures: dict[RecordHash, Erasure] = field(default_factory=dict)
    _signed: dict[RecordHash, Eraser] = field(default_factory=dict)
    _listing: dict[RecordHash, list[RecordHash]] = field(default_factory=dict)
    """Erasers by the records that they list."""
    _blanking: dict[ContextName, RecordHash] = field(default_factory=dict)
    """Of each context one that proves any blank: of everything if there is one, else of events."""
    _told: dict[RecordHash, list[RecordHash]] = field(default_factory=dict)

    def add(self, record: Record, items: Iterable[SignatureItem]) -> None:
        """An eraser, proved to be one that was journaled here or came to be; `items` are the
        verified signatures of which it is the tip."""
        for item in items:
            if record.hash not in self._signed:
                erasure = decode_erasure(record.payload, record.envelope.origin)
                self._signed[record.hash] = Eraser(record, erasure, item)
        if record.hash in self._erasures:
            return
        erasure = decode_erasure(record.payload, record.envelope.origin)
        self._erasures[record.hash] = erasure
        for listed in erasure.records:
            self._listing.setdefault(listed, []).append(record.hash)
        known = self._blanking.get(record.envelope.context)
        if erasure.is_everything or (known is None and erasure.events):
            self._blanking[record.envelope.context] = record.hash

    def tell(self, record: RecordHash, eraser: RecordHash) -> None:
        """What the store says itself: this eraser proves that record."""
        self._told.setdefault(record, []).append(eraser)

    def of(
        self, hash_: RecordHash, context: ContextName, payload: bytes
    ) -> tuple[list[RecordHash], list[Erasure]]:
        """The erasers that prove together that `payload`, a sound update, stands for that of a
        record, and what they say; none if they do not. Raises MalformedUpdate."""
        anatomy = Anatomy.of(payload)
        listing = self._listing.get(hash_, [])
        blanking = self._blanking.get(context)
        for candidates in (
            dict.fromkeys((*self._told.get(hash_, ()), *listing)),
            dict.fromkeys((*listing, *([] if blanking is None else [blanking]))),
        ):
            known = {one: self._erasures[one] for one in candidates if one in self._erasures}
            # One that is not in its eraser's future may be listed all the same: that counts for
            # nothing, and nothing of it was replaced.
            known = {h: one for h, one in known.items() if is_gone(one, hash_, anatomy)}
            proven = proving(hash_, payload, known.values())
            if proven:
                hashes = [h for h, erasure in known.items() if any(erasure is p for p in proven)]
                return hashes, proven
        return [], []

    def signed(self, hashes: Sequence[RecordHash]) -> list[Eraser]:
        """Those of these erasers that have a signature of their own, so that they can go along
        with what they prove."""
        return [self._signed[hash_] for hash_ in hashes if hash_ in self._signed]
