"""The writing end of a context: this incarnation's chain, and the frontier it stands on."""

from __future__ import annotations

from collections.abc import Sequence

from weft_engine.limits import DEPS_MAX, SEEN_MAX
from weft_engine.names import ClientId, ContextName, EventId, Hlc, RecordHash
from weft_engine.records.digest import payload_digest
from weft_engine.records.envelope import Envelope, Kind, Record, seal
from weft_engine.records.frontier import Frontier, advance
from weft_engine.records.identity import WriterKey, client_id
from weft_engine.storage.identity import OwnHead
from weft_engine.yjs.encoder import encode_event_append


class Head:
    """Makes records of one incarnation in one context. What it makes is in the order in which it
    must be journaled."""

    __slots__ = (
        "_began",
        "_client",
        "_key",
        "_prev",
        "_seq",
        "client_clock",
        "context",
        "frontier",
    )

    def __init__(
        self,
        context: ContextName,
        key: WriterKey,
        frontier: Frontier,
        tip: OwnHead | None = None,
    ) -> None:
        """`tip`: where the chain stands that this incarnation began in an earlier session."""
        self.context = context
        self.frontier = frontier
        self._key = key
        self._client = client_id(key.incarnation, context)
        self.client_clock = 0 if tip is None else tip.clock
        self._prev: RecordHash | None = None if tip is None else tip.hash
        self._seq = 0 if tip is None else tip.seq
        self._began = self._seq

    @property
    def joins_needed(self) -> int:
        """How many records must tie the frontier together before an event can name it."""
        over = len(self.frontier) - SEEN_MAX
        # Each join takes up to DEPS_MAX ends and our own last record away, and is one itself.
        return max(0, -(-over // (DEPS_MAX - 1)))

    @property
    def client(self) -> ClientId:
        """Our Yjs client id in this context."""
        return self._client

    @property
    def tip(self) -> OwnHead | None:
        """Where the chain stands, if something was added to it."""
        if self._prev is None or self._seq == self._began:
            return None
        return OwnHead(self.context, self._seq, self._prev, self.client_clock)

    def append_events(self, entries: Sequence[tuple[EventId, bytes]], hlc: Hlc) -> Record:
        """A record that sets these events; `hlc` is not below the last of their ids."""
        payload = encode_event_append(self._client, self.client_clock, entries).payload
        return self.append(payload, len(entries), hlc)

    def append(self, payload: bytes, structs: int, hlc: Hlc) -> Record:
        """A native record with `payload`, which takes up `structs` of our Yjs clock."""
        record = self._seal(Kind.NATIVE, payload, self._deps(), hlc)
        self.client_clock += structs
        return record

    def append_foreign(self, payload: bytes, hlc: Hlc) -> Record:
        """A record with an update that is not ours."""
        return self._seal(Kind.FOREIGN, payload, self._deps(), hlc)

    def join(self, hlc: Hlc) -> Record:
        """A record without payload that ties up to 1,024 ends of the frontier together."""
        return self._seal(Kind.JOIN, b"", self._deps()[:DEPS_MAX], hlc)

    def erase(self, payload: bytes, after: Frontier, hlc: Hlc) -> Record:
        """An erasing record whose past is that of `after` and of our own chain."""
        deps = tuple(hash_ for hash_ in after if hash_ != self._prev)
        return self._seal(Kind.ERASE, payload, deps, hlc)

    def observe(self, record: Record) -> None:
        """Take notice of a record of another writer that was journaled."""
        self.frontier = advance(self.frontier, record.envelope.parents, record.hash)

    def _deps(self) -> tuple[RecordHash, ...]:
        if self._prev is None:
            return self.frontier
        return tuple(hash_ for hash_ in self.frontier if hash_ != self._prev)

    def _seal(self, kind: Kind, payload: bytes, deps: tuple[RecordHash, ...], hlc: Hlc) -> Record:
        self._seq += 1
        envelope = Envelope(
            self.context,
            self._key.incarnation,
            self._seq,
            self._prev,
            deps,
            hlc,
            kind,
            payload_digest(payload),
        )
        record = seal(envelope, payload)
        self._prev = record.hash
        self.observe(record)
        return record
