"""What a record must satisfy whoever sends it: decided from its own bytes and its `prev` alone.

No state, clock or setting takes part, so every replica decides alike. Rights, rates and smaller
limits belong to the link on which an author offers a record, not here.
"""

from __future__ import annotations

from collections.abc import Sequence

from weft_engine.errors import MalformedRecord, MalformedUpdate
from weft_engine.events.candidate import candidates
from weft_engine.limits import (
    ERASE_PAYLOAD_BYTES_MAX,
    FOREIGN_PAYLOAD_BYTES_MAX,
    NATIVE_PAYLOAD_BYTES_MAX,
    NATIVE_WOVEN_STRUCTS_MAX,
)
from weft_engine.names import EventId, RecordHash, event_id_hlc, is_event_id
from weft_engine.records.digest import payload_digest, record_digest
from weft_engine.records.envelope import Envelope, Kind, Record, decode_envelope
from weft_engine.records.erasure import Erasure, decode_erasure, proving
from weft_engine.records.identity import client_id
from weft_engine.yjs.appends import read_appends
from weft_engine.yjs.reader import read_update
from weft_engine.yjs.update import Update

_PAYLOAD_BYTES_MAX = {
    Kind.NATIVE: NATIVE_PAYLOAD_BYTES_MAX,
    Kind.FOREIGN: FOREIGN_PAYLOAD_BYTES_MAX,
    Kind.ERASE: ERASE_PAYLOAD_BYTES_MAX,
    Kind.JOIN: 0,
}


def read_record(
    envelope_bytes: bytes, payload: bytes, *, erasures: Sequence[Erasure] = ()
) -> Record:
    """The record in these bytes, checked as far as it can be without its `prev`. Its payload may be
    a stand-in that one of `erasures`, which are of its context, gives."""
    return read_with_update(envelope_bytes, payload, erasures=erasures)[0]


def read_with_update(
    envelope_bytes: bytes, payload: bytes, *, erasures: Sequence[Erasure] = ()
) -> tuple[Record, Update | None]:
    """As `read_record`, with the update in the payload, for reading one is most of the work; None
    for one that does nothing but append events."""
    envelope = decode_envelope(envelope_bytes)
    record = Record(RecordHash(record_digest(envelope_bytes)), envelope, envelope_bytes, payload)
    bytes_max = _PAYLOAD_BYTES_MAX[envelope.kind]
    if len(payload) > bytes_max:
        raise _unsound(record, f"its payload of {len(payload)} bytes exceeds {bytes_max}")
    is_update = envelope.kind in (Kind.NATIVE, Kind.FOREIGN)
    is_original = payload_digest(payload) == envelope.payload_hash
    if not is_original and not (is_update and erasures):
        raise _unsound(record, "its payload is not the one its envelope names")
    update = None
    if is_original and envelope.kind is Kind.NATIVE and _only_appends(envelope, payload):
        return record, None
    if is_update:
        update = _check_update(record)
    elif envelope.kind is Kind.ERASE:
        try:
            decode_erasure(payload, envelope.origin)
        except MalformedRecord as error:
            raise _unsound(record, error.message) from None
    if not is_original and not proving(record.hash, payload, erasures):
        raise _unsound(record, "its payload was replaced, and no eraser beside it gives this one")
    return record, update


def check_link(hash_: RecordHash, envelope: Envelope, prev: Envelope) -> None:
    """MalformedRecord unless a record properly continues the chain of its predecessor."""
    if (prev.origin, prev.context) != (envelope.origin, envelope.context):
        raise _refused(hash_, envelope, "its prev belongs to another chain")
    if prev.seq + 1 != envelope.seq:
        raise _refused(hash_, envelope, f"its seq {envelope.seq} does not follow {prev.seq}")
    if prev.hlc >= envelope.hlc:
        raise _refused(hash_, envelope, "its hlc does not rise along the chain")


def check_dependency(hash_: RecordHash, envelope: Envelope, dep: Envelope) -> None:
    """MalformedRecord unless a record may have this one among its deps."""
    if dep.context != envelope.context:
        raise _refused(hash_, envelope, f"it depends on a record of context {dep.context!r}")


def _only_appends(envelope: Envelope, payload: bytes) -> bool:
    """Whether all it does is set events, in a way that `_check_update` finds nothing wrong with."""
    keys = read_appends(payload, client_id(envelope.origin, envelope.context))
    if keys is None:
        return False
    # An event id begins with its HLC; what is none says nothing of time, and is looked at closely.
    latest = b"%016x" % envelope.hlc
    return max(keys)[:16] <= latest


def _check_update(record: Record) -> Update:
    try:
        update = read_update(record.payload)
    except MalformedUpdate as error:
        raise _unsound(record, f"its payload is no sound update: {error.message}") from None
    if record.envelope.kind is not Kind.NATIVE:
        return update
    if update.woven > NATIVE_WOVEN_STRUCTS_MAX:
        raise _unsound(
            record, f"{update.woven} structs are interwoven; {NATIVE_WOVEN_STRUCTS_MAX} may be"
        )
    own = client_id(record.envelope.origin, record.envelope.context)
    if any(struct.client != own for struct in update.structs):
        raise _unsound(record, "it writes under a Yjs client id that is not its origin's")
    for candidate in candidates(update):
        if is_event_id(candidate.key) and event_id_hlc(EventId(candidate.key)) > (
            record.envelope.hlc
        ):
            raise _unsound(record, f"event {candidate.key} is stamped after its record")
    return update


def _unsound(record: Record, why: str) -> MalformedRecord:
    return _refused(record.hash, record.envelope, why)


def _refused(hash_: RecordHash, envelope: Envelope, why: str) -> MalformedRecord:
    return MalformedRecord(
        f"record {hash_.hex()[:16]} of context {envelope.context!r} is refused: {why}"
    )
