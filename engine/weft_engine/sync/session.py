"""The session: one end of a link, without a socket, a store or a clock of its own.

Both ends are alike. Each one

 1. says hello first: format version, store, interest, window. What the link carries is the
    intersection of both interests. Nothing else may come before the peer's hello.
 2. begins where an earlier link ended, if a cursor of that is known to both (`sync.resuming`);
    otherwise lists its contexts within that intersection with their fingerprints, to the last.
 3. announces the frontier of each context that only it has or whose fingerprints differ.
 4. sends, of each such context, the records that the peer lacks by what it announced, then whatever
    comes after the position where that was computed and did not come from the peer. A context that
    did not differ begins with that second half. So there is one mechanism for catching up and for
    live push, and a context that appears later is a context of which everything is new.
 5. acknowledges a Records message when each of its records is durable here; parked is not durable.
    What parked records wait for is asked for by hash, and what the peer asks for so is sent.
 6. keeps at most a window of unacknowledged Records messages under way, counted in messages and in
    bytes; while it is full nothing more is read. An acknowledgement never waits for something that
    is still to be sent (`weft_engine.sync.outgoing` has the invariant), so no window deadlocks.
 7. lets itself be heard every 10 s, and ends the link after 25 s without a frame.
 8. begins again with 2 for what the link is about from then on and was not before, when the end
    without a region asks for something else (`sync.rounds`). All other contexts stay live.
 9. ends with a bye, which says why. Whatever is against these rules ends the link; nothing of the
    frame that broke them is stored.

Whoever drives it moves data between four sides: frames (`receive`, `frames_to_send`), questions to
the store (`next_question`, `supply`; one at a time), records for the gate (`next_admission`,
`offer`, `admitted`, `refused`; in order) and the journal's commits (`committed`; from before the
hello of the peer is received).

Must never know: sockets, SQLite, tasks, what time it is.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice

from weft_engine.errors import LinkRefused, MalformedFrame, MalformedRecord, PeerError, WeftError
from weft_engine.limits import (
    FORMAT_VERSION,
    LISTED_CONTEXTS_MAX,
    OUTBOX_BYTES,
    RECORDS_BYTES,
    WANTED_HASHES_MAX,
    WANTED_PER_FRAME_MAX,
    WINDOW_BYTES,
    WINDOW_FRAMES,
)
from weft_engine.names import ContextName, Position, RecordHash
from weft_engine.records.envelope import Record
from weft_engine.records.gate import Outcome
from weft_engine.storage.journal import Identity
from weft_engine.storage.ledger import Stored
from weft_engine.sync.closure import needed
from weft_engine.sync.comparison import Comparison
from weft_engine.sync.confirming import Confirming
from weft_engine.sync.cursor_questions import (
    BehindRead,
    CursorKept,
    CursorRead,
    KeepCursor,
    ReadRow,
    RowRead,
)
from weft_engine.sync.cursors import Keeping, Telling
from weft_engine.sync.faults import LimitBroken, LinkLost, OutsideInterest, ProtocolViolation
from weft_engine.sync.fragments import Reassembly
from weft_engine.sync.frames import VERSION, decode_frame, decode_message, encode
from weft_engine.sync.incoming import Admission, Incoming
from weft_engine.sync.interest import NOTHING, Interest
from weft_engine.sync.live import Body, Sent, head_of
from weft_engine.sync.messages import (
    FINAL_CODES,
    Ack,
    Bye,
    ByeCode,
    Contexts,
    Cursor,
    Erased,
    Fragment,
    Frontier,
    Heartbeat,
    Hello,
    Issue,
    Kept,
    Message,
    PresenceTold,
    Records,
    Resume,
    Resumed,
    Subscribe,
    Ticket,
    Want,
    Window,
    bye,
)
from weft_engine.sync.outbox import Outbox
from weft_engine.sync.outgoing import Composed, Head, Outgoing, beside, firsts
from weft_engine.sync.pulse import Beat, Pulse
from weft_engine.sync.questions import (
    Answer,
    ConfirmationsRead,
    FrontiersRead,
    IdentityRenewed,
    LackingRead,
    ListContexts,
    Listed,
    Question,
    ReadWanted,
    RecordsRead,
)
from weft_engine.sync.resuming import Resuming, between
from weft_engine.sync.rounds import Rounds
from weft_engine.sync.saved import Saved
from weft_engine.sync.showing import Showing
from weft_engine.sync.tickets import Tickets


class State(StrEnum):
    CONNECTING = "connecting"
    """The peer's hello has not come."""
    COMPARING = "comparing"
    LIVE = "live"
    """All differences are known in both directions; what is new is pushed."""
    REFUSED = "refused"
    """Ended, and trying again changes nothing."""
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class End:
    """How a link ended."""

    code: str
    reason: str
    hint: str = ""
    by_peer: bool = False

    @property
    def is_refusal(self) -> bool:
        return self.code in FINAL_CODES

    @property
    def error(self) -> WeftError:
        """What to raise to whoever waits for something that this link can't bring any more."""
        if self.is_refusal:
            return LinkRefused(self.reason, hint=self.hint)
        return LinkLost(f"the link ended ({self.code}): {self.reason}", hint=self.hint)


