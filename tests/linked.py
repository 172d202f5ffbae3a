"""Replicas and connections for tests of links: real journals, real keys, bytes in between.

`End` drives a session by hand, step by step, so that a test decides the order of everything;
`pipe` is a transport for the real driver.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from weft_engine.errors import PeerError
from weft_engine.events.codec import encode_event
from weft_engine.events.event import Event, Message, Role
from weft_engine.events.part import Text
from weft_engine.names import ContextName, Position, RecordHash, event_id
from weft_engine.records.clock import HybridClock
from weft_engine.records.digest import payload_digest, record_digest
from weft_engine.records.envelope import Envelope, Kind, Record, decode_envelope, seal
from weft_engine.records.gate import Outcome
from weft_engine.records.identity import SignatureItem, WriterKey, client_id
from weft_engine.storage import reading
from weft_engine.storage.journal import Identity, SqliteJournal
from weft_engine.storage.ledger import Stored
from weft_engine.sync.driving.hub import Hub
from weft_engine.sync.driving.inspection import inspect
from weft_engine.sync.end.live import Body
from weft_engine.sync.end.questions import Answer, Question, Writing, answer
from weft_engine.sync.end.reaching import Reaching
from weft_engine.sync.end.record_questions import RecordsRead
from weft_engine.sync.end.regions.tree_questions import ReadTree
from weft_engine.sync.end.session import Session
from weft_engine.sync.faults import LinkLost
from weft_engine.sync.framing.frames import decode_frame
from weft_engine.sync.framing.messages import Frontiers, Records, Window, Zooms
from weft_engine.sync.framing.messages import Message as Frame
from weft_engine.sync.interest import EVERYTHING, Interest
from weft_engine.sync.presence import Presence
from weft_engine.sync.reach import Reach
from weft_engine.yjs.encoder import encode_event_append

MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
NOW_MS = 1_700_000_000_000
SETTLE_TURNS_MAX = 20_000
"""Far more than anything takes to come to rest."""


class Store:
    """A replica with one writer, as small as a link needs it (`sync.driving.link.LinkStore`)."""

    def __init__(self, journal: SqliteJournal, rng: random.Random) -> None:
        self.journal = journal
        self._rng = rng
        self.key = WriterKey(rng.randbytes(32))
        self.clock = HybridClock()
        self.presence = Presence()
        self.reach = Reach()
        self._soon: list[Callable[[], None]] = []
        self.hub = Hub(journal, sign=self.sign_now)
        self._tips: dict[ContextName, Record] = {}
        self._written = 0

    @property
    def identity(self) -> Identity:
        return self.journal.identity

    def now_ms(self) -> int:
        return NOW_MS

    @property
    def guard(self) -> None:
        return None

    def random(self, size: int) -> bytes:
        return self._rng.randbytes(size)

    async def signature_items(self, stored: Sequence[Stored]) -> list[SignatureItem]:
        kept = await self.journal.read(lambda c: reading.signature_items(c, stored))
        signed = {item.tip for item in kept}
        # Not the last of each chain: after an equivocation a chain of our own has two ends.
        continued = {one.record.envelope.prev for one in stored}
        ends = [
            one.record.hash
            for one in stored
            if one.record.envelope.origin == self.key.incarnation
            and one.record.hash not in continued
        ]
        return [*kept, *(self.key.sign(tip) for tip in ends if tip not in signed)]

    def sign_now(self, stored: Sequence[Stored]) -> list[SignatureItem]:
        """For the hub; now and then nothing, so that links read and sign by themselves."""
        continued = {one.record.envelope.prev for one in stored}
        tips = [one.record.hash for one in stored if one.record.hash not in continued]
        return [] if self._rng.random() < 0.3 else [self.key.sign(tip) for tip in tips]

    def look(self) -> bool:
        """A while has passed; whether there was something to do."""
        due, self._soon = self._soon, []
        for one in due:
            one()
        return bool(due)

    def soon(self, look: Callable[[], None]) -> None:
        """To be done in a while."""
        self._soon.append(look)

    async def write(self, context: str, *texts: str) -> list[Record]:
        """One record for each text, after everything that is held."""
        name = ContextName(context)
        state = await self.journal.read(lambda c: reading.context(c, name))
        frontier = () if state is None else state.frontier
        records = []
        for text in texts:
            record = self.make(name, text, frontier)
            records.append(record)
            frontier = (record.hash,)
        done: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
        self.journal.submit(records, self.key, done.set_result)
        assert await done is None
        return records

    def make(self, context: ContextName, text: str, frontier: Sequence[RecordHash]) -> Record:
        """The next record of the chain; not in the journal."""
        prev = self._tips.get(context)
        own = event_id(self.clock.tick(NOW_MS), self.key.incarnation)
        body = encode_event(Event("t", Message(Role.USER, (Text(text),))))
        client = client_id(self.key.incarnation, context)
        self._written += 1
        payload = encode_event_append(client, self._written, [(own, body)]).payload
        envelope = Envelope(
            context,
            self.key.incarnation,
            1 if prev is None else prev.envelope.seq + 1,
            None if prev is None else prev.hash,
            tuple(sorted(h for h in frontier if prev is None or h != prev.hash)),
            self.clock.tick(NOW_MS),
            Kind.NATIVE,
            payload_digest(payload),
        )
        record = seal(envelope, payload)
        self._tips[context] = record
        return record

    async def admit(self, records: Sequence[Record], items: Sequence[SignatureItem]) -> Outcome:
        return await self.journal.admit(records, items, session=b"test", now_ms=NOW_MS)

    async def fingerprints(self, interest: Interest = EVERYTHING) -> dict[str, bytes]:
        states = await self.journal.read(lambda c: reading.contexts(c, limit=100_000))
        return {s.name: s.fingerprint for s in states if interest.covers(s.name)}

    async def hashes(self) -> list[RecordHash]:
        """Of all records, in journal order."""
        return await self.journal.read(
            lambda c: [
                RecordHash(row[0])
                for row in c.execute("SELECT hash FROM records ORDER BY position")
            ]
        )

    async def waiting(self) -> int:
        return await self.journal.read(
            lambda c: int(c.execute("SELECT count(*) FROM waiting").fetchone()[0])
        )

    async def last_position(self) -> Position:
        return await self.journal.read(reading.last_position)


@asynccontextmanager
async def stores(count: int, *, seed: int = 1) -> AsyncIterator[list[Store]]:
    """Empty replicas on a memory file system, where there is one."""
    rng = random.Random(seed)
    with TemporaryDirectory(dir=MEMORY) as folder:
        found = []
        for index in range(count):
            journal = SqliteJournal.open(
                Path(folder) / f"{index}.weft", readonly=False, now_ms=NOW_MS, random=rng.randbytes
            )
            found.append(Store(journal, rng))
        try:
            yield found
        finally:
            for store in found:
                await store.journal.close()


class End:
    """A session and its store, moved by hand."""

    def __init__(
        self,
        store: Store,
        *,
        interest: Interest = EVERYTHING,
        window: Window | None = None,
        region: str | None = None,
    ) -> None:
        self.store = store
        self.session = Session(
            store.identity,
            interest=interest,
            now_ms=NOW_MS,
            window=window,
            region=region,
            ticket=None if region is None else store.random(16),
            told=store.hub.head,
            recent=store.hub.forwarding.recent,
            claims=store.hub.claims,
            doubts=store.hub.doubts,
            reaching=Reaching(store.reach, due=_nothing, soon=store.soon),
        )
        self.is_congested = False
        """What is new is not taken as it is made ready for many: it is read from the journal."""
        self.pushed = 0
        """Messages that were made ready for many and sent by this end."""
        self.parked = 0
        """Records that came before what they depend on."""
        self.inbox: deque[bytes] = deque()
        self.sent: list[Frame] = []
        """What this end sent, fragments and what is to be ignored left out."""
        store.hub.join(self)

    def stop(self) -> None:
        self.store.hub.leave(self)

    # ---- what the hub tells (`sync.driving.hub.Ear`) ----

    def push(self, body: Body, /) -> bool:
        if not body.shared:
            return body.shared is not None and self.session.following.is_settled
        following = self.session.following
        may_push = following.is_settled and not self.is_congested
        head = following.push(body) if may_push else None
        if head is not None:
            self.session.sending.outbox.put_encoded(head + body.shared)
            self.pushed += 1
        return head is not None

    def changed(self) -> None:
        if self.session.incoming.awaits_names:
            self.store.hub.attend(self)
        if self.session.between.neighbour is not None:
            self.store.hub.forwarding.look(self)

    def tick(self, now_ms: int, /) -> None:
        """Time is the test's."""

    def failed(self, error: BaseException, /) -> None:
        raise error

    @property
    def records_sent(self) -> list[bytes]:
        """Envelopes."""
        found = [frame.records for frame in self.sent if isinstance(frame, Records)]
        return [envelope for records in found for envelope, _ in records]

    def flush(self, to: End) -> bool:
        """Put what there is to send into the other's inbox."""
        frames = self.session.frames_to_send()
        for frame in frames:
            message = decode_frame(frame)
            if isinstance(message, Frontiers | Zooms):
                self.sent.extend(message.entries)
            elif message is not None:
                self.sent.append(message)
            if isinstance(message, Records):
                check_closed(message)
        to.inbox.extend(frames)
        return bool(frames)

    def read_one(self) -> bool:
        if not self.inbox:
            return False
        self.receive(self.inbox.popleft())
        return True

    def receive(self, frame: bytes) -> None:
        self.session.receive(frame)
        if self.session.peer is not None:
            self.store.hub.follow(self)
        self.changed()

    async def ask_one(self) -> bool:
        question = self.next_question()
        if question is None:
            return False
        await self.ask(question)
        return True

    def next_question(self) -> Question | None:
        question = self.session.next_question()
        if self.session.peer is not None:
            self.store.hub.follow(self)
        return question

    async def ask(self, question: Question) -> None:
        found: Answer
        if isinstance(question, ReadTree):
            found = await self.store.hub.tree.read(question, self.store.journal.read)
        elif isinstance(question, Writing):
            found = await self.store.journal.write(lambda c: answer(c, question))
        else:
            found = await self.store.journal.read(lambda c: answer(c, question))
        if isinstance(found, RecordsRead):
            items = await self.store.signature_items(found.all)
            found = replace(found, items=tuple(items))
        self.session.supply(found)
        self.changed()

    async def admit_one(self) -> bool:
        admission = self.session.incoming.next_admission()
        if admission is None:
            return False
        try:
            inspected = inspect(admission)
        except PeerError as error:
            self.session.refused(error)
            return True
        self.session.incoming.offer(admission.serial, inspected.records)
        hashes = [record.hash for record in inspected.records]
        self.store.hub.offered(self, hashes)
        outcome = await self.store.journal.admit(
            inspected.records,
            inspected.items,
            session=b"link" + self.store.identity.store,
            now_ms=NOW_MS,
            proofs=inspected.proofs,
        )
        self.parked += len(outcome.parked)
        self.session.admitted(admission.serial, outcome)
        self.store.hub.admitted(self, hashes)
        self.changed()
        return True


