"""What an erasing record says, and what follows from it for other records.

Payload, canonical msgpack: [1, what, reason, records, proofs] where

    what    = [event id+] ascending | note name | nil for the whole context
    records = [[record hash, digest, [[index, struct digest]+]]*] by hash
    proofs  = [[event id, public key, signature]*] by event id

`records` lists what the eraser's past holds of what is named: for each record the digest of its
original payload, struct by struct (`yjs.stand_in`), and of each struct that is replaced its index
and its own digest. From a stand-in and all that erasers list of its record, the digest of the
original comes out again; so nothing but what they list can have been changed, and erasers that
were written side by side add up.

What a record's payload becomes depends on the set of erasers and on the record alone:

* in the past of an eraser of the whole context it is blank;
* if it shows a struct under an event id that an eraser names and does not list, or lists wrongly,
  it is blank: a copy that came late, by whoever;
* if all it does is tell how far a stream had come whose event an eraser names, it is blank, listed
  or not (or a stand-in, if what tells it was erased by its own id before);
* otherwise every listed struct is replaced.

A listing counts if the record is in the eraser's past and all that it says of it is true; one of
events, if it lists just the structs that stand under the ids it names.

Must never know: where records are stored, who may erase.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import msgpack

from weft_engine.errors import InvalidName, MalformedRecord
from weft_engine.events.streams import event_of, told_by
from weft_engine.limits import ERASE_REASON_BYTES_MAX, ERASED_EVENTS_MAX
from weft_engine.names import (
    EventId,
    Incarnation,
    NoteName,
    RecordHash,
    event_id_incarnation,
    is_event_id,
    note_name,
)
from weft_engine.records.digest import origin_digest, struct_digest, structs_digest
from weft_engine.records.ed25519 import SigningKey, is_signed
from weft_engine.records.envelope import Record
from weft_engine.records.identity import SignatureItem
from weft_engine.yjs.stand_in import Anatomy

_VERSION: Final = 1
_PREFIX: Final = b"weft-erase-1"


@dataclass(frozen=True, slots=True)
class Listed:
    """What an eraser says of one record: the digest of its original payload, and by index the
    digests of the structs that are replaced."""

    digest: bytes
    originals: Mapping[int, bytes]


@dataclass(frozen=True, slots=True)
class Proof:
    """The word of an event's own incarnation for whoever erases it."""

    event: EventId
    public_key: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Erasure:
    """`events`, or `note`, or neither for the whole context."""

    events: tuple[EventId, ...]
    note: NoteName | None
    reason: str
    records: Mapping[RecordHash, Listed]
    proofs: tuple[Proof, ...] = ()

    @property
    def is_everything(self) -> bool:
        return not self.events and self.note is None

    def encode(self) -> bytes:
        packed: bytes = msgpack.packb(
            (
                _VERSION,
                self.events or self.note,
                self.reason,
                [
                    (hash_, listed.digest, sorted(listed.originals.items()))
                    for hash_, listed in sorted(self.records.items())
                ],
                [(proof.event, proof.public_key, proof.signature) for proof in self.proofs],
            )
        )
        return packed

    def is_by_author(self, origin: Incarnation) -> bool:
        """Whether `origin`, who wrote this, wrote each event that it names, or has the word of
        who did."""
        proved = {proof.event for proof in self.proofs}
        return bool(self.events) and all(
            event in proved or event_id_incarnation(event) == origin for event in self.events
        )

    def named(self, anatomy: Anatomy) -> frozenset[int]:
        """The structs that stand under named event ids by their keys: the events themselves, and
        what was streamed of them. These an eraser lists."""
        if not self.events:
            return frozenset()
        ids: frozenset[str | None] = frozenset(self.events)
        structs = anatomy.update.structs
        return frozenset(i for i, struct in enumerate(structs) if event_of(struct) in ids)

    def is_told(self, anatomy: Anatomy) -> bool:
        """Whether an update does nothing but tell how far a named event had come as a stream."""
        return bool(self.events) and told_by(anatomy.update, anatomy.data) in self.events

    def shown(self, anatomy: Anatomy) -> frozenset[int]:
        """The structs that show something of a named event, by the bytes alone."""
        return frozenset({0}) if self.is_told(anatomy) else self.named(anatomy)


