"""What honest processes write, read as every other replica would read it: one record that others
refuse, and its writer can sync nothing any more, for its links end there each time.

Must never know: machines, links.
"""

from __future__ import annotations

from weft_engine.document.door import let_in
from weft_engine.errors import PeerError
from weft_engine.names import RecordHash
from weft_engine.records.envelope import Envelope, Record
from weft_engine.records.sound import check_dependency, check_link


class OwnRecords:
    def __init__(self) -> None:
        self._envelopes: dict[RecordHash, Envelope] = {}

    def refusal(self, record: Record) -> str | None:
        """What others would say of a record that was journaled just now; None if they take it."""
        envelope, known = record.envelope, self._envelopes
        try:
            let_in(record.envelope_bytes, record.payload)
            if envelope.prev in known:
                check_link(record.hash, envelope, known[envelope.prev])
            for dep in envelope.deps:
                if dep in known:
                    check_dependency(record.hash, envelope, known[dep])
        except PeerError as error:
            return error.message
        known[record.hash] = envelope
        return None
