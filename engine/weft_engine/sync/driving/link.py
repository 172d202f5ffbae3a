"""A link: drives one session over a transport and a store, with tasks that all end with it.

Knows asyncio and nothing of sockets. One lane each for questions to the store, records for the gate
and, where the transport is not direct, for what comes and what goes; the session between them
decides. A lane runs while there is something to do, so an idle link has none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from weft_engine.errors import MachineError, PeerError, StoreClosed
from weft_engine.limits import (
    ACK_GATHER_S,
    CLOSING_S,
    LISTED_CONTEXTS_MAX,
    OUTBOX_BYTES,
    REACH_GATHER_S,
    TICKET_BYTES,
)
from weft_engine.names import Position
from weft_engine.storage import quarantine
from weft_engine.storage.reading import last_position
from weft_engine.sync.driving.answering import Answering
from weft_engine.sync.driving.carrying import Carrying, Lane
from weft_engine.sync.driving.distance import Distance
from weft_engine.sync.driving.evidence import Evidence
from weft_engine.sync.driving.link_store import LinkStore as LinkStore
from weft_engine.sync.driving.taking import Permit, Taking
from weft_engine.sync.driving.traffic import Traffic
from weft_engine.sync.driving.transport import CLOSED
from weft_engine.sync.driving.transport import Transport as Transport
from weft_engine.sync.driving.turns import Turns
from weft_engine.sync.driving.waiting import Waiting
from weft_engine.sync.end.ending import End, State
from weft_engine.sync.end.live import Body
from weft_engine.sync.end.questions import Question
from weft_engine.sync.end.reaching import Reaching
from weft_engine.sync.end.session import Session
from weft_engine.sync.end.showing import Showing
from weft_engine.sync.faults import LinkLost
from weft_engine.sync.framing.messages import ByeCode, Hello, Window
from weft_engine.sync.interest import EVERYTHING, Interest

_FRAME_FAULTS = frozenset({ByeCode.MALFORMED, ByeCode.FORMAT, ByeCode.LIMIT})


class Link:
    """One connection from its hello to its end: `run` it once; the rest tells how far it is.

    `interest` is what this end asks for, or permits. `quota` names who offers records, for the
    waiting room: a relay gives what it knows of the peer's token, otherwise it is the peer's store.
    `permit` is shown what a peer offers, before the gate; it may raise LinkRefused, and what it
    gives has to be asked first. `pace` is told of how many records a message has, before anything
    is done with them, and says for how many seconds they wait: the peer's window fills up.
    Links of one relay share `turns`. `serves_client`: the peer is no relay, and shows presence for
    no more clients than one may. `why_wrong` says of the peer's hello why it is refused, if it is.
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
        permit: Permit | None = None,
        pace: Callable[[int], float] | None = None,
        contexts_max: int = LISTED_CONTEXTS_MAX,
        outbox_bytes: int = OUTBOX_BYTES,
        serves_client: bool = False,
        turns: Turns | None = None,
        why_wrong: Callable[[Hello], PeerError | None] | None = None,
    ) -> None:
        self._transport = transport
        self._store = store
        self._quota = quota
        self.session = Session(
            store.identity,
            interest=interest,
            now_ms=store.now_ms(),
            region=region,
            window=window,
            ticket=None if region is None else store.random(TICKET_BYTES),
            showing=Showing(store.presence, self.changed, is_client=serves_client),
            reaching=Reaching(store.reach, due=self._changed_soon, soon=_soon),
            told=store.hub.head,
            recent=store.hub.forwarding.recent,
            claims=store.hub.claims,
            doubts=store.hub.doubts,
            wake=self._changed_soon,
            contexts_max=contexts_max,
            outbox_bytes=outbox_bytes,
            keeps_cursors=store.guard is None or store.guard.keeps_cursors,
            why_wrong=why_wrong,
        )
        # A relay's word is waited for by whoever wrote; others' only make room in the window.
        self.session.following.gathers_acks = region is None
        self._acking: asyncio.TimerHandle | None = None
        self._will_look = False
        """There will be a look at what there is to do, behind what happens now."""
        self.traffic = Traffic()
        self._carrying = Carrying(
            transport,
            self.session,
            self.traffic,
            store.hub.burst,
            begin=self.begin,
            failed=self.failed,
        )
        self.push: Callable[[Body], bool] = self._carrying.push
        """As the hub asks for it (`sync.driving.hub.Ear`), at the cost of one call."""
        self._waiting = Waiting(
            lambda: self.session.end, lambda is_so: store.hub.wait(self, is_waiting=is_so)
        )
        self._distance = Distance(self.session, store)
        self._interest = self.session.interest
        """What the hub tells us of."""
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lanes: dict[asyncio.Task[None], None] = {}  # in order, so that runs repeat
        self._is_comparing = True
        self._began_s = asyncio.get_running_loop().time()
        self._is_confirming = False
        """Whether the lane runs that does that."""
        self._closing: asyncio.TimerHandle | None = None
        self._fault: Exception | None = None
        self._answering = Answering(self, store, self._carrying)
        self._taking = Taking(self, store, permit=permit, pace=pace, turns=turns)
        self.evidence = Evidence()

    @property
    def state(self) -> State:
        return self.session.state

    @property
    def is_over(self) -> bool:
        """Nothing comes or goes any more."""
        return self._over.done()

    @property
    def quota(self) -> bytes | None:
        """Who offers records here; None before that is known."""
        peer = self.session.peer
        return self._quota or (None if peer is None else peer.store)

    async def run(self) -> End:
        """Speak until either end has enough. Returns how it ended; a fault of this machine (the
        disk, say) is told to the peer as such and raised."""
        hub, guard = self._store.hub, self._store.guard
        hub.join(self)
        if guard is not None:
            guard.joined(self)
        stop_confirming = self._store.journal.listen_confirmed(self._confirmed)
        self._carrying.start(self)
        self.changed()
        try:
            await self._over
        finally:
            fault = await self._stop()
            hub.leave(self)
            if guard is not None:
                guard.left(self)
            stop_confirming()
            if fault is not None:
                await self._say_fault(fault)
            self.session.lost("the link was cancelled")
            self.changed()
            end = self.session.end
            assert end is not None, "a link that stopped has an end"
            await self._transport.close(end.code, end.reason)
            await self._answering.keep_cursor()
            await self._keep_evidence()
        if fault is not None:
            raise fault
        return end

    def abort(self, reason: str) -> None:
        """End now, without a goodbye."""
        self.session.lost(reason)
        self.changed()

    def close(
        self, reason: str = "closed", *, code: ByeCode = ByeCode.CLOSED, hint: str = ""
    ) -> None:
        """Say goodbye; `run` returns soon after."""
        self.session.close(code, reason, hint)
        self.changed()

    def ask(self, interest: Interest) -> None:
        """From now on ask for `interest` instead; what is covered by both goes on undisturbed.
        CallerError at an end with a region."""
        self.session.ask(interest)
        self.changed()

    async def synced(self, *, timeout: float | None = None) -> None:
        """Wait until the peer holds, durably, everything within the interest that is in our
        journal now. TimeoutError, LinkLost or LinkRefused if that does not come."""
        position = await self._store.journal.read(last_position)
        await self.until(lambda: self.holds(position), timeout=timeout)

    async def until_synced(self, *, timeout: float | None = None) -> None:
        """As `synced`, and everything that the peer has announced and sent is durable here."""
        position = await self._store.journal.read(last_position)
        await self.until(
            lambda: self.holds(position) and self.session.progress.has_received_all, timeout=timeout
        )

    def tell_when_sent(self, position: Position) -> None:
        """The peer is to know when it has everything of our journal up to there: then it can say
        who else has."""
        self.session.tell_when_sent(position)
        self.changed()

    def holds(self, position: Position) -> bool:
        """Whether the peer holds everything up to this position of our journal."""
        durable = self.session.progress.durable_upto()
        return durable is not None and durable >= position

    async def until(self, holds: Callable[[], bool], *, timeout: float | None = None) -> None:
        """Wait until something is true of the session."""
        await self._waiting.until(holds, timeout=timeout)

    def when(self, holds: Callable[[], bool], then: Callable[[], None]) -> None:
        """Call `then` once something is true of the session that a frame or an answer makes so;
        never, if the link ends before."""
        self._waiting.when(holds, then)

    # ---- what happens -------------------------------------------------------------------------

    def frame_received(self, frame: bytes, /) -> None:
        """A frame of the peer (`sync.driving.transport.Hearer`)."""
        session = self.session
        self.traffic.bytes_in += len(frame)
        had_ended = session.end is not None
        is_first = session.peer is None
        calls_for_more = session.receive(frame)
        if not calls_for_more and not self._waiting.has_any:
            # A hundred readers of an update acknowledge it, and it makes room, nothing else. What
            # follows from it in the long run the next tick sees.
            return
        if is_first and session.peer is not None:
            session.following.gathers_acks |= session.is_between_regions
            self._distance.greeted(session.peer)
            if self._store.guard is not None:
                self._store.guard.greeted(self)
        if not had_ended:
            self._note_end(frame)
        self._follow()
        self._distance.settle()
        if session.confirming.has_received and not self._is_confirming:
            self._is_confirming = True
            self.begin(self._confirm())
        self.changed()

    def _follow(self) -> None:
        """Tell the hub what the link is about, if that has changed."""
        if self.session.interest is not self._interest:
            self._interest = self.session.interest
            self._store.hub.follow(self)

    def next_question(self) -> Question | None:
        """What to ask the store, as `Session.next_question`."""
        self._carrying.unsettle()
        question = self.session.next_question()
        self._follow()  # A round may have begun.
        return question

    def transport_lost(self, why: str = CLOSED, /) -> None:
        self.session.lost(why)
        self.changed()

    def transport_drained(self) -> None:
        if not self._answering.go_on():
            self.changed()

    def tick(self, now_ms: int, /) -> None:
        session = self.session
        session.tick(now_ms)
        self._distance.tick(now_ms)
        if session.is_between_regions and self._store.hub.tree.is_behind:
            self.begin(self._store.hub.tree.bring_up(self._store.journal.read))
        self.changed()

    def changed(self) -> None:
        """See what there is to do, and who waited for this."""
        session = self.session
        self._carrying.flush()
        if not self.is_over:
            self._answering.changed()
            self._taking.changed()
            if session.following.owes_acks:
                self._acknowledge_soon()
            if session.incoming.awaits_names:
                self._store.hub.attend(self)
        if session.between.neighbour is not None and not self.is_over:
            self._store.hub.forwarding.look(self)
        if self._is_comparing and session.state is State.LIVE:
            self._is_comparing = False
            session.cost.duration_s = asyncio.get_running_loop().time() - self._began_s
        self._waiting.changed()
        if session.end is not None:
            self._wind_up(session.end)

    # ---- lanes: each runs while there is something to do --------------------------------------

    def begin(self, lane: Lane) -> None:
        """Run a lane, which ends with the link."""
        task = asyncio.get_running_loop().create_task(lane, name="weft-link")
        self._lanes[task] = None
        task.add_done_callback(self._lane_ended)

    def _lane_ended(self, task: asyncio.Task[None]) -> None:
        self._lanes.pop(task, None)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.failed(error)

    def failed(self, error: BaseException) -> None:
        """A lane did: a fault of this machine, which ends the link."""
        if isinstance(error, Exception):
            self._fault = self._fault or error
            self._finish()

    async def _confirm(self) -> None:
        # Nothing is heard meanwhile: a peer may tell much of erasures.
        self._carrying.hold_reading()
        while confirmed := self.session.confirming.take_received():
            await self._store.journal.confirm(confirmed)
        self._is_confirming = False
        self._carrying.go_on_reading()

    # ---- inside -------------------------------------------------------------------------------

    def _wind_up(self, end: End) -> None:
        """The session has ended: at once if the peer said so, else when our goodbye has left."""
        if end.by_peer or not self._carrying.has_more:
            self._finish()
        elif self._closing is None:
            self._closing = asyncio.get_running_loop().call_later(CLOSING_S, self._finish)

    def _acknowledge_soon(self) -> None:
        if self._acking is None and not self.is_over:
            loop = asyncio.get_running_loop()
            self._acking = loop.call_later(ACK_GATHER_S, self._acknowledge)

    def _acknowledge(self) -> None:
        self._acking = None
        self.session.following.acknowledge()
        self.changed()

    def _finish(self) -> None:
        self._carrying.stop()
        if not self.is_over:
            self._over.set_result(None)

    async def _stop(self) -> Exception | None:
        """End the lanes; the first fault of one of them."""
        for timer in (self._closing, self._acking):
            if timer is not None:
                timer.cancel()
        self._finish()
        lanes = tuple(self._lanes)
        for lane in lanes:
            lane.cancel()
        results = await asyncio.gather(*lanes, return_exceptions=True)
        await self._taking.finish()
        found = (self._fault, *results)
        return next((error for error in found if isinstance(error, Exception)), None)

    def _note_end(self, frame: bytes) -> None:
        """Keep the frame that ended the link by what is wrong with it."""
        end = self.session.end
        if end is not None and not end.by_peer and end.code in _FRAME_FAULTS:
            self.evidence.frame(frame, end.reason, now_ms=self._store.now_ms())

    async def _keep_evidence(self) -> None:
        """Write down what was refused. The link is over by now, and whether a full disk takes this
        changes nothing of how it ended."""
        if not self.evidence.entries:
            return
        peer = self.session.peer
        sender = self._quota or (b"" if peer is None else peer.store)
        entries = [replace(entry, sender=sender) for entry in self.evidence.entries]
        with suppress(MachineError, StoreClosed):
            await self._store.journal.write(lambda connection: quarantine.keep(connection, entries))

    def _confirmed(self) -> None:
        self.session.confirming.told()
        self.changed()

    def _changed_soon(self) -> None:
        """Another link, or a commit, has made way, or something is to be told of other regions:
        look what there is to do when it is done, once for all that."""
        if not self._will_look:
            self._will_look = True
            asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        self._will_look = False
        self.changed()

    async def _say_fault(self, fault: Exception) -> None:
        self.session.close(ByeCode.FAULT, f"the other side failed: {type(fault).__name__}")
        try:
            await self._carrying.send_rest()
        except (LinkLost, OSError, TimeoutError) as error:
            fault.add_note(f"and the peer could not be told: {error}")


def _soon(look: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_later(REACH_GATHER_S, look)
