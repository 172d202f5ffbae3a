"""What is made ready once for many links is what each of them would send by itself."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from weft_engine.events.codec import encode_event
from weft_engine.events.event import Event, Message, Role
from weft_engine.events.part import Text
from weft_engine.limits import FRAME_BYTES_MAX, RECORDS_BYTES, RECORDS_PER_FRAME
from weft_engine.names import ContextName, Position, event_id
from weft_engine.records.certificate import RegionKey
from weft_engine.records.clock import HybridClock
from weft_engine.records.digest import payload_digest
from weft_engine.records.envelope import Envelope, Kind, Record, seal
from weft_engine.records.identity import SignatureItem, WriterKey, client_id
from weft_engine.storage.ledger import ERASED, Stored
from weft_engine.sync.end.live import Body, compose, head_of, news_of
from weft_engine.sync.framing.frames import encode
from weft_engine.sync.framing.messages import Records
from weft_engine.yjs.encoder import encode_event_append

NOW_MS = 1_700_000_000_000


class Writer:
    """Chains of one incarnation, straight into an imagined journal."""

    def __init__(self, seed: int = 1, *, kind: Kind = Kind.NATIVE) -> None:
        self.key = WriterKey(random.Random(seed).randbytes(32))
        self._kind = kind
        self._clock = HybridClock()
        self._tips: dict[str, Record] = {}
        self.position = 0

    def write(self, context: str = "c/1", *, size: int = 10) -> Stored:
        name, prev = ContextName(context), self._tips.get(context)
        own = event_id(self._clock.tick(NOW_MS), self.key.incarnation)
        body = encode_event(Event("t", Message(Role.USER, (Text("x" * size),))))
        client = client_id(self.key.incarnation, name)
        payload = encode_event_append(client, self.position, [(own, body)]).payload
        envelope = Envelope(
            name,
            self.key.incarnation,
            1 if prev is None else prev.envelope.seq + 1,
            None if prev is None else prev.hash,
            (),
            self._clock.tick(NOW_MS),
            self._kind,
            payload_digest(payload),
        )
        self._tips[context] = record = seal(envelope, payload)
        self.position += 1
        return Stored(Position(self.position), record, 0)

    def sign(self, *stored: Stored) -> list[SignatureItem]:
        return [self.key.sign(one.record.hash) for one in stored]


def message_of(body: Body, serial: int) -> bytes:
    assert body.shared is not None
    return head_of(serial) + body.said + body.shared


def by_itself(
    serial: int, upto: int, stored: Sequence[Stored], items: Sequence[SignatureItem]
) -> bytes:
    records = tuple((one.record.envelope_bytes, one.record.payload) for one in stored)
    return encode(Records(serial, Position(upto), records, tuple(items)))


@pytest.mark.parametrize("serial", [1, 0x7F, 0x80, 0xFF, 0x100, 0xFFFF, 1 << 16, 1 << 32, 1 << 40])
def test_the_bytes_are_those_of_the_message(serial: int) -> None:
    writer = Writer()
    some = [writer.write(size=size) for size in (1, 300, 70_000)]
    (body,) = compose(news_of(some, writer.sign(some[-1])), Position(9))
    assert message_of(body, serial) == by_itself(serial, 9, some, writer.sign(some[-1]))
    assert body.sent.size == sum(one.record.size for one in some)
    assert body.sent.first == 1


def test_jobs_share_a_message_until_it_is_full() -> None:
    writer = Writer()
    jobs = [[writer.write(size=1000), writer.write(size=1000)] for _ in range(200)]
    news = [one for job in jobs for one in news_of(job, writer.sign(job[-1]))]
    bodies = compose(news, Position(400))
    assert [one for body in bodies for one in body.stored] == [s for job in jobs for s in job]
    assert 1 < len(bodies) < 10
    for body in bodies:
        assert len(message_of(body, 1 << 40)) <= FRAME_BYTES_MAX
        assert len(body.stored) <= RECORDS_PER_FRAME
    # Each says how far everything was sent with it.
    assert [body.upto for body in bodies[:-1]] == [b.sent.first - 1 for b in bodies[1:]]
    assert bodies[-1].upto == 400


def test_many_small_ones_are_cut_by_their_number() -> None:
    writer = Writer()
    news = []
    for _ in range(RECORDS_PER_FRAME + 1):
        one = writer.write(size=1)
        news += news_of([one], writer.sign(one))
    bodies = compose(news, Position(writer.position))
    assert sum(len(body.stored) for body in bodies) == RECORDS_PER_FRAME + 1
    assert all(len(message_of(body, 1)) <= FRAME_BYTES_MAX for body in bodies)


def test_contexts_of_one_job_are_news_by_themselves() -> None:
    writer = Writer()
    some = [writer.write("c/1"), writer.write("c/2"), writer.write("c/1")]
    news = news_of(some, writer.sign(some[1], some[2]))
    assert {one.context: one.stored for one in news} == {
        "c/1": [some[0], some[2]],
        "c/2": [some[1]],
    }
    (body,) = compose([one for one in news if one.context == "c/2"], Position(3))
    assert message_of(body, 1) == by_itself(1, 3, [some[1]], writer.sign(some[1]))


def test_what_is_not_closed_is_not_pushed() -> None:
    writer, other = Writer(), Writer(2)
    first, second = writer.write(), writer.write()
    foreign = Writer(3, kind=Kind.FOREIGN)
    unsure = foreign.write()
    large = writer.write(size=RECORDS_BYTES * 2)
    for some, items in (
        ([first, second], writer.sign(first)),  # the second has no signature
        ([first], []),
        ([first], other.sign(second)),
        ([replace(first, flags=ERASED)], writer.sign(first)),  # wants its eraser
        ([unsure], foreign.sign(unsure)),  # wants its certificate
        ([large], writer.sign(large)),  # wants fragments
    ):
        (body,) = compose(news_of(some, items), Position(9))
        assert body.shared is None
        assert body.stored == some
    certificate = RegionKey(bytes(32)).certify(foreign.key.incarnation)
    items = [replace(item, certificate=certificate) for item in foreign.sign(unsure)]
    (body,) = compose(news_of([unsure], items), Position(9))
    assert message_of(body, 1) == by_itself(1, 9, [unsure], items)


def test_our_own_are_signed_once_when_somebody_is_to_have_them() -> None:
    writer = Writer()
    some = [writer.write(), writer.write()]
    asked: list[Sequence[Stored]] = []

    def sign(stored: Sequence[Stored]) -> list[SignatureItem]:
        asked.append(stored)
        return writer.sign(stored[-1])

    news = news_of(some, [], sign=sign)
    assert asked == []
    for _ in range(2):
        (body,) = compose(news, Position(2))
        assert message_of(body, 1) == by_itself(1, 2, some, writer.sign(some[-1]))
    assert asked == [some]


def test_what_came_from_a_peer_is_left_out_for_it() -> None:
    writer, other = Writer(), Writer(2)
    ours, theirs = writer.write(), other.write("c/2")
    both = [*news_of([ours], writer.sign(ours)), *news_of([theirs], other.sign(theirs))]
    (body,) = compose(both, Position(2))
    mine = body.without({theirs.record.hash})
    assert message_of(mine, 1) == by_itself(1, 2, [ours], writer.sign(ours))
    assert mine.stored == body.stored  # all of it is told, whatever is sent
    assert body.without({bytes(32)}) is body  # type: ignore[arg-type]
    assert body.without({ours.record.hash, theirs.record.hash}).shared == b""
    # Of a job that brought more than came from there, the rest is not closed by itself.
    some = [writer.write(), writer.write()]
    (body,) = compose(news_of(some, writer.sign(some[-1])), Position(4))
    assert body.without({some[0].record.hash}).shared is None
