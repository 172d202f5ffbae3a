"""The gate journals the greatest set that its rules allow, whatever the order and the split, and
what it journals is always covered by a signature that is kept."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.property.test_convergence import empty_store
from tests.worlds import CONTEXT, make_world
from weft_engine.limits import WAITING_RECORDS_MAX
from weft_engine.names import ContextName, Hlc, RecordHash
from weft_engine.records.digest import payload_digest
from weft_engine.records.envelope import Envelope, Kind, Record, decode_envelope, seal
from weft_engine.records.gate import Outcome, admit
from weft_engine.records.identity import SignatureItem, WriterKey
from weft_engine.storage.ledger import Ledger
from weft_engine.storage.shelf import SqliteShelf

Message = tuple[list[Record], list[SignatureItem]]


class Gate:
    """A store behind its gate; counts what each message costs it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self._ledger = Ledger(connection)

    def offer(
        self, records: Sequence[Record], items: Sequence[SignatureItem], *, session: bytes = b"s"
    ) -> Outcome:
        self.connection.execute("BEGIN")
        shelf = SqliteShelf(self.connection, self._ledger, session=session, now_ms=2_000_000)
        outcome = admit(shelf, records, items)
        if shelf.items:
            self._ledger.sign(shelf.items)
        self._ledger.flush()
        self.connection.execute("COMMIT")
        return outcome

    def cost(self, records: Sequence[Record], items: Sequence[SignatureItem]) -> int:
        """How many statements an offer takes."""
        statements: list[str] = []
        self.connection.set_trace_callback(statements.append)
        try:
            self.offer(records, items)
        finally:
            self.connection.set_trace_callback(None)
        return len(statements)

    def journaled(self) -> set[RecordHash]:
        return {RecordHash(row[0]) for row in self.connection.execute("SELECT hash FROM records")}

    def waiting(self) -> int:
        return int(self.connection.execute("SELECT count(*) FROM waiting").fetchone()[0])

    def uncovered(self) -> set[RecordHash]:
        """Journaled records that no kept signature covers."""
        rows = self.connection.execute(
            "SELECT hash, envelope, position IN (SELECT position FROM signatures)"
            " FROM records ORDER BY position DESC"
        )
        covered: set[RecordHash | None] = set()
        found: set[RecordHash] = set()
        for hash_, envelope, signed in rows:
            if signed or hash_ in covered:
                covered.add(decode_envelope(envelope).prev)
            else:
                found.add(RecordHash(hash_))
        return found


def greatest(records: Iterable[Record], items: Iterable[SignatureItem]) -> set[RecordHash]:
    """The set that the rules allow, straight from the definition."""
    known = {record.hash: record for record in records}
    signed = {
        item.tip
        for item in items
        if item.tip in known and known[item.tip].envelope.origin == item.incarnation
    }
    left = set(known)
    while True:
        covered: set[RecordHash] = set()
        for tip in signed & left:
            at: RecordHash | None = tip
            while at is not None and at in left:
                covered.add(at)
                at = known[at].envelope.prev
        kept = {h for h in left & covered if left.issuperset(known[h].envelope.parents)}
        if kept == left:
            return left
        left = kept


def messages(
    rng: random.Random, records: list[Record], items: list[SignatureItem]
) -> list[Message]:
    """The records in any order, some twice; signatures beside their tips, some only when these
    come again, and some by somebody else."""
    of = {item.tip: item for item in items}
    late = {record.hash for record in records if rng.random() < 0.3}
    again = [record for record in records if record.hash in late or rng.random() < 0.2]
    order = [*rng.sample(again, len(again)), *rng.sample(records, len(records))]
    thief = key(77)
    found: list[Message] = []
    came: set[RecordHash] = set()
    while order:
        some = [order.pop() for _ in range(min(len(order), rng.choice((1, 2, 3, 8))))]
        now = {r.hash for r in some if r.hash in came or r.hash not in late}
        beside = [item for hash_, item in of.items() if hash_ in now]
        beside += [thief.sign(r.hash) for r in some if rng.random() < 0.1]
        came.update(record.hash for record in some)
        found.append((some, beside))
    return found


@given(
    seed=st.integers(0, 2**32),
    steps=st.integers(0, 60),
    lost=st.floats(0, 0.15),
    signed=st.floats(0.1, 0.9),
)
@settings(max_examples=150, deadline=None)
def test_any_order_and_split_ends_in_the_greatest_set(
    seed: int, steps: int, lost: float, signed: float
) -> None:
    rng = random.Random(seed)
    world = make_world(seed, steps=steps, forks=0.2)
    records = [record for record in world.records if rng.random() > lost]
    items = [item for item in world.items if rng.random() < signed]
    for _ in range(2):
        with empty_store() as connection:
            gate = Gate(connection)
            known: list[Record] = []
            vouched: list[SignatureItem] = []
            for some, beside in messages(rng, records, items):
                outcome = gate.offer(some, beside)
                known += some
                vouched += beside
                expected = greatest(known, vouched)
                assert gate.journaled() == expected
                assert gate.uncovered() == set()
                assert gate.waiting() == len({r.hash for r in known}) - len(expected)
                assert not outcome.refused
                assert set(outcome.parked) == {r.hash for r in some} - expected
                assert outcome.missing.isdisjoint(r.hash for r in known)
            check_room(connection)