def _nothing() -> None:
    """What is due leaves with the next frames."""


def check_closed(message: Records) -> None:
    """Each record is covered by a signature in the message."""
    hashes = [record_digest(envelope) for envelope, _ in message.records]
    covered = {item.tip for item in message.items}
    for (envelope, _), hash_ in reversed(list(zip(message.records, hashes, strict=True))):
        assert hash_ in covered, "a record was sent without a signature that covers it"
        prev = decode_envelope(envelope).prev
        if prev is not None:
            covered.add(prev)


async def settle(*pairs: tuple[End, End]) -> None:
    """Move everything until nothing moves any more."""
    moved, turns = True, 0
    while moved:
        moved = False
        turns += 1
        assert turns < SETTLE_TURNS_MAX, "they never come to rest"
        for pair in pairs:
            for end, other in (pair, pair[::-1]):
                end.store.hub.flush()
                moved |= end.store.look()
                moved |= end.flush(other)
                while end.read_one():
                    moved = True
                moved |= await end.ask_one()
                moved |= await end.admit_one()
                moved |= end.session.sending.has_frames


async def wander(rng: random.Random, steps: int, *pairs: tuple[End, End]) -> None:
    """Some steps, in an order that the seed decides."""
    for _ in range(steps):
        pair = rng.choice(pairs)
        end, other = pair if rng.random() < 0.5 else pair[::-1]
        match rng.randrange(7):
            case 6:
                end.store.look()
            case 4:
                end.store.hub.flush()
            case 5:
                end.is_congested = rng.random() < 0.4
            case 0:
                end.flush(other)
            case 1:
                end.read_one()
            case 2:
                await end.ask_one()
            case 3:
                await end.admit_one()


