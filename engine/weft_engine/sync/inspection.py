"""What a peer's Records message must satisfy before it may reach the gate.

Pure computation, and the expensive part of receiving: a signature costs about 60 us. Whoever drives
a session runs it where it stalls nobody. Must never know: the store, the link.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from weft_engine.document.door import let_in
from weft_engine.errors import MalformedRecord, PeerError
from weft_engine.names import RecordHash
from weft_engine.records.envelope import Kind, Record
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
    by_hash = {record.hash: record for record in records}
    for item in admission.items:
        tip = by_hash.get(item.tip)
        if tip is None:
            raise ProtocolViolation(
                f"a signature came without the record {item.tip.hex()[:16]} that it signs"
            )
        if item.incarnation != tip.envelope.origin:
            raise MalformedRecord(
                f"record {item.tip.hex()[:16]} of context {tip.envelope.context!r} is refused: it"
                " is signed with another key than its writer's"
            )
        item.verify()
    _check_foreign(by_hash, admission.items)
    return Inspected(records, admission.items)


def _check_foreign(records: Mapping[RecordHash, Record], items: Sequence[SignatureItem]) -> None:
    """Who writes under the Yjs client ids of others shows a certificate, where the signature is
    that covers this. Said by the message alone, so that every replica says the same."""
    foreign = {h for h, record in records.items() if record.envelope.kind is Kind.FOREIGN}
    walked: set[RecordHash] = set()
    for item in items:
        at: RecordHash | None = item.tip if foreign and item.certificate is not None else None
        while at is not None and at in records and at not in walked:
            walked.add(at)
            at = records[at].envelope.prev
    for hash_ in foreign - walked:
        raise MalformedRecord(
            f"record {hash_.hex()[:16]} of context {records[hash_].envelope.context!r} is refused:"
            " it is marked foreign, and no certificate of a region came with its signature",
            hint="only relays write foreign records, and they show a certificate",
        )


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
