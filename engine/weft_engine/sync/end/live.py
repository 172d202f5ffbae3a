"""What is new, made ready once for every link that it goes to.

The records that one job of the journal brought into one context, with the signatures that came with
them, are *news*. Of the news since the last turn one body is made for all links that cover the same
contexts: the same bytes for each, of which only the head (serial and position) is a link's own.

Invariant: as in `weft_engine.sync.end.outgoing`, a message is closed. News that are not closed by
themselves (no signature is at hand, a stand-in wants its eraser beside it, too large for a frame)
go into no body: links read them from the journal.

Must never know: links, tasks, the store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import msgpack

from weft_engine.limits import FRAME_BYTES_MAX, RECORDS_BYTES, RECORDS_PER_FRAME
from weft_engine.names import ContextName, Position, RecordHash
from weft_engine.records.envelope import Kind
from weft_engine.records.erasure import Eraser
from weft_engine.records.identity import SignatureItem
from weft_engine.storage.ledger import ERASED, Stored
from weft_engine.sync.end.closure import closed, needed
from weft_engine.sync.end.regions.neighbour import Neighbour
from weft_engine.sync.framing.fields import eraser_fields, item_fields
from weft_engine.sync.framing.frames import VERSION

_HEAD = bytes((VERSION, 0x96, 4))
"""Version, an array of six, type 4: the beginning of a Records message."""
_HEADS_KEPT = 1024
"""Serials: what goes to many links has few."""
_NO_ERASERS = b"\x90"
_ROOM_BYTES = 64
"""Of a frame beside what is shared: head, counts, position."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that is not acknowledged. `firsts`: where its first record of each context is;
    `records`: how many it has."""

    first: Position
    size: int
    firsts: Mapping[ContextName, Position]
    records: int = 0


Sign = Callable[[Sequence[Stored]], Sequence[SignatureItem]]
"""Signatures over records of our own, of one context."""


class Parts(NamedTuple):
    """The records, and the signatures that cover them, as they stand in a message."""

    records: bytes
    items: bytes
    signatures: int

    @property
    def size(self) -> int:
        return len(self.records) + len(self.items)


class News:
    """Records of one context that were committed together, in journal order. `sources`: the regions
    that sent all of them."""

    __slots__ = ("_items", "_parts", "_sign", "context", "hashes", "size", "sources", "stored")

    def __init__(
        self,
        context: ContextName,
        stored: Sequence[Stored],
        items: Sequence[SignatureItem],
        sign: Sign | None = None,
    ) -> None:
        self.context = context
        self.stored = stored
        self.hashes = frozenset([one.record.hash for one in stored])
        self.size = sum([one.record.size for one in stored])
        """Bytes of the records, as a window counts them."""
        self.sources: Sequence[Neighbour] = ()
        self._items: Sequence[SignatureItem] | None = items
        self._sign = sign
        self._parts: Parts | None = None

    @property
    def parts(self) -> Parts | None:
        """None if they can't go as they are."""
        if self._items is not None:
            items = self._items
            if not items and self._sign is not None:
                items = self._sign(self.stored)
            self._parts = _parts(self.stored, items)
            self._items = None
        return self._parts


@dataclass(frozen=True, slots=True)
class Body:
    """A Records message but for its serial and position. `shared` None: it can't be pushed; empty:
    the peer has all of it."""

    news: tuple[News, ...]
    """What it is about, including what the peer has."""
    upto: Position
    said: bytes
    """`upto`, as it stands in the message."""
    shared: bytes | None
    sent: Sent

    @property
    def stored(self) -> list[Stored]:
        return [one for news in self.news for one in news.stored]

    def without(self, hashes: Set[RecordHash]) -> Body:
        """As it goes to a peer that these came from."""
        kept = [news for news in self.news if hashes.isdisjoint(news.hashes)]
        if len(kept) == len(self.news) or self.shared is None:
            return self
        gone = [news for news in self.news if not hashes.isdisjoint(news.hashes)]
        if not all(news.hashes <= hashes for news in gone):
            # Part of it waited for another link's records: alone the rest is not closed.
            return Body(self.news, self.upto, self.said, None, self.sent)
        if not kept:
            return Body(self.news, self.upto, self.said, b"", self.sent)
        return _body(self.news, kept, self.upto)


@dataclass(frozen=True, slots=True)
class Whole:
    """Records that were read of the journal, all in one message: the same for every peer that lacks
    all of them. `shared` is what stands behind its `whole_head`."""

    shared: bytes
    sent: Sent
    hashes: frozenset[RecordHash]
    lasts: tuple[Position, ...]
    """Where the last record of each part of the question stands that was reached."""


def whole(
    parts: Sequence[Sequence[Stored]],
    items: Sequence[SignatureItem],
    beside: Mapping[RecordHash, Sequence[Eraser]],
) -> Whole | None:
    """These records with what they need of the signatures and of the erasers `beside` them; None if
    they don't fit in a frame. They are closed, and no part of them is empty."""
    stored = [one for part in parts for one in part]
    hashes = [one.record.hash for one in stored]
    erasers = {e.record.hash: e for hash_ in hashes for e in beside.get(hash_, ())}
    chosen = needed(stored, items)
    packb, pack_array = msgpack.packb, msgpack.Packer().pack_array_header
    shared = b"".join(
        [
            pack_array(len(stored)),
            *[packb((one.record.envelope_bytes, one.record.payload)) for one in stored],
            pack_array(len(chosen)),
            *[packb(item_fields(item)) for item in chosen],
            pack_array(len(erasers)),
            *[packb(eraser_fields(eraser)) for eraser in erasers.values()],
        ]
    )
    if len(shared) > FRAME_BYTES_MAX - _ROOM_BYTES:
        return None
    firsts: dict[ContextName, Position] = {}
    for one in stored:
        firsts.setdefault(one.record.envelope.context, one.position)
    size = sum([one.record.size for one in stored])
    size += sum([eraser.record.size for eraser in erasers.values()])
    lasts = tuple(part[-1].position for part in parts)
    sent = Sent(min(firsts.values()), size, firsts, len(hashes))
    return Whole(shared, sent, frozenset(hashes), lasts)


