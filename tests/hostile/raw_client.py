"""A client of a relay made of frames alone: no store, no session, a few kilobytes.

It keeps what it wrote until that is acknowledged, knows the frontiers of what came, and says all
that the protocol asks for; so a thousand of them fit into one process, and what is measured is the
relay. Must never know: what a relay is made of.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from weft_engine.events.codec import encode_event
from weft_engine.events.event import Event, Message, Role
from weft_engine.events.part import Text
from weft_engine.limits import DEPS_MAX, FORMAT_VERSION, FRAME_BYTES_MAX
from weft_engine.names import ClientId, ContextName, EventId, Hlc, RecordHash, event_id
from weft_engine.records.clock import HybridClock
from weft_engine.records.digest import payload_digest, record_digest
from weft_engine.records.envelope import Envelope, Kind, Record, decode_envelope, seal
from weft_engine.records.frontier import Frontier, advance, fingerprint
from weft_engine.records.identity import WriterKey, client_id
from weft_engine.sync.binding import SYNC_PATH
from weft_engine.sync.framing.fragments import Reassembly, cut
from weft_engine.sync.framing.frames import decode_frame, decode_message, encode
from weft_engine.sync.framing.messages import (
    Ack,
    Bye,
    Contexts,
    Fragment,
    Heartbeat,
    Hello,
    Issue,
    Kept,
    Records,
    Resume,
    Ticket,
    Window,
)
from weft_engine.sync.framing.messages import Frontier as FrontierFrame
from weft_engine.sync.framing.messages import Message as Frame
from weft_engine.sync.interest import Interest
from weft_engine.yjs.encoder import encode_event_append

WINDOW: Final = Window(64, 8 << 20)
HEARTBEAT_S: Final = 8.0


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Pen:
    """One chain of native records in one context. `seed`: 32 bytes."""

    def __init__(self, context: str, seed: bytes) -> None:
        self.context = ContextName(context)
        self.key = WriterKey(seed)
        self.last: Record | None = None
        self.events: list[EventId] = []
        self._clock = HybridClock()
        self._structs = 0
        self._ahead_ms = 0

    @property
    def client(self) -> ClientId:
        return client_id(self.key.incarnation, self.context)

    def say(self, *texts: str, deps: Sequence[RecordHash] = ()) -> Record:
        """The next record, with a message of the user for each text."""
        ids = [event_id(self._tick(), self.key.incarnation) for _ in texts]
        self.events += ids
        return self._events(list(zip(ids, map(_body, texts), strict=True)), deps)

    def say_under(self, id_: EventId, text: str) -> Record:
        """The next record, with a message under an id that may be another's."""
        return self._events([(id_, _body(text))], ())

    def around(
        self, payload: bytes, *, deps: Sequence[RecordHash] = (), kind: Kind = Kind.NATIVE
    ) -> Record:
        """The next record, whatever its payload is."""
        last = self.last
        envelope = Envelope(
            self.context,
            self.key.incarnation,
            1 if last is None else last.envelope.seq + 1,
            None if last is None else last.hash,
            tuple(sorted(deps)),
            self._tick(),
            kind,
            payload_digest(payload),
        )
        self.last = seal(envelope, payload)
        return self.last

    def observe(self, hlc: Hlc) -> None:
        """What is written next is stamped behind this."""
        self._clock.observe(hlc)

    def skip_ms(self, ahead_ms: int) -> None:
        """The clock is so far ahead from now on."""
        self._ahead_ms = ahead_ms

    def _tick(self) -> Hlc:
        return self._clock.tick(now_ms() + self._ahead_ms)

    def _events(self, entries: list[tuple[EventId, bytes]], deps: Sequence[RecordHash]) -> Record:
        payload = encode_event_append(self.client, self._structs, entries).payload
        self._structs += len(entries)
        return self.around(payload, deps=deps)


def _body(text: str) -> bytes:
    return encode_event(Event("user", Message(Role.USER, (Text(text),))))


def as_message(serial: int, records: Sequence[Record], key: WriterKey) -> Records:
    """A Records message of one chain."""
    pairs = tuple((record.envelope_bytes, record.payload) for record in records)
    return Records(serial, None, pairs, (key.sign(records[-1].hash),))


def hello(interest: Interest, *, store: bytes | None = None, window: Window = WINDOW) -> Hello:
    store = os.urandom(16) if store is None else store
    return Hello(FORMAT_VERSION, store, os.urandom(8), None, now_ms(), interest, window)


async def dial(url: str, token: str | None = None) -> ClientConnection:
    """A bare connection to the links' address of a relay."""
    return await connect(
        url + SYNC_PATH,
        additional_headers={} if token is None else {"Authorization": f"Bearer {token}"},
        compression=None,
        max_size=FRAME_BYTES_MAX,
        ping_interval=None,
        close_timeout=1,
        open_timeout=30,
    )


