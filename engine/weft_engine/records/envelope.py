"""The envelope of a record: its exact bytes, and what they mean.

An envelope is a msgpack array of nine in shortest form; its hash names the record. Whatever is not
byte for byte what this module would write is refused, so that one record has one encoding.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

import msgpack

from weft_engine.errors import InvalidName, MalformedRecord
from weft_engine.limits import CONTEXT_NAME_BYTES_MAX, DEPS_MAX, FORMAT_VERSION
from weft_engine.names import ContextName, Hlc, Incarnation, RecordHash, context_name
from weft_engine.records.clock import HLC_MAX
from weft_engine.records.digest import payload_digest, record_digest

# Nine fields, the longest of them 1,024 deps of 34 bytes.
ENVELOPE_BYTES_MAX = 34 * DEPS_MAX + CONTEXT_NAME_BYTES_MAX + 256


class Kind(IntEnum):
    NATIVE = 1
    """A Yjs update by the record's own incarnation."""
    FOREIGN = 2
    """A Yjs update that a relay wrote down for a plain Yjs client."""
    ERASE = 3
    JOIN = 4
    """No payload; ties together a frontier too wide for `deps` or `seen`."""


UPDATES: Final = (Kind.NATIVE, Kind.FOREIGN)
"""Those whose payload is a Yjs update."""
_KINDS = {int(kind): kind for kind in Kind}
_NAMES_CACHED_MAX = 2048
# Making a packer costs more than packing. It calls nothing of Python's for what is packed here, so
# no thread comes upon it in the middle.
_pack = msgpack.Packer(buf_size=ENVELOPE_BYTES_MAX).pack


@dataclass(frozen=True, slots=True)
class Envelope:
    context: ContextName
    origin: Incarnation
    seq: int
    """Dense per origin and context, from 1."""
    prev: RecordHash | None
    deps: tuple[RecordHash, ...]
    """The context's maximal records when this was written, own `prev` left out; ascending."""
    hlc: Hlc
    kind: Kind
    payload_hash: bytes

    def encode(self) -> bytes:
        packed: bytes = msgpack.packb(
            (
                FORMAT_VERSION,
                self.context,
                self.origin,
                self.seq,
                self.prev,
                self.deps,
                self.hlc,
                self.kind,
                self.payload_hash,
            )
        )
        return packed

    @property
    def parents(self) -> tuple[RecordHash, ...]:
        return self.deps if self.prev is None else (self.prev, *self.deps)


@dataclass(frozen=True, slots=True)
class Record:
    """An envelope with its bytes, its name and its payload: what is stored and forwarded."""

    hash: RecordHash
    envelope: Envelope
    envelope_bytes: bytes
    payload: bytes

    @property
    def size(self) -> int:
        """Bytes on the wire, framing left out."""
        return len(self.envelope_bytes) + len(self.payload)

    @property
    def is_erased(self) -> bool:
        """Whether the payload is a stand-in for the one that the envelope names."""
        return payload_digest(self.payload) != self.envelope.payload_hash


def seal(envelope: Envelope, payload: bytes) -> Record:
    """The record of an envelope that was made for this payload."""
    data = envelope.encode()
    return Record(RecordHash(record_digest(data)), envelope, data, payload)


def decode_envelope(data: bytes) -> Envelope:
    """The envelope in `data`, or MalformedRecord naming the field that is wrong."""
    if len(data) > ENVELOPE_BYTES_MAX:
        raise MalformedRecord(f"an envelope of {len(data)} bytes exceeds {ENVELOPE_BYTES_MAX}")
    try:
        fields = msgpack.unpackb(data, use_list=False)
    except (ValueError, msgpack.UnpackException) as error:
        raise MalformedRecord(f"an envelope is not msgpack: {error}") from None
    if type(fields) is not tuple or len(fields) != 9:
        raise MalformedRecord("an envelope is not an array of nine")
    version, context, origin, seq, prev, deps, hlc, kind, payload_hash = fields
    if version != FORMAT_VERSION:
        raise MalformedRecord(
            f"an envelope has format version {version!r}, this is {FORMAT_VERSION}",
            hint="upgrade weft",
        )
    if type(context) is not str:
        raise MalformedRecord("an envelope's context is not a string")
    name = _context_name(context)
    of_kind = _KINDS.get(kind) if type(kind) is int else None
    if of_kind is None:
        raise MalformedRecord(f"an envelope has the unknown kind {kind!r}")
    if not (
        type(origin) is bytes
        and len(origin) == 16
        and type(seq) is int
        and 1 <= seq < 1 << 64
        and ((prev is None) if seq == 1 else (type(prev) is bytes and len(prev) == 32))
        and type(hlc) is int
        and 0 <= hlc <= HLC_MAX
        and type(payload_hash) is bytes
        and len(payload_hash) == 32
        and type(deps) is tuple
        and len(deps) <= DEPS_MAX
    ):
        raise _complaint(origin, seq, prev, hlc, payload_hash)
    if deps:
        _check(all(_is_bytes(dep, 32) for dep in deps), "deps are not hashes of 32 bytes")
        _check(all(a < b for a, b in pairwise(deps)), "deps do not ascend")
        _check(prev is None or prev not in deps, "prev stands among deps")
    again = _pack((FORMAT_VERSION, *fields[1:]))
    _check(again == data, "the encoding is not the shortest form")
    return Envelope(name, Incarnation(origin), seq, prev, deps, Hlc(hlc), of_kind, payload_hash)


def _complaint(
    origin: object, seq: object, prev: object, hlc: object, payload_hash: object
) -> MalformedRecord:
    """What is wrong with fields of which one is."""
    if not _is_bytes(origin, 16):
        why = "origin is not 16 bytes"
    elif not (type(seq) is int and 1 <= seq < 1 << 64):
        why = "seq is not a positive integer"
    elif not (prev is None or _is_bytes(prev, 32)):
        why = "prev is neither nil nor 32 bytes"
    elif (prev is None) != (seq == 1):
        why = "prev and seq disagree on whether it is a chain's first"
    elif not (type(hlc) is int and 0 <= hlc <= HLC_MAX):
        why = "hlc is not an unsigned 64-bit integer"
    elif not _is_bytes(payload_hash, 32):
        why = "payload hash is not 32 bytes"
    else:
        why = f"deps are not up to {DEPS_MAX} hashes"
    return MalformedRecord(f"an envelope is not sound: {why}")


def parents_of(data: bytes) -> tuple[RecordHash, ...]:
    """As `Envelope.parents`, of one that was taken into the journal and so is known to be sound."""
    fields: tuple[Any, ...] = msgpack.unpackb(data, use_list=False)
    prev: RecordHash | None = fields[4]
    deps: tuple[RecordHash, ...] = fields[5]
    return deps if prev is None else (prev, *deps)


@lru_cache(maxsize=_NAMES_CACHED_MAX)
def _context_name(text: str) -> ContextName:
    try:
        return context_name(text)
    except InvalidName as error:
        raise MalformedRecord(f"an envelope's context is no name: {error.message}") from None


def _check(holds: bool, complaint: str) -> None:
    if not holds:
        raise MalformedRecord(f"an envelope is not sound: {complaint}")


def _is_bytes(value: object, size: int) -> bool:
    return type(value) is bytes and len(value) == size