def news_of(
    stored: Sequence[Stored], items: Sequence[SignatureItem], *, sign: Sign | None = None
) -> list[News]:
    """What one job of the journal brought, by context. `sign` is asked if it brought no
    signatures: then it wrote what is our own."""
    context = stored[0].record.envelope.context
    if len(stored) == 1 or all(one.record.envelope.context == context for one in stored):
        return [News(context, stored, items, sign)]
    by_context: dict[ContextName, list[Stored]] = {}
    for one in stored:
        by_context.setdefault(one.record.envelope.context, []).append(one)
    return [News(context, some, items, sign) for context, some in by_context.items()]


def compose(news: Sequence[News], head: Position) -> list[Body]:
    """Messages for news in journal order. `head`: everything that was committed up to there is
    among them, or was told of before."""
    runs: list[list[News]] = []
    size = records = 0
    for one in news:
        parts = one.parts
        bytes_ = 0 if parts is None else parts.size
        fits = size + bytes_ <= RECORDS_BYTES and records + len(one.stored) <= RECORDS_PER_FRAME
        if not runs or parts is None or not fits or runs[-1][-1].parts is None:
            runs.append([])
            size = records = 0
        runs[-1].append(one)
        size += bytes_
        records += len(one.stored)
    bodies: list[Body] = []
    for run in reversed(runs):
        bodies.append(_body(tuple(run), run, head))
        head = min(head, Position(bodies[-1].sent.first - 1))
    bodies.reverse()
    return bodies


def nothing_of(news: Sequence[News], upto: Position) -> Body:
    """A body for a peer that has all of the news; no bytes are made for it."""
    return Body(tuple(news), upto, b"", b"", _sent(news))


@lru_cache(_HEADS_KEPT)
def head_of(serial: int) -> bytes:
    """What stands before the position of a body."""
    if serial < 0x80:
        return _HEAD + bytes((serial,))
    width = 1 if serial < 1 << 8 else 2 if serial < 1 << 16 else 4 if serial < 1 << 32 else 8
    return _HEAD + bytes((0xCB + width.bit_length(),)) + serial.to_bytes(width, "big")


def whole_head(serial: int, upto: Position | None) -> bytes:
    """What stands before the shared bytes of a `Whole`."""
    return head_of(serial) + said_of(upto)


def said_of(upto: Position | None) -> bytes:
    """A position as it stands in a message."""
    said: bytes = msgpack.packb(upto)
    return said


def _body(news: tuple[News, ...], kept: Sequence[News], upto: Position) -> Body:
    sent = _sent(kept)
    said = said_of(upto)
    parts: list[Parts] = []
    for one in kept:
        if one.parts is None:
            return Body(news, upto, said, None, sent)
        parts.append(one.parts)
    pack_array = msgpack.Packer().pack_array_header
    shared = b"".join(
        [
            pack_array(sum([len(one.stored) for one in kept])),
            *[some.records for some in parts],
            pack_array(sum([some.signatures for some in parts])),
            *[some.items for some in parts],
            _NO_ERASERS,
        ]
    )
    return Body(news, upto, said, shared, sent)


def _sent(news: Sequence[News]) -> Sent:
    firsts: dict[ContextName, Position] = {}
    for one in news:
        firsts.setdefault(one.context, one.stored[0].position)
    size, records = sum([one.size for one in news]), sum([len(one.stored) for one in news])
    return Sent(min(firsts.values()), size, firsts, records)


def _parts(stored: Sequence[Stored], items: Sequence[SignatureItem]) -> Parts | None:
    chosen = _covering(stored, items)
    if chosen is None or len(stored) > RECORDS_PER_FRAME:
        return None
    packb = msgpack.packb
    parts = Parts(
        b"".join([packb((o.record.envelope_bytes, o.record.payload)) for o in stored]),
        b"".join([packb(item_fields(item)) for item in chosen]),
        len(chosen),
    )
    return parts if parts.size <= FRAME_BYTES_MAX - _ROOM_BYTES else None


def _covering(
    stored: Sequence[Stored], items: Sequence[SignatureItem]
) -> Sequence[SignatureItem] | None:
    """Those of `items` that a message of these records needs; None if it would not be closed."""
    if any(one.flags & ERASED for one in stored):
        return None
    if len(stored) == 1:
        chosen = [item for item in items if item.tip == stored[0].record.hash][:1]
        if not chosen:
            return None
    elif len(closed(stored, items)) == len(stored):
        chosen = list(needed(stored, items))
    else:
        return None
    certified = {item.incarnation for item in chosen if item.certificate is not None}
    for one in stored:
        # Its certificate may be kept, where it came with an earlier signature.
        envelope = one.record.envelope
        if envelope.kind is Kind.FOREIGN and envelope.origin not in certified:
            return None
    return chosen