class RawClient:
    """Writes in `context` and follows it. `connect` may be called again when `gone` is set; what
    was not acknowledged goes out again then."""

    def __init__(
        self,
        url: str,
        context: str,
        *,
        token: str | None = None,
        seed: bytes | None = None,
        on_record: Callable[[RecordHash], None] | None = None,
    ) -> None:
        self.pen = Pen(context, os.urandom(32) if seed is None else seed)
        self.live = asyncio.Event()
        self.gone = asyncio.Event()
        self.reading = asyncio.Event()
        """While it is not set, nothing is taken from the connection."""
        self.reading.set()
        self.bye: Bye | None = None
        self.acknowledged: set[RecordHash] = set()
        self.held: set[RecordHash] = set()
        """What came from others."""
        self._url, self._token = url, token
        self._store = os.urandom(16)
        self._ticket: bytes | None = None
        self._on_record = on_record
        self._frontier: Frontier = ()
        """Of what is durable at the relay, as far as we know."""
        self._reassembly = Reassembly()
        self._serial = 0
        self._open: dict[int, tuple[Record, ...]] = {}
        self._unacked: dict[RecordHash, Record] = {}
        self._waiting: dict[RecordHash, asyncio.Future[None]] = {}
        self._socket: ClientConnection | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def connect(self) -> None:
        """Dial and say hello; OSError or InvalidStatus if there is nobody."""
        self._socket = await dial(self._url, self._token)
        self.gone.clear()
        self.live.clear()
        self._reassembly = Reassembly()
        self._serial = 0
        self._open = {}
        context = self.pen.context
        await self._send(hello(Interest.of(contexts=[context]), store=self._store))
        await self._send(Resume(None))
        mine = [(context, fingerprint(self._frontier))] if self._frontier else []
        await self._send(Contexts(tuple(mine), last=True))
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._beat())]

    async def aclose(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._socket is not None:
            await self._socket.close()

    async def say(self, *texts: str, timeout_s: float = 60.0) -> Record:
        """Write one record and wait for its acknowledgement, over as many connections as the
        caller makes."""
        record = self.make(*texts)
        await self.offer(record, timeout_s=timeout_s)
        return record

    def make(self, *texts: str) -> Record:
        """The next record, behind all that we hold; for `offer`."""
        last = self.pen.last
        deps = [hash_ for hash_ in self._frontier if last is None or hash_ != last.hash]
        return self.pen.say(*texts, deps=deps[:DEPS_MAX])

    async def offer(self, record: Record, *, timeout_s: float = 60.0) -> None:
        self._unacked[record.hash] = record
        acked = asyncio.get_running_loop().create_future()
        self._waiting[record.hash] = acked
        if self.live.is_set():
            with suppress(ConnectionClosed):
                await self._send_records([record])
        async with asyncio.timeout(timeout_s):
            await acked

    # ---- inside -------------------------------------------------------------------------------

    async def _send(self, message: Frame) -> None:
        assert self._socket is not None
        for frame in cut(encode(message), id_=self._serial):
            await self._socket.send(frame)

    async def _send_records(self, records: Sequence[Record]) -> None:
        self._serial += 1
        self._open[self._serial] = tuple(records)
        await self._send(as_message(self._serial, records, self.pen.key))

    async def _beat(self) -> None:
        with suppress(ConnectionClosed):
            while True:
                await asyncio.sleep(HEARTBEAT_S)
                await self._send(Heartbeat())

    async def _read(self) -> None:
        assert self._socket is not None
        with suppress(ConnectionClosed):
            while True:
                await self.reading.wait()
                frame = await self._socket.recv()
                assert isinstance(frame, bytes)
                message = decode_frame(frame)
                if isinstance(message, Fragment):
                    whole = self._reassembly.add(message)
                    message = None if whole is None else decode_message(whole)
                if message is not None:
                    await self._take(message)
        self.live.clear()
        self.gone.set()

    async def _take(self, message: Frame) -> None:
        match message:
            case Contexts():
                await self._compare(message)
            case Issue(fresh):
                if fresh is not None:
                    self._ticket = fresh
                    await self._send(Kept())
                self.live.set()
                if self._unacked:
                    await self._send_records(list(self._unacked.values()))
            case Records():
                self._receive(message)
                await self._send(Ack(message.serial, message.serial, ()))
            case Ack():
                self._acked(message)
            case Bye():
                self.bye = message
            case _:
                pass

    async def _compare(self, theirs: Contexts) -> None:
        """Announce what we hold where it differs; then the link is live for us with the answer to
        our ticket, because what we lack comes by itself."""
        if not theirs.last:
            return
        known = dict(theirs.entries)
        context = self.pen.context
        if self._frontier and known.get(context) != fingerprint(self._frontier):
            await self._send(FrontierFrame(context, self._frontier, ()))
        await self._send(Ticket(self._ticket))

    def _receive(self, message: Records) -> None:
        for envelope, _ in message.records:
            hash_ = RecordHash(record_digest(envelope))
            if hash_ in self.held:
                continue
            self.held.add(hash_)
            self._frontier = advance(self._frontier, decode_envelope(envelope).parents, hash_)
            if self._on_record is not None:
                self._on_record(hash_)

    def _acked(self, message: Ack) -> None:
        for serial in range(message.first, message.last + 1):
            for record in self._open.pop(serial):
                self._unacked.pop(record.hash, None)
                if record.hash not in self.acknowledged:
                    self.acknowledged.add(record.hash)
                    parents = record.envelope.parents
                    self._frontier = advance(self._frontier, parents, record.hash)
                waiting = self._waiting.pop(record.hash, None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(None)