def check_room(connection: sqlite3.Connection) -> None:
    """What is counted of the waiting room is what is in it."""
    counted = connection.execute("SELECT * FROM waiting_room").fetchall()
    assert (
        counted
        == connection.execute(
            "SELECT session, count(*), sum(length(envelope) + length(payload))"
            " FROM waiting GROUP BY session"
        ).fetchall()
    )
    waiting = {row[0] for row in connection.execute("SELECT hash FROM waiting")}
    for hash_, envelope in connection.execute("SELECT hash, envelope FROM waiting").fetchall():
        edges = connection.execute("SELECT missing FROM waiting_for WHERE hash = ?", (hash_,))
        parents = decode_envelope(envelope).parents
        held = {
            row[0] for p in parents
            for row in connection.execute("SELECT hash FROM records WHERE hash = ?", (p,))
        }  # fmt: skip
        assert {row[0] for row in edges} == set(parents) - held
    strays = connection.execute("SELECT hash FROM waiting_for").fetchall()
    assert {row[0] for row in strays} <= waiting


# ---- by hand ------------------------------------------------------------------------------------


def key(number: int) -> WriterKey:
    return WriterKey(number.to_bytes(32, "big"))


def made(
    writer: WriterKey,
    prev: Record | None = None,
    *deps: Record,
    seq: int | None = None,
    hlc: int | None = None,
    context: str = CONTEXT,
    mark: int = 0,
) -> Record:
    envelope = Envelope(
        ContextName(context),
        writer.incarnation,
        seq or (1 if prev is None else prev.envelope.seq + 1),
        None if prev is None else prev.hash,
        tuple(sorted(dep.hash for dep in deps)),
        Hlc(hlc or (1 if prev is None else prev.envelope.hlc + 1) + mark),
        Kind.JOIN,
        payload_digest(b""),
    )
    return seal(envelope, b"")


def stretch(writer: WriterKey, count: int, *deps: Record) -> list[Record]:
    found = [made(writer, None, *deps)]
    while len(found) < count:
        found.append(made(writer, found[-1]))
    return found


def test_a_covered_stretch_waits_with_its_tip() -> None:
    a, b = key(1), key(2)
    far = made(b)
    first = made(a)
    tip = made(a, first, far)
    with empty_store() as connection:
        gate = Gate(connection)
        outcome = gate.offer([first, tip], [a.sign(tip.hash)])
        assert (outcome.applied, outcome.missing) == ([], {far.hash})
        outcome = gate.offer([far], [b.sign(far.hash)])
        assert outcome.applied == [far, first, tip]
        assert gate.uncovered() == set()


def test_stretches_that_wait_for_one_another_are_journaled_together() -> None:
    a, b = key(1), key(2)
    a1, b1 = made(a), made(b)
    a2, b2 = made(a, a1, b1), made(b, b1, a1)
    for order in ([a1, b1, a2, b2], [b2, a2, b1, a1], [a2, a1, b2, b1]):
        with empty_store() as connection:
            gate = Gate(connection)
            of = {a2.hash: a.sign(a2.hash), b2.hash: b.sign(b2.hash)}
            for record in order:
                assert gate.uncovered() == set()
                item = of.get(record.hash)
                gate.offer([record], [] if item is None else [item])
            assert gate.journaled() == {record.hash for record in order}


def test_a_signature_further_on_covers_what_the_nearer_one_can_not() -> None:
    """Two sides of an equivocation: the tip of one waits, the tip of the other is enough."""
    a, b = key(1), key(2)
    shared = made(a)
    stuck = made(a, shared, made(b))
    free = made(a, shared, mark=7)
    with empty_store() as connection:
        gate = Gate(connection)
        gate.offer([shared, stuck], [a.sign(stuck.hash)])
        assert gate.journaled() == set()
        gate.offer([free], [a.sign(free.hash)])
        assert gate.journaled() == {shared.hash, free.hash}


def test_what_was_ready_goes_with_what_it_waited_for() -> None:
    a, b, c = key(1), key(2), key(3)
    far = made(c)
    first = made(a)
    tip = made(a, first, far)
    other = made(b, None, first)
    with empty_store() as connection:
        gate = Gate(connection)
        gate.offer([first, tip, other], [a.sign(tip.hash), b.sign(other.hash)])
        assert gate.journaled() == set()
        gate.offer([far], [c.sign(far.hash)])
        assert gate.journaled() == {first.hash, tip.hash, other.hash, far.hash}


