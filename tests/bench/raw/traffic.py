"""Valid native records, many and fast, and the frames that bring them; nothing here is stored.

Each record sets one event: its payload is the Yjs update that the peers get, too. Frames are
written as docs/PROTOCOL.md has them. Must never know: sockets, clocks but the one it is given.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import msgpack

from tests.bench.raw.framing import framed
from weft_engine.events.codec import encode_event
from weft_engine.events.event import Event, Message, Role
from weft_engine.events.part import Text
from weft_engine.limits import FORMAT_VERSION
from weft_engine.names import EventId, RecordHash
from weft_engine.records.digest import fingerprint_digest, payload_digest, record_digest
from weft_engine.records.identity import SignatureItem, WriterKey, client_id
from weft_engine.sync.framing.fragments import cut
from weft_engine.yjs.encoder import encode_event_append

SAYING = "the flight from seat to fare is booked for two with bags and no insurance "


def event_bytes(size: int) -> bytes:
    """The JSON of a user's message, about `size` bytes."""
    empty = len(encode_event(Event("bench", Message(Role.USER, (Text(""),)))))
    left = max(1, size - empty)
    text = (SAYING * (left // len(SAYING) + 1))[:left]
    return encode_event(Event("bench", Message(Role.USER, (Text(text),))))


@dataclass(frozen=True, slots=True)
class Made:
    """A record as it goes over the wire."""

    hash: bytes
    envelope: bytes
    payload: bytes

    @property
    def size(self) -> int:
        return len(self.envelope) + len(self.payload)


class NativeWriter:
    """One incarnation that writes in one context."""

    def __init__(self, context: str, *, now_ms: int, key: WriterKey | None = None) -> None:
        self.context = context
        self.key = WriterKey(os.urandom(32)) if key is None else key
        self.tip: bytes | None = None
        self._client = client_id(self.key.incarnation, context)
        self._hlc = now_ms << 16
        self._seq = 0

    def record(self, event: bytes) -> Made:
        """The next record of the chain: it sets one event to these bytes."""
        self._hlc += 1
        key = EventId(f"{self._hlc:016x}-{self.key.incarnation.hex()}")
        payload = encode_event_append(self._client, self._seq, ((key, event),)).payload
        self._seq += 1
        envelope: bytes = msgpack.packb(
            (
                FORMAT_VERSION,
                self.context,
                self.key.incarnation,
                self._seq,
                self.tip,
                (),
                self._hlc,
                1,
                payload_digest(payload),
            )
        )
        self.tip = record_digest(envelope)
        return Made(self.tip, envelope, payload)

    def sign(self) -> SignatureItem:
        assert self.tip is not None, "a chain has a record"
        return self.key.sign(RecordHash(self.tip))

    def fingerprint(self) -> bytes:
        """Of the context, if nobody else writes there."""
        assert self.tip is not None, "a chain has a record"
        return fingerprint_digest(self.tip)


class Courier:
    """Numbers the Records messages of one link."""

    def __init__(self) -> None:
        self._serial = 0

    def message(self, records: Sequence[Made], items: Sequence[SignatureItem]) -> bytes:
        """The next message with these records and signatures, framed."""
        self._serial += 1
        pairs = [(made.envelope, made.payload) for made in records]
        signed = [(item.public_key, item.tip, item.signature) for item in items]
        message = b"\x01" + msgpack.packb((4, self._serial, None, pairs, signed, ()))
        return b"".join(framed(part) for part in cut(message, id_=self._serial))


def greeting(
    contexts: Sequence[str] = (),
    *,
    prefixes: Sequence[str] = (),
    now_ms: int,
    store: bytes,
    ticket: bytes | None = None,
    listed: Sequence[tuple[str, bytes]] = (),
    window: tuple[int, int] = (4096, 80 << 20),
) -> bytes:
    """What a client says first, framed: hello, ticket, the list of what it holds."""
    hello = (0, FORMAT_VERSION, store, bytes(8), None, now_ms, sorted(contexts), prefixes, window)
    frames = (hello, (9, ticket), (13, None), (2, sorted(listed), True))
    return b"".join(framed(b"\x01" + msgpack.packb(fields)) for fields in frames)
