"""The session: one end of a link, without a socket, a store or a clock of its own.

Both ends are alike. Each one

 1. says hello first: format version, store, interest, window. What the link carries is the
    intersection of both interests. Nothing else may come before the peer's hello.
 2. begins where an earlier link ended, if a cursor of that is known to both (`sync.end.resuming`);
    otherwise lists its contexts within that intersection with their fingerprints, to the last;
    between two regions trees over them are compared instead (`end.regions.reconciling`).
 3. announces the frontier of each context that only it has or whose fingerprints differ.
 4. sends, of each such context, the records that the peer lacks by what it announced, then whatever
    comes after the position where that was computed and did not come from the peer. A context that
    did not differ begins with that second half. So there is one mechanism for catching up and for
    live push, and a context that appears later is a context of which everything is new.
 5. acknowledges a Records message when each of its records is durable here; parked is not durable.
    What parked records wait for is asked for by hash, and what the peer asks for so is sent.
 6. keeps at most a window of unacknowledged Records messages under way, counted in messages and in
    bytes; while it is full nothing more is read. An acknowledgement never waits for something that
    is still to be sent (`weft_engine.sync.end.outgoing` has the invariant), so no window deadlocks.
 7. lets itself be heard every 10 s, and ends the link after 25 s without a frame.
 8. begins again with 2 for what the link is about from then on and was not before, when the end
    without a region asks for something else (`sync.end.rounds`). All other contexts stay live.
 9. ends with a bye, which says why. Whatever is against these rules ends the link; nothing of the
    frame that broke them is stored.

Whoever drives it moves data between four sides: frames (`receive`, `frames_to_send`), questions to
the store (`next_question`, `supply`; one at a time), records for the gate (`next_admission`,
`offer`, `admitted`, `refused`; in order) and the journal's commits (`committed`; from before the
hello of the peer is received).

Must never know: sockets, SQLite, tasks, what time it is.
"""

from __future__ import annotations

from collections.abc import Callable, Container

from weft_engine.errors import MalformedFrame, PeerError, WeftError
from weft_engine.limits import (
    FORMAT_VERSION,
    LISTED_CONTEXTS_MAX,
    OUTBOX_BYTES,
    WINDOW_BYTES,
    WINDOW_FRAMES,
)
from weft_engine.names import Position, RecordHash
from weft_engine.records.gate import Outcome
from weft_engine.storage.journal import Identity
from weft_engine.sync.end.asking import Asking
from weft_engine.sync.end.confirming import Confirming
from weft_engine.sync.end.ending import End, State, code_of
from weft_engine.sync.end.following import Following
from weft_engine.sync.end.head import Head
from weft_engine.sync.end.incoming import Incoming
from weft_engine.sync.end.link_cursors import LinkCursors
from weft_engine.sync.end.outbox import Pieces
from weft_engine.sync.end.progress import Progress
from weft_engine.sync.end.pulse import Beat, Pulse
from weft_engine.sync.end.questions import Answer, Question
from weft_engine.sync.end.reaching import Reaching
from weft_engine.sync.end.receiving import Receiving
from weft_engine.sync.end.regions.between_regions import BetweenRegions
from weft_engine.sync.end.regions.claims import Claims
from weft_engine.sync.end.regions.cost import Cost
from weft_engine.sync.end.regions.repeating import Doubts
from weft_engine.sync.end.regions.zooming import Zooming
from weft_engine.sync.end.sending import Sending
from weft_engine.sync.end.showing import Showing
from weft_engine.sync.end.subject import Subject
from weft_engine.sync.end.ticket_questions import TicketIssued
from weft_engine.sync.end.tickets import Tickets
from weft_engine.sync.faults import ProtocolViolation
from weft_engine.sync.framing.fragments import Reassembly
from weft_engine.sync.framing.frames import VERSION, decode_frame, encode
from weft_engine.sync.framing.messages import (
    Bye,
    ByeCode,
    Fragment,
    Heartbeat,
    Hello,
    Window,
    bye,
)
from weft_engine.sync.interest import Interest
from weft_engine.sync.tree import tree_salt


