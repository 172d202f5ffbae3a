"""What a peer's Records message must satisfy before it may reach the gate.

Pure computation, and the expensive part of receiving: a signature costs about 65 us, a record that
appends an event about 7. Whoever drives a session sees to it that it stalls nobody.
Must never know: the store, the link.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from weft_engine.document.door import let_in
from weft_engine.errors import MalformedRecord, PeerError
from weft_engine.limits import KIB
from weft_engine.names import ContextName, RecordHash
from weft_engine.records.digest import payload_digest
from weft_engine.records.envelope import Kind, Record, decode_envelope
from weft_engine.records.erasure import Eraser, Erasure, decode_erasure, proving
from weft_engine.records.identity import SignatureItem
from weft_engine.records.sound import read_record
from weft_engine.sync.end.incoming import Admission
from weft_engine.sync.faults import OutsideInterest, ProtocolViolation
from weft_engine.sync.interest import Interest

_STEP_BYTES: Final = 32 * KIB
"""Payloads of a step: half a millisecond of honest ones; up to 20 ms of the smallest structs."""
_RECORD_BYTES: Final = 640
"""What a record costs beside its payload, in bytes of payload that cost as much."""
_SIGNATURE_BYTES: Final = 4 * KIB


@dataclass(frozen=True, slots=True)
class Inspected:
    records: tuple[Record, ...]
    items: tuple[SignatureItem, ...]
    """All verified."""
    proofs: Mapping[RecordHash, Sequence[Eraser]] = field(default_factory=dict)
    """Of each record whose payload is a stand-in: the erasers that prove it."""


def inspect(admission: Admission) -> Inspected:
    """The records and signatures of a message, or a PeerError that says what is wrong."""
    steps = inspecting(admission)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            inspected: Inspected = done.value
            return inspected


def is_large(admission: Admission) -> bool:
    """Whether the inspection takes more than a step."""
    size = len(admission.records) * _RECORD_BYTES + len(admission.items) * _SIGNATURE_BYTES
    size += sum([len(payload) for _, payload in admission.records])
    return size > _STEP_BYTES or bool(admission.erasers)


def inspecting(admission: Admission) -> Generator[bool, None, Inspected]:
    """As `inspect`, in steps of less than a millisecond with a pause before each but the first. A
    pause gives True if the step that follows may take longer, by what a hostile peer can put into
    so many bytes, and should not hold up an event loop."""
    if admission.erasers:
        yield True
    erasers = _erasers(admission)
    room = _STEP_BYTES
    records: list[Record] = []
    for envelope, payload in admission.records:
        cost = _RECORD_BYTES + len(payload)
        room -= cost
        if room < 0:
            yield len(payload) > _STEP_BYTES
            room = _STEP_BYTES - cost
        its = _of_context(erasers, envelope)
        records.append(_inspected(envelope, payload, its, admission.interest))
    by_hash = {record.hash: record for record in records}
    for item in admission.items:
        room -= _SIGNATURE_BYTES
        if room < 0:
            yield False
            room = _STEP_BYTES
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
    return Inspected(tuple(records), admission.items, _proofs(records, erasers))


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
