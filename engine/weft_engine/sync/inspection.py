"""What a peer's Records message must satisfy before it may reach the gate.

Pure computation, and the expensive part of receiving: a signature costs about 60 us. Whoever drives
a session runs it where it stalls nobody. Must never know: the store, the link.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from weft_engine.document.door import let_in
from weft_engine.errors import MalformedRecord, PeerError
from weft_engine.names import ContextName, RecordHash
from weft_engine.records.digest import payload_digest
from weft_engine.records.envelope import Kind, Record, decode_envelope
from weft_engine.records.erasure import Eraser, Erasure, decode_erasure, proving
from weft_engine.records.identity import SignatureItem
from weft_engine.records.sound import read_record
from weft_engine.sync.faults import OutsideInterest, ProtocolViolation
from weft_engine.sync.incoming import Admission
from weft_engine.sync.interest import Interest


@dataclass(frozen=True, slots=True)
class Inspected:
    records: tuple[Record, ...]
    items: tuple[SignatureItem, ...]
    """All verified."""
    proofs: Mapping[RecordHash, Sequence[Eraser]] = field(default_factory=dict)
    """Of each record whose payload is a stand-in: the erasers that prove it."""


def inspect(admission: Admission, interest: Interest) -> Inspected:
    """The records and signatures of a message, or a PeerError that says what is wrong."""
    erasers = _erasers(admission)
    records = tuple(
        _inspected(envelope, payload, _of_context(erasers, envelope), interest)
        for envelope, payload in admission.records
    )
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
    signed = {item.tip for item in admission.items}
    for record in records:
        if record.envelope.kind is Kind.ERASE and record.hash not in signed:
            raise ProtocolViolation(
                f"the eraser {record.hash.hex()[:16]} came without a signature over just itself"
            )
    return Inspected(records, admission.items, _proofs(records, erasers))


def _erasers(admission: Admission) -> dict[ContextName, list[Eraser]]:
    found: dict[ContextName, list[Eraser]] = {}
    for envelope, payload, item in admission.erasers:
        record = read_record(envelope, payload)
        if (
            record.envelope.kind is not Kind.ERASE
            or item.tip != record.hash
            or item.incarnation != record.envelope.origin
        ):
            raise ProtocolViolation(
                f"record {record.hash.hex()[:16]} came as an eraser and is none that its writer"
                " signed"
            )
        item.verify()
        erasure = decode_erasure(payload, record.envelope.origin)
        found.setdefault(record.envelope.context, []).append(Eraser(record, erasure, item))
    return found


def _of_context(
    erasers: Mapping[ContextName, Sequence[Eraser]], envelope: bytes
) -> Sequence[Erasure]:
    if not erasers:
        return ()
    return [eraser.erasure for eraser in erasers.get(decode_envelope(envelope).context, ())]


def _proofs(
    records: Sequence[Record], erasers: Mapping[ContextName, Sequence[Eraser]]
) -> dict[RecordHash, Sequence[Eraser]]:
    found: dict[RecordHash, Sequence[Eraser]] = {}
    if not erasers:
        return found
    for record in records:
        if payload_digest(record.payload) != record.envelope.payload_hash:
            some = erasers[record.envelope.context]
            proofs = proving(record.hash, record.payload, (eraser.erasure for eraser in some))
            found[record.hash] = [
                eraser for eraser in some if any(eraser.erasure is proof for proof in proofs)
            ]
    return found


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


def _inspected(
    envelope: bytes, payload: bytes, erasures: Sequence[Erasure], interest: Interest
) -> Record:
    try:
        record = let_in(envelope, payload, erasures=erasures)
        if not interest.covers(record.envelope.context):
            raise OutsideInterest(
                f"record {record.hash.hex()[:16]} of context {record.envelope.context!r}"
                " is outside the interest of this link"
            )
    except PeerError as error:
        error.culprit = (envelope, payload)
        raise
    return record
