"""A link: drives one session over a transport and a store, with tasks that all end with it.

Knows asyncio and nothing of sockets: a transport is three methods. One lane each for what comes,
what goes, questions to the store, records for the gate, and time; the session between them decides.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Protocol, TypeVar

from weft_engine.errors import LinkRefused, MachineError, PeerError, StoreClosed
from weft_engine.limits import CLOSING_S, RECORDS_BYTES, TICKET_BYTES
from weft_engine.names import Position, RecordHash
from weft_engine.records.envelope import Record
from weft_engine.records.erasure import Eraser
from weft_engine.records.gate import Outcome
from weft_engine.records.identity import SignatureItem
from weft_engine.storage import quarantine
from weft_engine.storage.journal import Identity, Listener
from weft_engine.storage.ledger import Stored
from weft_engine.storage.reading import last_position
from weft_engine.sync.evidence import Evidence
from weft_engine.sync.faults import LinkLost
from weft_engine.sync.incoming import Admission
from weft_engine.sync.inspection import Inspected, inspect
from weft_engine.sync.interest import EVERYTHING, Interest
from weft_engine.sync.messages import ByeCode, Window
from weft_engine.sync.presence import Presence
from weft_engine.sync.questions import (
    Answer,
    Question,
    ReadTicket,
    RecordsRead,
    RenewIdentity,
    TicketRead,
    Writing,
    answer,
)
from weft_engine.sync.session import End, Session, State
from weft_engine.sync.showing import Showing

T = TypeVar("T")

_TICK_S = 1.0
_INLINE_RECORDS_MAX = 8
_INLINE_BYTES_MAX = RECORDS_BYTES // 10
"""Checked on the event loop, in about a millisecond: a thread costs more than that is worth."""


_FRAME_FAULTS = frozenset({ByeCode.MALFORMED, ByeCode.FORMAT, ByeCode.LIMIT})


class Transport(Protocol):
    """A connection that carries whole frames, in order. `LinkLost` or an OSError says that it has
    failed; the link ends and may be made again."""

    async def send(self, frame: bytes, /) -> None:
        """Returns when there is room for more."""

    async def receive(self) -> bytes | None:
        """The next frame; None at the end."""

    async def close(self, code: str, reason: str, /) -> None:
        """Let go of the connection; harmless when repeated."""


class Journal(Protocol):
    """What a link needs of a journal; `storage.journal.SqliteJournal` is one."""

    async def read(self, question: Callable[[sqlite3.Connection], T], /) -> T: ...

    async def write(self, job: Callable[[sqlite3.Connection], T], /) -> T: ...

    async def admit(
        self,
        records: Sequence[Record],
        items: Sequence[SignatureItem],
        *,
        session: bytes,
        now_ms: int,
        proofs: Mapping[RecordHash, Sequence[Eraser]] | None = None,
    ) -> Outcome: ...

    async def confirm(
        self, confirmations: Sequence[tuple[RecordHash, Sequence[bytes]]], /
    ) -> None: ...

    def listen(self, listener: Listener, /) -> Callable[[], None]: ...

    def listen_confirmed(self, listener: Callable[[], None], /) -> Callable[[], None]: ...


class LinkGuard(Protocol):
    """What the replica at this end makes of what a link tells about itself
    (`replica.guard.Guard`)."""

    def joined(self, link: Link, /) -> None: ...

    def left(self, link: Link, /) -> None: ...

    def greeted(self, link: Link, /) -> None: ...

    def may_show(self, link: Link, peer: bytes, /) -> bool: ...

    async def superseded(self, link: Link, /) -> None: ...


class LinkStore(Protocol):
    """The replica at this end of a link."""

    @property
    def identity(self) -> Identity: ...

    @property
    def journal(self) -> Journal: ...

    @property
    def presence(self) -> Presence:
        """Who is in its contexts now."""

    @property
    def guard(self) -> LinkGuard | None:
        """None: this end has one identity for ever."""

    def now_ms(self) -> int: ...

    def random(self, size: int, /) -> bytes: ...

    async def signature_items(self, stored: Sequence[Stored], /) -> list[SignatureItem]:
        """Signatures whose tips are among these records: those that are kept, and a fresh one
        over each record of our own that no other of them continues. (Not one for each chain:
        after an equivocation a chain of our own has two ends, and what is not covered waits.)"""


class Link:
    """One connection from its hello to its end: `run` it once; the rest tells how far it is.

    `interest` is what this end asks for, or permits. `quota` names who offers records, for the
    waiting room: a relay gives what it knows of the peer's token, otherwise it is the peer's store.
    `permit` is shown what a peer offers, before the gate; it may raise LinkRefused.
    `serves_client`: the peer is no relay, and shows presence for no more clients than one may.
    """

    def __init__(
        self,
        transport: Transport,
        store: LinkStore,
        *,
        interest: Interest = EVERYTHING,
        region: str | None = None,
        window: Window | None = None,
        quota: bytes | None = None,
        permit: Callable[[Inspected], None] | None = None,
        serves_client: bool = False,
    ) -> None:
        self._transport = transport
        self._store = store
        self._quota = quota
        self._permit = permit
        self._wakes = {lane: asyncio.Event() for lane in ("send", "ask", "admit")}
        self.session = Session(
            store.identity,
            interest=interest,
            now_ms=store.now_ms(),
            region=region,
            window=window,
            ticket=None if region is None else store.random(TICKET_BYTES),
            showing=Showing(store.presence, self._presence_due, is_client=serves_client),
        )
        self._waiters: dict[asyncio.Event, None] = {}  # in order, so that runs repeat
        self._admitting: set[asyncio.Task[Outcome]] = set()
        self._evidence = Evidence()

    @property
    def state(self) -> State:
        return self.session.state

    @property
    def quota(self) -> bytes | None:
        """Who offers records here; None before that is known."""
        peer = self.session.peer
        return self._quota or (None if peer is None else peer.store)

    async def run(self) -> End:
        """Speak until either end has enough. Returns how it ended; a fault of this machine (the
        disk, say) is told to the peer as such and raised."""
        stop_listening = self._store.journal.listen(self._committed)
        if self._store.guard is not None:
            self._store.guard.joined(self)
        stop_confirming = self._store.journal.listen_confirmed(self._confirmed)
        lanes = [
            asyncio.create_task(lane(), name=f"weft-link-{lane.__name__}")
            for lane in (self._receive, self._send, self._ask, self._admit, self._tick)
        ]
        try:
            await asyncio.wait(lanes, return_when=asyncio.FIRST_COMPLETED)
        finally:
            fault = await self._stop(lanes)
            stop_listening()
            if self._store.guard is not None:
                self._store.guard.left(self)
            stop_confirming()
            if fault is not None:
                await self._say_fault(fault)
            self.session.lost("the link was cancelled")
            self._changed()
            end = self.session.end
            assert end is not None, "a link that stopped has an end"
            await self._transport.close(end.code, end.reason)
            await self._keep_evidence()
        if fault is not None:
            raise fault
        return end

    def close(
        self, reason: str = "closed", *, code: ByeCode = ByeCode.CLOSED, hint: str = ""
    ) -> None:
        """Say goodbye; `run` returns soon after."""
        self.session.close(code, reason, hint)
        self._changed()

    async def synced(self, *, timeout: float | None = None) -> None:
        """Wait until the peer holds, durably, everything within the interest that is in our
        journal now. TimeoutError, LinkLost or LinkRefused if that does not come."""
        position = await self._store.journal.read(last_position)
        await self.until(lambda: self.holds(position), timeout=timeout)

    async def until_synced(self, *, timeout: float | None = None) -> None:
        """As `synced`, and everything that the peer has announced and sent is durable here."""
        position = await self._store.journal.read(last_position)
        await self.until(
            lambda: self.holds(position) and self.session.has_received_all, timeout=timeout
        )

    def holds(self, position: Position) -> bool:
        """Whether the peer holds everything up to this position of our journal."""
        durable = self.session.durable_upto()
        return durable is not None and durable >= position

    async def until(self, holds: Callable[[], bool], *, timeout: float | None = None) -> None:
        """Wait until something is true of the session."""
        changed = asyncio.Event()
        self._waiters[changed] = None
        try:
            async with asyncio.timeout(timeout):
                while not holds():
                    if self.session.end is not None:
                        raise self.session.end.error
                    changed.clear()
                    await changed.wait()
        finally:
            del self._waiters[changed]

    # ---- lanes --------------------------------------------------------------------------------

    async def _receive(self) -> None:
        while self.session.end is None:
            try:
                frame = await self._transport.receive()
            except (LinkLost, OSError) as error:
                self.session.lost(f"the connection failed: {error}")
                break
            if frame is None:
                self.session.lost("the connection was closed")
                break
            had_ended = self.session.end is not None
            is_first = self.session.peer is None
            self.session.receive(frame)
            if is_first and self.session.peer is not None and self._store.guard is not None:
                self._store.guard.greeted(self)
            if not had_ended:
                self._note_end(frame)
            self._changed()
            confirmed = self.session.take_confirmed()
            if confirmed:
                await self._store.journal.confirm(confirmed)
        self._changed()
        # The goodbye is sent by another lane, which then ends the link.
        if self.session.end is not None and self.session.end.by_peer:
            return
        await asyncio.Event().wait()

    async def _send(self) -> None:
        wake = self._wakes["send"]
        while True:
            wake.clear()
            frames = self.session.frames_to_send()
            if frames:
                try:
                    for frame in frames:
                        await self._transport.send(frame)
                except (LinkLost, OSError) as error:
                    self.session.lost(f"the connection failed: {error}")
                    return
                # What has left makes room for the next question.
                self._changed()
            elif self.session.end is not None:
                return
            else:
                await wake.wait()

    async def _ask(self) -> None:
        wake = self._wakes["ask"]
        while True:
            wake.clear()
            question = self.session.next_question()
            if question is None:
                await wake.wait()
                continue
            self.session.supply(await self._answer(question))
            self._changed()

    async def _answer(self, question: Question) -> Answer:
        guard = self._store.guard
        if isinstance(question, Writing):
            return await self._store.journal.write(lambda connection: answer(connection, question))
        if guard is not None and isinstance(question, RenewIdentity):
            await guard.superseded(self)
        if guard is not None and isinstance(question, ReadTicket):
            is_shown = guard.may_show(self, question.peer)
            if not is_shown:
                return TicketRead(None, is_shown)
        found = await self._store.journal.read(lambda connection: answer(connection, question))
        if not isinstance(found, RecordsRead):
            return found
        items = await self._store.signature_items(found.all)
        return replace(found, items=tuple(items))

    async def _admit(self) -> None:
        """Checks the next message while the gate writes the one before."""
        wake = self._wakes["admit"]
        writing: asyncio.Task[None] | None = None
        try:
            while True:
                wake.clear()
                admission = self.session.next_admission()
                if admission is None:
                    if writing is not None:
                        await writing
                        writing = None
                    else:
                        await wake.wait()
                    continue
                try:
                    inspected = await self._inspect(admission)
                    if self._permit is not None:
                        self._permit(inspected)
                except LinkRefused as error:
                    self.close(error.message, code=ByeCode.DENIED, hint=error.hint)
                    continue
                except PeerError as error:
                    self._evidence.message(error, now_ms=self._store.now_ms())
                    self.session.refused(error)
                    self._changed()
                    continue
                if writing is not None:
                    await writing
                    writing = None
                if self.session.end is not None:
                    continue
                self.session.offer(admission.serial, inspected.records)
                writing = asyncio.create_task(self._write(admission.serial, inspected))
        finally:
            if writing is not None:
                writing.cancel()
                await asyncio.gather(writing, return_exceptions=True)

    async def _inspect(self, admission: Admission) -> Inspected:
        size = sum(len(envelope) + len(payload) for envelope, payload in admission.records)
        size += sum(len(payload) for _, payload, _ in admission.erasers)
        if len(admission.records) <= _INLINE_RECORDS_MAX and size <= _INLINE_BYTES_MAX:
            return inspect(admission, self.session.interest)
        return await asyncio.to_thread(inspect, admission, self.session.interest)

    async def _write(self, serial: int, inspected: Inspected) -> None:
        peer = self.session.peer
        assert peer is not None, "records are taken after the hello only"
        task = asyncio.create_task(
            self._store.journal.admit(
                inspected.records,
                inspected.items,
                session=self.quota or peer.store,
                now_ms=self._store.now_ms(),
                proofs=inspected.proofs,
            )
        )
        self._admitting.add(task)
        task.add_done_callback(self._admitting.discard)
        outcome = await asyncio.shield(task)
        offered = {record.hash: record for record in inspected.records}
        for hash_, error in outcome.refused:
            now_ms = self._store.now_ms()
            self._evidence.record(hash_, offered.get(hash_), error, now_ms=now_ms)
        self.session.admitted(serial, outcome)
        self._changed()

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        while self.session.end is None:
            self.session.tick(int(loop.time() * 1000))
            self._changed()
            await asyncio.sleep(_TICK_S)
        await asyncio.sleep(CLOSING_S)

    # ---- inside -------------------------------------------------------------------------------

    async def _stop(self, lanes: Sequence[asyncio.Task[None]]) -> Exception | None:
        """End the lanes; the first fault of one of them."""
        for lane in lanes:
            lane.cancel()
        results = await asyncio.gather(*lanes, return_exceptions=True)
        # What the gate has begun to write is told to everybody who listens, so it is not cut.
        written = await asyncio.gather(*self._admitting, return_exceptions=True)
        return next((found for found in (*results, *written) if isinstance(found, Exception)), None)

    def _note_end(self, frame: bytes) -> None:
        """Keep the frame that ended the link by what is wrong with it."""
        end = self.session.end
        if end is not None and not end.by_peer and end.code in _FRAME_FAULTS:
            self._evidence.frame(frame, end.reason, now_ms=self._store.now_ms())

    async def _keep_evidence(self) -> None:
        """Write down what was refused. The link is over by now, and whether a full disk takes this
        changes nothing of how it ended."""
        if not self._evidence.entries:
            return
        peer = self.session.peer
        sender = self._quota or (b"" if peer is None else peer.store)
        entries = [replace(entry, sender=sender) for entry in self._evidence.entries]
        with suppress(MachineError, StoreClosed):
            await self._store.journal.write(lambda connection: quarantine.keep(connection, entries))

    def _committed(self, stored: Sequence[Stored], _: bytes) -> None:
        self.session.committed(stored)
        self._changed()

    def _confirmed(self) -> None:
        self.session.confirmed()
        self._changed()

    def _presence_due(self) -> None:
        self._wakes["send"].set()

    def _changed(self) -> None:
        for wake in self._wakes.values():
            wake.set()
        for waiter in self._waiters:
            waiter.set()

    async def _say_fault(self, fault: Exception) -> None:
        self.session.close(ByeCode.FAULT, f"this end failed: {type(fault).__name__}")
        try:
            async with asyncio.timeout(CLOSING_S):
                for frame in self.session.frames_to_send():
                    await self._transport.send(frame)
        except (LinkLost, OSError, TimeoutError) as error:
            fault.add_note(f"and the peer could not be told: {error}")


async def run_link(
    transport: Transport,
    store: LinkStore,
    *,
    interest: Interest = EVERYTHING,
    region: str | None = None,
    quota: bytes | None = None,
) -> End:
    """Speak over `transport` until the link ends; returns how."""
    return await Link(transport, store, interest=interest, region=region, quota=quota).run()