class Session:
    """`interest` is what this end asks for, or what it permits. `region` names a relay's region.
    `now_ms` is the wall clock, for the peer to measure its own by. `ticket` is what an end with a
    region hands out: 16 random bytes. `keeps_cursors`: whether the store can be written to.
    `showing` is its share in presence, `reaching` in who holds what; None: it has none. `told` is
    what all links of the store were told of, where they are told together; `recent` is what was
    journaled last. `claims` and `doubts` are shared by the links of the store, and `wake` is called
    when there may be something to do because of another. `contexts_max`: more than this the link
    may not be about. `outbox_bytes`: nothing is read for the peer while more than this waits to
    leave. `why_wrong` says of the peer's hello why it is refused, before anything of it counts."""

    def __init__(
        self,
        identity: Identity,
        *,
        interest: Interest,
        now_ms: int,
        region: str | None = None,
        window: Window | None = None,
        ticket: bytes | None = None,
        showing: Showing | None = None,
        reaching: Reaching | None = None,
        told: Head | None = None,
        recent: Container[RecordHash] = (),
        claims: Claims | None = None,
        doubts: Doubts | None = None,
        wake: Callable[[], None] | None = None,
        contexts_max: int = LISTED_CONTEXTS_MAX,
        outbox_bytes: int = OUTBOX_BYTES,
        keeps_cursors: bool = True,
        why_wrong: Callable[[Hello], PeerError | None] | None = None,
    ) -> None:
        assert (region is None) == (ticket is None), "a region hands out tickets, nobody else does"
        window = window or Window(WINDOW_FRAMES, WINDOW_BYTES)
        self.hello = Hello(
            FORMAT_VERSION, identity.store, identity.epoch, region, now_ms, interest, window
        )
        self.peer: Hello | None = None
        self.end: End | None = None
        self.tickets = Tickets(ticket)
        self.confirming = Confirming()
        self.incoming = Incoming(region, window)
        self.sending = Sending(window, told, outbox_bytes=outbox_bytes)
        self._outbox = self.sending.outbox
        outgoing = self.sending.outgoing
        zooming: Zooming | None = None
        if region is not None:
            zooming = Zooming(claims or Claims(), self.incoming, wake or _sleep_on)
            self.incoming.arrived = zooming.arrived
        self._subject = Subject(
            self.hello,
            outgoing,
            self._outbox,
            contexts_max=contexts_max,
            salt=None if ticket is None else tree_salt(ticket),
            zooming=zooming,
            doubts=doubts,
        )
        self.cursors = LinkCursors(self.hello, self.incoming, outgoing, keeps_cursors=keeps_cursors)
        self._pulse = Pulse()
        self.following = Following(
            self._subject, self.sending, self.incoming, self.cursors, self.tickets, self._pulse
        )
        if zooming is not None:
            self.following.on_came = zooming.came
        self.progress = Progress(self._subject, outgoing, self.incoming, self.cursors)
        self.between = BetweenRegions(
            self._subject,
            self.sending,
            self.incoming,
            self.following,
            self._pulse,
            recent,
        )
        self._showing = showing
        self.reaching = reaching
        if reaching is not None:
            self.incoming.on_stated = reaching.stated
        self._receiving = Receiving(
            self._subject,
            self.sending,
            self.incoming,
            self.following,
            self.between,
            self.cursors,
            self.tickets,
            self.confirming,
            showing,
            reaching,
        )
        self._asking = Asking(
            self._subject,
            self.sending,
            self.incoming,
            self.following,
            self.cursors,
            self.confirming,
            self.tickets,
            self.progress,
            self._receiving.round_began,
        )
        self._why_wrong = why_wrong
        self._reassembly = Reassembly()
        self._serves = False
        """This end has a region and the peer has none."""
        self._outbox.put(self.hello)

    @property
    def interest(self) -> Interest:
        """What both ends agree on; nothing before the peer's hello."""
        return self._subject.interest

    @property
    def regions(self) -> dict[str, Position]:
        """Up to which position of our journal a region holds everything within the interest."""
        return self._receiving.regions

    @property
    def cost(self) -> Cost:
        """What the comparison has taken so far."""
        return self._subject.cost

    def is_near(self) -> None:
        """Messages take next to no time to the peer, so there may be more of them."""
        self._subject.is_near()

    @property
    def is_between_regions(self) -> bool:
        """Whether both ends are regions; False before that is known."""
        return self.between.neighbour is not None

    @property
    def state(self) -> State:
        if self.end is not None:
            return State.REFUSED if self.end.is_refusal else State.CLOSED
        if self._subject.comparison is None:
            return State.CONNECTING
        return State.LIVE if self._subject.is_compared else State.COMPARING

    # ---- frames -------------------------------------------------------------------------------

    def receive(self, frame: bytes) -> bool:
        """Take a frame of the peer. What is wrong with it ends the session, it does not raise.
        False if nothing is to be done for it soon: an acknowledgement of a client, and nothing
        waits for it."""
        if self.end is not None:
            return True
        self._pulse.was_heard = True
        acks = self._receiving.acks
        try:
            self._take(frame)
            self._tell_cursor()
            self._check_repeated()
        except MalformedFrame as error:
            is_old = bool(frame) and frame[0] != VERSION
            self._fail(ByeCode.FORMAT if is_old else ByeCode.MALFORMED, error)
        except PeerError as error:
            self._fail(code_of(error), error)
        return (
            acks == self._receiving.acks
            or not self._serves
            or not self.following.is_settled
            or self.sending.has_frames
            or self.cursors.asks
            or self.confirming.is_due
        )

    def frames_to_send(self, *, bytes_max: int = OUTBOX_BYTES) -> list[bytes]:
        """Frames for the transport, in this order: about `bytes_max` of them. Call again until
        there are none."""
        return [b"".join(frame) for frame in self.pieces_to_send(bytes_max=bytes_max)]

    def pieces_to_send(self, *, bytes_max: int = OUTBOX_BYTES) -> list[Pieces]:
        """As `frames_to_send`, for who writes a frame piece by piece."""
        self.sending.tell_acks()
        if self.reaching is not None and self.end is None:
            reach = self.reaching.next()
            if reach is not None:
                self._outbox.put(reach)
        frames = self._outbox.take(bytes_max=bytes_max)
        if not frames and self._showing is not None and self.end is None:
            # One at a time, and only when nothing else is to leave: presence delays nobody.
            shown = self._showing.next()
            if shown is not None:
                frames.append((encode(shown),))
        self._pulse.has_sent = self._pulse.has_sent or bool(frames)
        return frames

    # ---- questions ----------------------------------------------------------------------------

    def next_question(self) -> Question | None:
        """What to ask the store; None while there is nothing to ask, the last answer is not here,
        or what was read has not left yet."""
        return None if self.end is not None or self.peer is None else self._asking.next(self.peer)

    def supply(self, answer: Answer) -> None:
        """The store's answer to the last question; of records together with signatures."""
        if self.end is None:
            try:
                self._asking.supply(answer)
            except PeerError as error:
                self._fail(code_of(error), error)
            self._check_repeated()
            self._tell_cursor()
            is_old = isinstance(answer, TicketIssued) and not answer.is_current
            if is_old and self.reaching is not None:
                self.reaching.lost()

    # ---- records for the gate -----------------------------------------------------------------

    def admitted(self, serial: int, outcome: Outcome) -> None:
        """What the gate said of a message that was offered to it."""
        if self.end is not None:
            return
        try:
            for want in self.incoming.admitted(serial, outcome):
                self._outbox.put_first(want)
        except PeerError as error:
            self._fail(code_of(error), error)
        else:
            self.following.answered()

    def refused(self, error: PeerError) -> None:
        """A message is not sound: nothing of it was stored, and the link ends."""
        self._fail(code_of(error), error)

    # ---- what the link is about, time, and the end --------------------------------------------

    def ask(self, interest: Interest) -> None:
        """From now on this end asks for `interest` instead. CallerError at an end with a region."""
        self._subject.rounds.ask(interest)
        self._check_round()

    def tell_when_sent(self, position: Position) -> None:
        """The peer is to know when it has everything of our journal up to there."""
        self.cursors.want(position)
        self._tell_cursor()

    def tick(self, now_ms: int) -> None:
        """Call about once a second, with any clock that never steps back."""
        if self.end is not None:
            return
        if self._showing is not None:
            self._showing.tick(now_ms)
        self.between.tick(now_ms)
        if self._subject.repeating is not None:
            self._subject.repeating.tick(
                now_ms,
                head=self.sending.outgoing.head,
                is_compared=self._subject.is_compared,
                is_idle=self.progress.is_synced,
            )
        if self.reaching is not None:
            self.reaching.tick(now_ms)
        self.cursors.tick(now_ms)
        self._tell_cursor()
        match self._pulse.tick(now_ms, self.tickets.awaited or self._subject.resuming.awaited):
            case Beat.DEAD:
                self.close(ByeCode.SILENT, self._pulse.why)
            case Beat.DUE if not self.sending.has_frames:
                self._outbox.put_first(Heartbeat())
            case _:
                pass  # What waits to leave will be heard as well.

    def close(self, code: ByeCode, reason: str, hint: str = "") -> None:
        """End the session from this side; the bye is the last of `frames_to_send`."""
        if self.end is not None:
            return
        self._finish(End(code, reason, hint))
        self._outbox.put_first(bye(code, reason, hint))

    def lost(self, reason: str) -> None:
        """The transport has ended."""
        if self.end is None:
            self._finish(End(ByeCode.FAULT, reason, by_peer=True))

    @property
    def held_bytes(self) -> int:
        """About what this end keeps in memory for the peer: what came and is not durable or not
        complete, what was announced, and what has not left."""
        held = self._reassembly.held_bytes + self.incoming.held_bytes + self._outbox.held_bytes
        comparison = self._subject.comparison
        return held + (0 if comparison is None else comparison.held_bytes)

    # ---- inside: what comes -------------------------------------------------------------------

    def _take(self, frame: bytes) -> None:
        message = decode_frame(frame)
        if isinstance(message, Fragment):
            if self.peer is None:
                raise ProtocolViolation("a fragment came before the hello")
            message = self._reassembly.message(message)
        match message:
            case None:
                pass
            case Hello():
                self._greet(message)
            case Bye(code, reason, hint):
                self._finish(End(code, reason, hint, by_peer=True))
            case _:
                comparison = self._subject.comparison
                if comparison is None or self.peer is None:
                    name = type(message).__name__.lower()
                    raise ProtocolViolation(f"a {name} came before the hello")
                self._receiving.receive(message, self.peer, comparison, size=len(frame))

    def _greet(self, hello: Hello) -> None:
        if self.peer is not None:
            raise ProtocolViolation("a second hello came")
        if hello.format_version != FORMAT_VERSION:
            self.close(
                ByeCode.FORMAT,
                f"the peer has format version {hello.format_version}, this is {FORMAT_VERSION}",
                "upgrade the older of the two ends",
            )
            return
        self.peer = hello
        refusal = None if self._why_wrong is None else self._why_wrong(hello)
        if refusal is not None:
            self.close(ByeCode.DENIED, refusal.message, refusal.hint)
            return
        self._serves = self.hello.region is not None and hello.region is None
        is_between_regions = self.hello.region is not None and hello.region is not None
        self.sending.greeted(hello.window, hello.region if is_between_regions else None)
        self.incoming.greeted(is_between_regions=is_between_regions)
        self.tickets.greeted(hello)
        self._subject.greeted(hello)
        if self._subject.zooming is None:
            self.incoming.arrived = None  # With a client nothing of that kind is found out.
        self.cursors.greeted(hello, self.interest)
        self.cursors.resumed(self._subject.begin())
        self._check_round()
        if self._showing is not None:
            self._showing.follow(self.interest)
        if self.reaching is not None:
            outgoing, progress = self.sending.outgoing, self.progress
            self.reaching.greeted(self.hello, hello, self.interest, outgoing, progress)

    def _check_round(self) -> None:
        if self._subject.rounds.is_due and self.peer is not None and self.peer.region is None:
            # Only a relay changes what a link is about.
            self.close(ByeCode.CLOSED, "the link is to be about something else")

    def _check_repeated(self) -> None:
        repeating = self._subject.repeating
        if self.end is None and repeating is not None and repeating.is_different:
            self.close(
                ByeCode.CLOSED,
                "the trees of both ends differ twice, and nothing is on its way: the next link"
                " finds out where",
            )

    # ---- inside: cursors, and the end -----------------------------------------------------------

    def _tell_cursor(self) -> None:
        """Tell the peer how far it is, if that is due: whenever something may have been settled."""
        if self.end is None and self._subject.is_compared:
            cursor = self.cursors.to_tell()
            if cursor is not None:
                self._outbox.put(cursor)

    def _fail(self, code: ByeCode, error: WeftError) -> None:
        self.close(code, error.message, error.hint)

    def _finish(self, end: End) -> None:
        if self.reaching is not None:
            self.reaching.end()
        # From now on we are not told what is new.
        self.progress.end(is_kept=self.hello.region is None)
        self.cursors.ended(self.progress.durable_upto())
        self.following.end()
        self.incoming.end()
        self.between.end()
        self.end = end
        self.sending.clear()
        self._reassembly = Reassembly()
        if self._showing is not None:
            peer_is_relay = self.peer is not None and self.peer.region is not None
            self._showing.end(peer_is_relay=peer_is_relay)


def _sleep_on() -> None:
    """Nobody has to be told: whoever moves the session looks by himself."""