@dataclass(frozen=True, slots=True)
class Eraser:
    """An erasing record with what it says and the signature over just this record."""

    record: Record
    erasure: Erasure
    item: SignatureItem


def prove(seed: bytes, event: EventId, eraser: Incarnation) -> Proof:
    """The word of the incarnation with this seed that `eraser` may erase its event."""
    key = SigningKey(seed)
    return Proof(event, key.public, key.sign(_PREFIX + event.encode() + eraser))


def decode_erasure(data: bytes, origin: Incarnation) -> Erasure:
    """The erasure in a payload by `origin`, its proofs verified, or MalformedRecord."""
    try:
        fields = msgpack.unpackb(data, use_list=False)
    except (ValueError, msgpack.UnpackException) as error:
        raise MalformedRecord(f"an erasure is not msgpack: {error}") from None
    _check(type(fields) is tuple and len(fields) == 5, "it is not an array of five")
    version, what, reason, records, proofs = fields
    if type(version) is not int or version != _VERSION:
        raise MalformedRecord(f"an erasure has version {version!r}", hint="upgrade weft")
    _check(type(reason) is str, "its reason is no text")
    _check(
        0 < len(reason.encode()) <= ERASE_REASON_BYTES_MAX,
        f"its reason does not have 1 to {ERASE_REASON_BYTES_MAX} bytes",
    )
    events: tuple[EventId, ...] = ()
    note: NoteName | None = None
    if type(what) is tuple:
        _check(0 < len(what) <= ERASED_EVENTS_MAX, f"it names not 1 to {ERASED_EVENTS_MAX} events")
        _check(all(type(one) is str and is_event_id(one) for one in what), "an id is no event id")
        _check(all(a < b for a, b in pairwise(what)), "its event ids do not ascend")
        events = what
    elif what is not None:
        _check(type(what) is str, "what it names is neither events, a note nor everything")
        try:
            note = note_name(what)
        except InvalidName as error:
            raise MalformedRecord(f"an erasure is not sound: {error.message}") from None
    erasure = Erasure(events, note, reason, _records(records), _proofs(proofs, events, origin))
    _check(not (erasure.is_everything and erasure.records), "one of everything lists records")
    _check(erasure.encode() == data, "the encoding is not the shortest form")
    return erasure


def _records(value: object) -> dict[RecordHash, Listed]:
    found: dict[RecordHash, Listed] = {}
    _check(type(value) is tuple, "its records are no array")
    assert isinstance(value, tuple)
    for entry in value:
        _check(type(entry) is tuple and len(entry) == 3, "a listed record is not an array of three")
        hash_, digest, structs = entry
        _check(_is_bytes(hash_, 32) and _is_bytes(digest, 32), "a hash is not 32 bytes")
        _check(type(structs) is tuple and len(structs) > 0, "a listed record names no structs")
        originals: dict[int, bytes] = {}
        for struct in structs:
            _check(type(struct) is tuple and len(struct) == 2, "a struct is not a pair")
            index, original = struct
            _check(type(index) is int and index >= 0, "the index of a struct is none")
            _check(_is_bytes(original, 32), "the digest of a struct is not 32 bytes")
            originals[index] = original
        found[RecordHash(hash_)] = Listed(digest, originals)
    return found


def _proofs(value: object, events: tuple[EventId, ...], origin: Incarnation) -> tuple[Proof, ...]:
    found: list[Proof] = []
    named = frozenset(events)
    _check(type(value) is tuple and len(value) <= len(events), "its proofs are no array")
    assert isinstance(value, tuple)
    for entry in value:
        _check(type(entry) is tuple and len(entry) == 3, "a proof is not an array of three")
        event, key, signature = entry
        _check(event in named, "a proof is of an event that it does not name")
        _check(_is_bytes(key, 32) and _is_bytes(signature, 64), "a proof is no signature")
        _check(
            origin_digest(key) == event_id_incarnation(event),
            f"the proof for event {event} is by another key than its writer's",
        )
        _check(
            is_signed(_PREFIX + event.encode() + origin, signature, key),
            f"the proof for event {event} is forged",
        )
        found.append(Proof(event, key, signature))
    _check(all(a.event < b.event for a, b in pairwise(found)), "its proofs do not ascend")
    return tuple(found)


