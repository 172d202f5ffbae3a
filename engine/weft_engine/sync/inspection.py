"""What a peer's Records message must satisfy before it may reach the gate.

Pure computation, and the expensive part of receiving: a signature costs about 60 us. Whoever drives
a session runs it where it stalls nobody. Must never know: the store, the link.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

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
        read_record(envelope, payload, erasures=_of_context(erasers, envelope))
        for envelope, payload in admission.records
    )
    _check_interest(records, interest)
    tips = {record.hash for record in records}
    for item in admission.items:
        if item.tip not in tips:
            raise ProtocolViolation(
                f"a signature came without the record {item.tip.hex()[:16]} that it signs"
            )
        item.verify()
    signed = {item.tip for item in admission.items}
    for record in records:
        if record.envelope.kind is Kind.ERASE and record.hash not in signed:
            raise ProtocolViolation(
                f"the eraser {record.hash.hex()[:16]} came without a signature over just itself"
            )
    return Inspected(records, (*admission.verified, *admission.items), _proofs(records, erasers))


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


def _check_interest(records: Sequence[Record], interest: Interest) -> None:
    for record in records:
        if not interest.covers(record.envelope.context):
            raise OutsideInterest(
                f"record {record.hash.hex()[:16]} of context {record.envelope.context!r}"
                " is outside the interest of this link"
            )