class Session:
    """`interest` is what this end asks for, or what it permits. `region` names a relay's region.
    `now_ms` is the wall clock, for the peer to measure its own by. `ticket` is what an end with a
    region hands out: 16 random bytes. `keeps_cursors`: whether the store can be written to.
    `showing` is its share in presence; None: it has none. `told` is what all links of the store
    were told of, where they are told together. `contexts_max`: more than this the link may not be
    about. `outbox_bytes`: nothing is read for the peer while more than this waits."""

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
        told: Head | None = None,
        contexts_max: int = LISTED_CONTEXTS_MAX,
        outbox_bytes: int = OUTBOX_BYTES,
        keeps_cursors: bool = True,
    ) -> None:
        assert (region is None) == (ticket is None), "a region hands out tickets, nobody else does"
        window = window or Window(WINDOW_FRAMES, WINDOW_BYTES)
        self.hello = Hello(
            FORMAT_VERSION, identity.store, identity.epoch, region, now_ms, interest, window
        )
        self.peer: Hello | None = None
        self.interest = NOTHING
        """What both ends agree on."""
        self.end: End | None = None
        self.regions: dict[str, Position] = {}
        """Up to which position of our journal a region holds everything within the interest."""
        self.tickets = Tickets(ticket)
        self._showing = showing
        self._saved: Saved | None = None
        self._window = window
        self._contexts_max = contexts_max
        self._outbox_bytes = outbox_bytes
        self._outgoing = Outgoing(told)
        self._incoming = Incoming(region, window)
        self.gathers_acks = False
        """Acknowledgements wait for `acknowledge`, or until there are many of them."""
        self.came: set[RecordHash] = set()
        """Committed just now, from the peer; `told` has not been called for them."""
        self._comparison: Comparison | None = None
        self._reassembly = Reassembly()
        self._listing: ListContexts | None = None
        self._is_asking = False
        self._wanted: dict[RecordHash, None] = {}
        self._serial = 0
        self._confirming = Confirming()
        self._resuming = Resuming(self._outgoing)
        self._rounds = Rounds(self.hello)
        self._accepts = NOTHING
        """What the peer may send records of: of what was dropped some may be under way."""
        self._without = NOTHING
        """What the present comparison is not about."""
        self._keeps_cursors = keeps_cursors
        self._telling = Telling()
        self._row: ReadRow | None = None
        self._sent_upto: Position | None = None
        """When the link ended."""
        self._keeping = Keeping()
        self._outbox = Outbox()
        self._outbox.put(self.hello)
        self._pulse = Pulse()

    @property
    def state(self) -> State:
        if self.end is not None:
            return State.REFUSED if self.end.is_refusal else State.CLOSED
        if self._comparison is None:
            return State.CONNECTING
        return State.LIVE if self._comparison.is_done else State.COMPARING

    # ---- frames -------------------------------------------------------------------------------

    def receive(self, frame: bytes) -> None:
        """Take a frame of the peer. What is wrong with it ends the session, it does not raise."""
        if self.end is not None:
            return
        self._pulse.was_heard = True
        try:
            self._take(frame)
            self._tell_cursor()
        except MalformedFrame as error:
            is_old = bool(frame) and frame[0] != VERSION
            self._fail(ByeCode.FORMAT if is_old else ByeCode.MALFORMED, error)
        except PeerError as error:
            self._fail(_code(error), error)

    def frames_to_send(self, *, bytes_max: int = OUTBOX_BYTES) -> list[bytes]:
        """Frames for the transport, in this order: about `bytes_max` of them. Call again until
        there are none."""
        frames = self._outbox.take(bytes_max=bytes_max)
        if not frames and self._showing is not None and self.end is None:
            # One at a time, and only when nothing else is to leave: presence delays nobody.
            shown = self._showing.next()
            if shown is not None:
                frames.append(encode(shown))
        self._pulse.has_sent = self._pulse.has_sent or bool(frames)
        return frames

    # ---- questions ----------------------------------------------------------------------------

    def next_question(self) -> Question | None:
        """What to ask the store; None while there is nothing to ask, the last answer is not here,
        or what was read has not left yet."""
        comparison = self._comparison
        if self.end is not None or self._is_asking or comparison is None:
            return None
        if self._outbox.size > self._outbox_bytes:
            return None
        question = self._choose(comparison)
        self._is_asking = question is not None
        return question

    def supply(self, answer: Answer) -> None:
        """The store's answer to the last question; of records together with signatures."""
        self._is_asking = False
        comparison = self._comparison
        if self.end is None and comparison is not None:
            self._supplied(comparison, answer)
            self._tell_cursor()

    def _supplied(self, comparison: Comparison, answer: Answer) -> None:
        match answer:
            case Listed():
                self._listed(comparison, answer)
            case FrontiersRead():
                comparison.answered()
                for context, frontier, sample in answer.frontiers:
                    self._outbox.put(Frontier(context, frontier, sample))
            case LackingRead():
                comparison.answered()
                for some in answer.contexts:
                    self._incoming.held(some.held)
                    self._outgoing.lacking(some.context, some.positions, some.upto)
            case RecordsRead():
                self._records_read(comparison, answer)
            case CursorRead() | BehindRead():
                self._outbox.put(self._resuming.supply(answer))
                self._begin()
            case RowRead(cursor):
                self._outbox.put(cursor)
            case CursorKept(met):
                self._keeping.kept(met)
            case ConfirmationsRead():
                for message in self._confirming.take(answer, self._outgoing.durable_upto()):
                    self._outbox.put(message)
            case _:
                if isinstance(answer, IdentityRenewed):
                    self._keeping.begin(None)
                said = self.tickets.supply(answer)
                if said is not None:
                    self._outbox.put(said)

    # ---- records for the gate -----------------------------------------------------------------

    def next_admission(self) -> Admission | None:
        """Records to check (`inspection.inspect`). Then call `refused`, or `offer`, pass them
        through the gate, and call `admitted`. Messages enter the gate in this order."""
        return None if self.end is not None else self._incoming.next_admission()

    @property
    def has_admissions(self) -> bool:
        """Whether there is a `next_admission`."""
        return self.end is None and self._incoming.has_admissions

    def offer(self, serial: int, records: Sequence[Record]) -> None:
        """The message is sound. From now on commits of its records are known to be the peer's."""
        self._incoming.offer(serial, records)

    def admitted(self, serial: int, outcome: Outcome) -> None:
        if self.end is not None:
            return
        try:
            for want in self._incoming.admitted(serial, outcome):
                self._outbox.put_first(want)
        except PeerError as error:
            self._fail(_code(error), error)
            return
        self._acknowledge()

    def refused(self, error: PeerError) -> None:
        """The message is not sound: nothing of it was stored, and the link ends."""
        self._fail(_code(error), error)

    # ---- commits ------------------------------------------------------------------------------

    def committed(self, stored: Sequence[Stored]) -> None:
        """What the journal has just made durable, whoever wrote it, in its order."""
        self.journaled(stored)
        self.told(stored)
        self.handed_out()

    def journaled(self, stored: Sequence[Stored]) -> bool:
        """The first half of `committed`, for links that are told together (`sync.hub`): what the
        peer offered is here. Due where `offered` names one of these, or while `awaits_names`;
        before their admission is answered. Whether something is to be acknowledged for that."""
        if self._comparison is None:
            return False
        came = [one for one in stored if self._incoming.committed(one.record.hash)]
        if came:
            # Behind the end, too: it may still be under way when the connection is gone.
            self._keeping.came(one.position for one in came)
            self._telling.moved(came[-1].position)
        if self.end is not None:
            return False
        self.came.update([one.record.hash for one in came])
        return self._acknowledge()

    def told(self, stored: Sequence[Stored]) -> None:
        """The second half: what is new in our journal is to be sent, unless it came from there."""
        comparison = self._comparison
        if comparison is None or self.end is not None:
            return
        is_round = comparison.was_listed and not comparison.is_listed
        for one in stored:
            self._outgoing.head = one.position
            context = one.record.envelope.context
            if self.interest.covers(context):
                self._telling.moved(one.position)
                self._outgoing.committed(
                    context,
                    one.position,
                    from_peer=one.record.hash in self.came,
                    is_held=is_round and not self._without.covers(context),
                )

    def handed_out(self) -> None:
        """All links have been told of what was committed."""
        self.came.clear()

    @property
    def is_settled(self) -> bool:
        """Nothing is left to be sent or looked at, so what is new may go out as it is."""
        comparison = self._comparison
        return (
            self._outgoing.is_settled
            and comparison is not None
            and comparison.is_done
            and not self._wanted
            and self.tickets.may_send
            and self.end is None
        )

    def push(self, body: Body) -> bytes | None:
        """What stands before the shared bytes of `body`, which is sent with it now, behind
        `frames_to_send`. None if it can't be: the peer has to be told of it otherwise."""
        if not self.is_settled or not self._outgoing.has_room(self._window):
            return None
        self._serial += 1
        self._outgoing.sent(self._serial, body.sent)
        self._telling.moved(self._outgoing.head)
        self._pulse.has_sent = True
        return head_of(self._serial)

    def put_frame(self, frame: bytes) -> None:
        """Send a pushed message behind what is to be sent already."""
        self._outbox.put_encoded(frame)

    @property
    def has_frames(self) -> bool:
        """Whether there is something in `frames_to_send`, presence left out."""
        return not self._outbox.is_empty

    @property
    def outbox_is_full(self) -> bool:
        return self._outbox.size > self._outbox_bytes

    @property
    def offered(self) -> Collection[RecordHash]:
        """Records of the peer that are not journaled yet."""
        return self._incoming.offered

    @property
    def awaits_names(self) -> bool:
        """Records that the peer announced, or was asked for, have not come: `journaled` is due for
        every commit."""
        return self._incoming.awaits_names

    # ---- what the link is about ---------------------------------------------------------------

    def ask(self, interest: Interest) -> None:
        """From now on this end asks for `interest` instead. CallerError at an end with a region."""
        self._rounds.ask(interest)
        if self.peer is not None:
            self._check_round(self.peer)

    def last_cursor(self) -> KeepCursor | None:
        """What to keep in our store now that the link has ended, and nothing that came over it is
        under way any more."""
        return self._keeping.last(self._incoming.oldest_open, self._sent_upto)

    # ---- erasures -----------------------------------------------------------------------------

    def confirmed(self) -> None:
        """There are new confirmations of erasures in our store."""
        self._confirming.is_due = True

    @property
    def has_confirmed(self) -> bool:
        """Whether there is something to `take_confirmed`."""
        return self._confirming.has_received

    def take_confirmed(self) -> list[tuple[RecordHash, tuple[bytes, ...]]]:
        """What the peer has told of erasures: erasers, and the stores that confirm them."""
        return self._confirming.take_received()

    # ---- time and end -------------------------------------------------------------------------

    def tick(self, now_ms: int) -> None:
        """Call about once a second, with any clock that never steps back."""
        if self.end is not None:
            return
        if self._showing is not None:
            self._showing.tick(now_ms)
        self._telling.tick(now_ms)
        self._keeping.tick(now_ms)
        self._tell_cursor()
        match self._pulse.tick(now_ms):
            case Beat.DEAD:
                self.close(ByeCode.SILENT, f"nothing was heard for {self._pulse.silent_ms} ms")
            case Beat.DUE:
                self._outbox.put_first(Heartbeat())
            case Beat.NONE:
                pass

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

    # ---- how far it is ------------------------------------------------------------------------

    def durable_upto(self) -> Position | None:
        """Up to which position of our journal the peer holds everything within the interest,
        durably. None before that is known."""
        if self._comparison is None or not self._comparison.is_listed or self._rounds.is_due:
            return None
        return self._outgoing.durable_upto()

    def saved_of(self, context: ContextName) -> Position | None:
        """Up to which position of our journal the peer holds all of one context, durably. None
        before that is known, or if the link is not about it."""
        if self.end is not None:
            return None if self._saved is None else self._saved.of(context)
        comparison = self._comparison
        if comparison is None or not comparison.was_listed or not self.interest.covers(context):
            return None
        if not comparison.is_listed and not self._without.covers(context):
            return None
        return self._outgoing.saved_of(context)

    def saved(self) -> Saved | None:
        """As `saved_of`, of all contexts at once. None before both have listed theirs. Once the
        link has ended, what was known then: it is told of no more commits."""
        if self.end is not None:
            return self._saved
        if self._comparison is None or not self._comparison.is_listed:
            return None
        return Saved(self.interest, self._outgoing.head, self._outgoing.lagging())

    @property
    def has_received_all(self) -> bool:
        """Everything that the peer announced, and sent since, is durable here."""
        return (
            self._comparison is not None
            and self._comparison.is_done
            and self._incoming.idle
            and not self._keeping.is_awaited
            and not self._rounds.is_due
        )

    @property
    def is_synced(self) -> bool:
        """Both directions: nothing is left to send, to acknowledge or to come."""
        return self.has_received_all and self._outgoing.idle

    @property
    def held_bytes(self) -> int:
        """About what this end keeps in memory for the peer: what came and is not durable or not
        complete, what was announced, and what has not left."""
        held = self._reassembly.held_bytes + self._incoming.held_bytes + self._outbox.held_bytes
        return held + (0 if self._comparison is None else self._comparison.held_bytes)

    # ---- inside: what comes -------------------------------------------------------------------

    def _take(self, frame: bytes) -> None:
        message = decode_frame(frame)
        if isinstance(message, Fragment):
            if self.peer is None:
                raise ProtocolViolation("a fragment came before the hello")
            whole = self._reassembly.add(message)
            if whole is None:
                return
            message = decode_message(whole)
            if isinstance(message, (Fragment, Hello)):
                raise ProtocolViolation(f"a {type(message).__name__.lower()} came in fragments")
        if message is not None:
            self._obey(message)

    def _obey(self, message: Message) -> None:
        if isinstance(message, Hello):
            self._greet(message)
            return
        if isinstance(message, Bye):
            self._finish(End(message.code, message.reason, message.hint, by_peer=True))
            return
        comparison = self._comparison
        if comparison is None:
            raise ProtocolViolation(f"a {type(message).__name__.lower()} came before the hello")
        match message:
            case Contexts():
                if not self._resuming.is_settled:
                    raise ProtocolViolation("contexts came before it was said whether to resume")
                comparison.receive_list(message)
                if message.last:
                    self._accepts = self.interest
            case Frontier():
                comparison.receive_frontier(message)
                self._incoming.announce(message.context, message.frontier)
            case Records():
                self._incoming.receive(message, self._accepts)
            case Ack():
                self._acked(message)
            case Want():
                self._wanted.update(dict.fromkeys(message.hashes))
                if len(self._wanted) > WANTED_HASHES_MAX:
                    raise LimitBroken(f"more than {WANTED_HASHES_MAX} records were asked for")
            case Ticket() | Issue() | Kept():
                self.tickets.receive(message)
            case Erased():
                self._confirming.receive(message)
            case PresenceTold():
                if self._showing is not None:
                    self._showing.heard(message)
            case Resume() | Resumed():
                self._resuming.receive(message)
                self._begin()
            case Cursor():
                self._cursor_came(message)
            case Subscribe():
                self._subscribed(comparison, message)
            case Heartbeat() | Fragment():
                pass

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
        self.interest = hello.interest.intersection(self.hello.interest)
        self._window = Window(
            min(self._window.frames, hello.window.frames),
            min(self._window.bytes, hello.window.bytes),
        )
        self.tickets.greeted(hello)
        self._accepts = self.interest
        self._comparison = Comparison(
            self.interest, self._outgoing, contexts_max=self._contexts_max
        )
        self._telling.is_on = hello.region is None and self.hello.region is not None
        self._resuming.greeted(self.hello, hello, self.interest)
        self._restart_cursors(hello)
        self._begin()
        self._check_round(hello)
        if self._showing is not None:
            self._showing.follow(self.interest)

    def _begin(self) -> None:
        """Resume or compare, once it is known which."""
        comparison = self._comparison
        if comparison is None or comparison.was_listed or not self._resuming.is_settled:
            return
        if not self._resuming.is_resumed:
            self._listing = self._listing or ListContexts(self.interest, 0, "")
            return
        comparison.skip()
        if self._resuming.place is not None:
            self._keeping.resumed(self._resuming.place)

    def _restart_cursors(self, peer: Hello) -> None:
        self._telling.restart()
        self._row = None
        is_kept = self._keeps_cursors and peer.region is not None and self.hello.region is None
        about = between(self.hello, peer, self.interest) if is_kept else None
        self._keeping.begin(about, self.interest)

    def _cursor_came(self, cursor: Cursor) -> None:
        comparison = self._comparison
        if self.hello.region is not None or comparison is None or not comparison.was_listed:
            raise ProtocolViolation("a cursor came where none is due")
        # Before the lists are over it is about what the link was about before.
        if comparison.is_listed:
            self._keeping.receive(cursor, self._incoming.last_serial)

    # ---- inside: rounds -----------------------------------------------------------------------

    def _check_round(self, peer: Hello) -> None:
        if self._rounds.is_due and peer.region is None:
            # Only a relay changes what a link is about.
            self.close(ByeCode.CLOSED, "the link is to be about something else")

    def _subscribed(self, comparison: Comparison, message: Subscribe) -> None:
        peer = self.peer
        assert peer is not None, "there is a comparison after the hello only"
        self._rounds.receive(message, peer)
        self._begin_round(comparison, peer, message.interest.intersection(self.hello.interest))
        self._accepts = self.interest

    def _begin_round(self, comparison: Comparison, peer: Hello, interest: Interest) -> None:
        before = self.interest
        comparison.begin(interest, before)
        self.interest = interest
        self._without = before
        self._accepts = before.union(interest)
        self._outgoing.narrow(interest)
        self._listing = ListContexts(interest.beyond(before), 0, "", before)
        self._incoming.restate(interest)
        self.regions.clear()
        self._confirming.again()
        if self._showing is not None:
            self._showing.follow(interest)
        self._restart_cursors(peer)

    # ---- inside: acknowledgements -------------------------------------------------------------

    def _acked(self, ack: Ack) -> None:
        for serial in range(ack.first, ack.last + 1):
            if not self._outgoing.acked(serial):
                raise ProtocolViolation(f"serial {serial} was acknowledged and is not open")
        for region, position in ack.regions:
            if position > self._outgoing.head:
                raise ProtocolViolation(
                    f"region {region} holds position {position} of our journal, which ends at"
                    f" {self._outgoing.head}"
                )
            if self._comparison is None or not self._comparison.is_listed:
                continue  # It is about another interest.
            self.regions[region] = max(self.regions.get(region, Position(0)), position)

    @property
    def owes_acks(self) -> bool:
        """Acknowledgements were gathered: call `acknowledge` within ACK_GATHER_S."""
        return self.end is None and self.gathers_acks and self._incoming.has_acks

    def acknowledge(self) -> None:
        """Acknowledge what is durable by now."""
        if self.end is None:
            self._acknowledge(at_once=True)

    def _acknowledge(self, *, at_once: bool = False) -> bool:
        if self.gathers_acks and not at_once and not self._incoming.is_filling:
            return False
        acks = self._incoming.acks()
        for ack in acks:
            self._outbox.put_first(ack)
        return bool(acks)

    # ---- inside: what goes --------------------------------------------------------------------

    def _choose(self, comparison: Comparison) -> Question | None:
        """Tickets and lists first, then frontiers, then cursors, then records: those asked for
        before the others."""
        ticket_question = self.tickets.next_question()
        if ticket_question is not None:
            return ticket_question
        cursor_question = self._resuming.next_question()
        if cursor_question is not None or not self._resuming.is_settled:
            return cursor_question
        if self._listing is not None:
            return self._listing
        if not comparison.was_listed:
            return None
        announcement = comparison.to_announce()
        if announcement is not None:
            return announcement
        if self._rounds.is_due and comparison.is_done and self.peer is not None:
            subscribe = self._rounds.begin()
            self._outbox.put(subscribe)
            asked = subscribe.interest.intersection(self.peer.interest)
            self._begin_round(comparison, self.peer, asked)
            return self._listing
        if not self.tickets.may_send:
            return comparison.to_settle()
        if (cursor := self._next_cursor()) is not None:
            return cursor
        if self._wanted and self._outgoing.has_room(self._window):
            some = tuple(islice(self._wanted, WANTED_PER_FRAME_MAX))
            return ReadWanted(some, RECORDS_BYTES)
        # What a peer lacks is computed when there is little else to send: the lists can be long.
        return (
            (comparison.to_settle() if not self._outgoing.ready else None)
            or self._outgoing.next_read(self._window)
            or self._confirming.next_read(self.interest, self._outgoing.durable_upto())
        )

    def _next_cursor(self) -> KeepCursor | ReadRow | None:
        """What to ask the store to tell a cursor, or to keep one."""
        if self._row is not None:
            row, self._row = self._row, None
            return row
        return self._keeping.next(
            self._incoming.oldest_open, self.durable_upto(), self._outgoing.head
        )

    def _tell_cursor(self) -> None:
        """Tell the peer how far it is, if that is due: whenever something may have been settled."""
        comparison = self._comparison
        if comparison is None or not comparison.is_done or not self._telling.is_due:
            return
        if self.end is not None:
            return
        said = self._telling.next(self._outgoing.told, self._outgoing.stated())
        if isinstance(said, Cursor):
            self._outbox.put(said)
        elif said is not None:
            self._row = said

    def _listed(self, comparison: Comparison, answer: Listed) -> None:
        self._outgoing.head = answer.position
        self._listing = answer.next
        try:
            for page in comparison.listed(answer.entries, last=answer.next is None):
                self._outbox.put(page)
        except LimitBroken as error:
            self._fail(ByeCode.LIMIT, error)

    def _records_read(self, comparison: Comparison, answer: RecordsRead) -> None:
        if isinstance(answer.question, ReadWanted):
            self._send_wanted(answer, answer.question)
            return
        known = self.came.union(self._incoming.offered)
        composed = self._outgoing.compose(answer, known)
        if composed is not None:
            stated = self._outgoing.stated() if comparison.is_done else None
            self._send_records(composed, stated)

    def _send_wanted(self, answer: RecordsRead, question: ReadWanted) -> None:
        left = set(answer.left)
        for hash_ in question.hashes:
            if hash_ not in left:
                self._wanted.pop(hash_, None)
        stored = [s for s in answer.all if self.interest.covers(s.record.envelope.context)]
        if stored:
            records = tuple(one.record for one in stored)
            items = needed(stored, answer.items)
            erasers = beside(stored, answer)
            self._send_records(Composed(records, items, firsts(stored), erasers), None)

    def _send_records(self, composed: Composed, upto: Position | None) -> None:
        self._serial += 1
        records = tuple((r.envelope_bytes, r.payload) for r in composed.records)
        self._outgoing.sent(self._serial, Sent(composed.first, composed.size, composed.firsts))
        erasers = tuple(
            (e.record.envelope_bytes, e.record.payload, e.item) for e in composed.erasers
        )
        self._outbox.put(Records(self._serial, upto, records, composed.items, erasers))

    # ---- inside: the end ----------------------------------------------------------------------

    def _fail(self, code: ByeCode, error: WeftError) -> None:
        self.close(code, error.message, error.hint)

    def _finish(self, end: End) -> None:
        if self.hello.region is None and self.end is None:
            self._saved = self.saved()
        # From now on we are not told what is new.
        self._sent_upto = self.durable_upto()
        self.end = end
        self._outbox.clear()
        self._reassembly = Reassembly()
        if self._showing is not None:
            peer_is_relay = self.peer is not None and self.peer.region is not None
            self._showing.end(peer_is_relay=peer_is_relay)


def _code(error: PeerError) -> ByeCode:
    if isinstance(error, (MalformedRecord, OutsideInterest)):
        return ByeCode.RECORD
    if isinstance(error, LimitBroken):
        return ByeCode.LIMIT
    if isinstance(error, LinkRefused):
        return ByeCode.DENIED
    return ByeCode.MALFORMED