def test_a_signature_in_the_middle_frees_what_is_before_it() -> None:
    a, b = key(1), key(2)
    first = made(a)
    middle = made(a, first)
    tip = made(a, middle, made(b))
    with empty_store() as connection:
        gate = Gate(connection)
        gate.offer([first, middle, tip], [a.sign(tip.hash)])
        assert gate.journaled() == set()
        gate.offer([middle], [a.sign(middle.hash)])
        assert gate.journaled() == {first.hash, middle.hash}
        assert gate.uncovered() == set()


@pytest.mark.parametrize("first", ["child", "parent"])
@pytest.mark.parametrize("why", ["seq", "hlc", "another chain", "another context"])
def test_a_bad_link_is_refused_as_soon_as_it_shows(why: str, first: str) -> None:
    a, b = key(1), key(2)
    parent = made(a)
    match why:
        case "seq":
            child = made(a, parent, seq=9)
        case "hlc":
            child = made(a, parent, hlc=1)
        case "another chain":
            child = made(b, parent)
        case _:
            child = made(b, None, parent, context="other")
    writer = b if why.startswith("another") else a
    behind = made(writer, child, context=child.envelope.context)
    items = {
        parent.hash: a.sign(parent.hash),
        child.hash: writer.sign(child.hash),
        behind.hash: writer.sign(behind.hash),
    }
    order = [behind, child, parent] if first == "child" else [parent, child, behind]
    with empty_store() as connection:
        gate = Gate(connection)
        refused = []
        for record in order:
            refused += gate.offer([record], [items[record.hash]]).refused
        ((hash_, error),) = refused
        assert hash_ == child.hash
        assert (why in error.message) or ("depends on a record of context" in error.message)
        assert gate.journaled() == {parent.hash}
        assert gate.waiting() == 1
        # It may be tried again, with the same end, and what is good goes on.
        assert [h for h, _ in gate.offer([child], [items[child.hash]]).refused] == [child.hash]
        good = made(a, parent)
        assert gate.offer([good], [a.sign(good.hash)]).applied == [good]
        check_room(connection)


def test_a_full_room_drops_and_keeps_its_counts() -> None:
    a, b, c = key(1), key(2), key(3)
    root = made(b)
    full = stretch(a, WAITING_RECORDS_MAX, root)
    alone, lost = made(c), made(c, made(c, mark=3))
    with empty_store() as connection:
        gate = Gate(connection)
        gate.offer(full, [a.sign(full[-1].hash)])
        assert gate.waiting() == WAITING_RECORDS_MAX
        outcome = gate.offer([lost, alone], [c.sign(lost.hash), c.sign(alone.hash)])
        assert (outcome.dropped, outcome.applied) == ([lost.hash], [alone])
        assert gate.waiting() == WAITING_RECORDS_MAX
        assert gate.offer([lost], [], session=b"other").parked == [lost.hash]
        assert len(gate.offer([root], [b.sign(root.hash)]).applied) == WAITING_RECORDS_MAX + 1
        check_room(connection)
        assert gate.waiting() == 1


# ---- what a hostile peer can make it cost --------------------------------------------------------


def test_what_is_parked_costs_the_next_message_nothing() -> None:
    """Shapes that grow by one record a message; the last message costs what the tenth did."""
    a, b, count = key(1), key(2), 400
    root = made(b)
    lost = made(key(3))
    chain = stretch(a, count, root)
    star = [made(key(9 + i), None, root) for i in range(count)]
    loose = stretch(b, count)
    over_loose = [made(key(9 + i), None, loose[-1]) for i in range(count)]
    held_back = [loose[0], made(b, loose[0], lost)]
    over_held_back = [made(key(9), None, loose[0])]
    while len(over_held_back) < count:
        over_held_back.append(made(key(9), over_held_back[-1]))
    many = [made(key(5000 + i)) for i in range(count)]
    wide = [made(key(4), None, *many)]
    while len(wide) < count:
        wide.append(made(key(4), wide[-1]))

    def sign(writer: WriterKey, record: Record) -> Message:
        return [record], [writer.sign(record.hash)]

    shapes: dict[str, tuple[Message, list[Message]]] = {
        "a signed chain without its beginning": (([], []), [sign(a, r) for r in chain]),
        "an unsigned chain": (([], []), [([r], []) for r in loose]),
        "many that wait for one": (
            ([], []),
            [sign(key(9 + i), r) for i, r in enumerate(star)],
        ),
        "signed ones over a long unsigned chain": (
            (loose, []),
            [sign(key(9 + i), r) for i, r in enumerate(over_loose)],
        ),
        "a signed chain over what another tip holds back": (
            (held_back, [b.sign(held_back[-1].hash)]),
            [sign(key(9), r) for r in over_held_back],
        ),
        "parents of one, under a long chain": (
            (wide, [key(4).sign(r.hash) for r in wide]),
            [sign(key(5000 + i), r) for i, r in enumerate(many[:-1])],
        ),
    }
    for name, (before, coming) in shapes.items():
        with empty_store() as connection:
            gate = Gate(connection)
            if before[0]:
                gate.offer(*before)
            costs = [gate.cost(*message) for message in coming]
            assert max(costs[10:]) <= max(costs[:10]) + 2, name
            assert gate.waiting() > 0
