"""What a peer's Records message must satisfy before it may reach the gate.

Pure computation, and the expensive part of receiving: a signature costs about 60 us. Whoever drives
a session runs it where it stalls nobody. Must never know: the store, the link.
"""

from __future__ import annotations

from dataclasses import dataclass

from weft_engine.document.door import let_in
from weft_engine.errors import PeerError
from weft_engine.records.envelope import Record
from weft_engine.records.identity import SignatureItem
from weft_engine.sync.faults import OutsideInterest, ProtocolViolation
from weft_engine.sync.incoming import Admission
from weft_engine.sync.interest import Interest


@dataclass(frozen=True, slots=True)
class Inspected:
    records: tuple[Record, ...]
    items: tuple[SignatureItem, ...]
    """All verified."""


def inspect(admission: Admission, interest: Interest) -> Inspected:
    """The records and signatures of a message, or a PeerError that says what is wrong."""
    records = tuple(_inspected(*both, interest) for both in admission.records)
    tips = {record.hash for record in records}
    for item in admission.items:
        if item.tip not in tips:
            raise ProtocolViolation(
                f"a signature came without the record {item.tip.hex()[:16]} that it signs"
            )
        item.verify()
    return Inspected(records, (*admission.verified, *admission.items))


def _inspected(envelope: bytes, payload: bytes, interest: Interest) -> Record:
    try:
        record = let_in(envelope, payload)
        if not interest.covers(record.envelope.context):
            raise OutsideInterest(
                f"record {record.hash.hex()[:16]} of context {record.envelope.context!r}"
                " is outside the interest of this link"
            )
    except PeerError as error:
        error.culprit = (envelope, payload)
        raise
    return record