def link(
    a: Store,
    b: Store,
    *,
    interests: tuple[Interest, Interest] = (EVERYTHING, EVERYTHING),
    windows: tuple[Window | None, Window | None] = (None, None),
    regions: tuple[str | None, str | None] = (None, None),
) -> tuple[End, End]:
    return (
        End(a, interest=interests[0], window=windows[0], region=regions[0]),
        End(b, interest=interests[1], window=windows[1], region=regions[1]),
    )


def cut(pair: tuple[End, End]) -> None:
    """The connection is gone, with whatever was under way."""
    for end in pair:
        end.session.lost("cut")
        end.stop()
        end.inbox.clear()


class PipeEnd:
    """One end of an in-memory connection (a `Transport`). Holds at most a few frames."""

    def __init__(
        self, incoming: asyncio.Queue[bytes | None], outgoing: asyncio.Queue[bytes | None]
    ) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._other: PipeEnd | None = None
        self.is_closed = False
        self.closed_with: tuple[str, str] | None = None

    async def send(self, frame: bytes) -> None:
        if self.is_closed:
            raise LinkLost("the pipe is closed")
        await self._outgoing.put(frame)

    async def receive(self) -> bytes | None:
        if self.is_closed and self._incoming.empty():
            return None
        return await self._incoming.get()

    async def close(self, code: str, reason: str) -> None:
        self.closed_with = self.closed_with or (code, reason)
        self.cut()

    def cut(self) -> None:
        """Both ends read what is left, then the end; a writer that waits for room fails."""
        for end, queue in ((self, self._incoming), (self._other, self._outgoing)):
            if end is not None and not end.is_closed:
                end.is_closed = True
                while queue.full():
                    queue.get_nowait()
                queue.put_nowait(None)


def pipe(*, frames_max: int = 8) -> tuple[PipeEnd, PipeEnd]:
    there: asyncio.Queue[bytes | None] = asyncio.Queue(frames_max)
    back: asyncio.Queue[bytes | None] = asyncio.Queue(frames_max)
    a, b = PipeEnd(back, there), PipeEnd(there, back)
    a._other, b._other = b, a
    return a, b