def _check(holds: bool, complaint: str) -> None:
    if not holds:
        raise MalformedRecord(f"an erasure is not sound: {complaint}")


def _is_bytes(value: object, size: int) -> bool:
    return type(value) is bytes and len(value) == size


# ---- what follows for a record --------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Original:
    """What is known of the payload that a stand-in stands for: its digest, and those of the
    structs that have been replaced."""

    digest: bytes
    replaced: Mapping[int, bytes]


def listed(anatomy: Anatomy, original: Original, indices: Iterable[int]) -> Listed:
    """What an eraser of these structs says of a record."""
    return Listed(
        original.digest, {index: _struct_digest(anatomy, original, index) for index in indices}
    )


def untouched(anatomy: Anatomy) -> Original:
    """Of a payload that is the original itself."""
    return Original(_digest(anatomy, {}), {})


def original_of(anatomy: Anatomy, listings: Iterable[Listed]) -> Original | None:
    """What `anatomy` is a stand-in for by one of these listings, None if by none of them."""
    some = list(listings)
    for one in some:
        known = dict(one.originals)
        for other in some:
            if other.digest == one.digest:
                for index, digest in other.originals.items():
                    known.setdefault(index, digest)
        replaced = {
            index: digest
            for index, digest in known.items()
            if index < len(anatomy.spans) and anatomy.is_empty(index)
        }
        if _digest(anatomy, replaced) == one.digest:
            return Original(one.digest, replaced)
    return None


def is_right(
    erasure: Erasure, said: Listed | None, anatomy: Anatomy, original: Original | None
) -> bool:
    """Whether what an eraser lists of a record is true, and its to erase."""
    if said is None or original is None or said.digest != original.digest:
        return False
    if erasure.events and erasure.named(anatomy) != said.originals.keys():
        return False
    if erasure.is_told(anatomy):
        return False
    return all(
        index < len(anatomy.spans) and digest == _struct_digest(anatomy, original, index)
        for index, digest in said.originals.items()
    )


def proving(hash_: RecordHash, payload: bytes, erasures: Iterable[Erasure]) -> list[Erasure]:
    """Those of the erasures that prove together that `payload`, a sound update, stands for that of
    a record; none if they do not."""
    anatomy = Anatomy.of(payload)
    some = list(erasures)
    if payload == anatomy.blank():
        # One of everything, if there is one: it proves the other blanks, too.
        blanking = [one for one in some if one.is_everything] or [one for one in some if one.events]
        if blanking:
            return blanking[:1]
    listing = [(one, one.records[hash_]) for one in some if hash_ in one.records]
    original = original_of(anatomy, (said for _, said in listing))
    if original is None:
        return []
    right = [(one, said) for one, said in listing if is_right(one, said, anatomy, original)]
    allowed = {index for _, said in right for index in said.originals}
    return [one for one, _ in right] if allowed.issuperset(original.replaced) else []


def erased(
    payload: bytes, erasure: Erasure, said: Listed | None, original: Original | None
) -> tuple[bytes, bool]:
    """What the payload of a record becomes by an erasure of events or of a note that says `said`
    of it; and whether that was right, so that it proves the result."""
    anatomy = Anatomy.of(payload)
    if is_right(erasure, said, anatomy, original):
        assert said is not None
        return anatomy.without(said.originals), True
    if erasure.shown(anatomy):
        return anatomy.blank(), True
    return payload, False


def _struct_digest(anatomy: Anatomy, original: Original, index: int) -> bytes:
    known = original.replaced.get(index)
    return struct_digest(anatomy.struct(index)) if known is None else known


def _digest(anatomy: Anatomy, originals: Mapping[int, bytes]) -> bytes:
    """32 bytes over an update, struct by struct: over what stays of each when it is replaced, and
    over what stood there before; the digest of that is in `originals` if it is gone."""
    digests = []
    for index in range(len(anatomy.spans)):
        original = originals.get(index) or struct_digest(anatomy.struct(index))
        digests.append(struct_digest(anatomy.emptied(index) + original))
    return structs_digest(struct_digest(anatomy.around()) + b"".join(digests))
