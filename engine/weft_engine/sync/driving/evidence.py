"""What a link refused, gathered for the quarantine: a few entries, written when the link is over.

A link ends at the first thing it refuses, so there is little to gather and nothing to write while
it lives. Must never know: storage, tasks.
"""

from __future__ import annotations

from weft_engine.errors import MalformedRecord, PeerError
from weft_engine.limits import QUARANTINE_ENTRY_BYTES_MAX, QUARANTINE_PER_LINK_MAX
from weft_engine.names import RecordHash
from weft_engine.records.digest import record_digest
from weft_engine.records.envelope import Record, decode_envelope
from weft_engine.storage.quarantine import Refused


class Evidence:
    """`entries` have an empty sender until the link knows it; only as much of each is held as is
    kept."""

    def __init__(self) -> None:
        self.entries: list[Refused] = []

    def frame(self, frame: bytes, reason: str, *, now_ms: int) -> None:
        """A frame ended the link."""
        self._add(None, None, reason, frame, now_ms)

    def message(self, error: PeerError, *, now_ms: int) -> None:
        """A Records message did not pass its inspection."""
        if error.culprit is None:
            self._add(None, None, error.message, b"", now_ms)
            return
        envelope, payload = error.culprit
        try:
            context: str | None = decode_envelope(envelope).context
        except MalformedRecord:
            context = None
        self._add(context, record_digest(envelope), error.message, envelope + payload, now_ms)

    def record(
        self, hash_: RecordHash, record: Record | None, error: PeerError, *, now_ms: int
    ) -> None:
        """The gate refused a record; None if another link had offered it."""
        if record is None:
            self._add(None, hash_, error.message, b"", now_ms)
        else:
            data = record.envelope_bytes + record.payload
            self._add(record.envelope.context, hash_, error.message, data, now_ms)

    def _add(
        self, context: str | None, hash_: bytes | None, reason: str, data: bytes, now_ms: int
    ) -> None:
        if len(self.entries) < QUARANTINE_PER_LINK_MAX:
            kept = data[:QUARANTINE_ENTRY_BYTES_MAX]
            self.entries.append(Refused(now_ms, b"", context, hash_, reason, len(data), kept))
