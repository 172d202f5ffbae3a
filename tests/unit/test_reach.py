"""Which regions hold what a store has, as their neighbours tell hop by hop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from tests.linked import End, Store, cut, settle, stores
from weft_engine.limits import LIVE_REGIONS_MAX, REACH_HOLD_MS, REACH_PAIRS_MAX
from weft_engine.names import Position
from weft_engine.storage import tickets
from weft_engine.sync.end.reaching import Pairs
from weft_engine.sync.framing.messages import ByeCode, Cursor, Reach
from weft_engine.sync.interest import EVERYTHING, Interest
from weft_engine.sync.reach import Reach as Board

Pair = tuple[End, End]


def joined(*ends: tuple[Store, str | None], about: Interest = EVERYTHING) -> Pair:
    """A link between two, each a region or a client."""
    (a, ours), (b, theirs) = ends
    return End(a, region=ours, interest=about), End(b, region=theirs)


def tick(pairs: Sequence[Pair], now_ms: int) -> None:
    for pair in pairs:
        for end in pair:
            end.session.tick(now_ms)


async def settled(pairs: Sequence[Pair], now_ms: int) -> None:
    """Everything has moved, positions have been told that are told once a second."""
    for step in range(4):
        tick(pairs, now_ms + 1_000 * step)
        await settle(*pairs)
        for pair in pairs:
            for end in pair:
                end.store.hub.forwarding.announce()
    await settle(*pairs)


async def check(store: Store, regions: dict[str, Store], interest: Interest = EVERYTHING) -> None:
    """What is known at `store` is so."""
    journal = await store.hashes()
    for region, upto in store.reach.holders(interest).items():
        held = set(await regions[region].hashes())
        lacking = [hash_ for hash_ in journal[:upto] if hash_ not in held]
        assert not lacking, f"{region} does not hold all up to {upto}"


@pytest.mark.parametrize(
    "topology", [[(0, 1), (1, 2)], [(0, 1), (1, 2), (2, 3), (3, 0)], [(0, 1), (0, 2), (1, 2)]]
)
def test_a_client_learns_of_every_region_in_any_topology(topology: list[tuple[int, int]]) -> None:
    async def run() -> None:
        count = 1 + max(max(pair) for pair in topology)
        async with stores(count + 1) as (client, *meshed):
            names = [f"r{number}" for number in range(count)]
            regions = dict(zip(names, meshed, strict=True))
            pairs = [joined((meshed[a], names[a]), (meshed[b], names[b])) for a, b in topology]
            await meshed[-1].write("acme/first", "one")
            await settle(*pairs)
            await client.write("acme/a", "before", "the link")
            pairs.append(joined((client, None), (meshed[0], names[0])))
            await settled(pairs, 1_000)
            assert client.reach.holders(EVERYTHING) == {**dict.fromkeys(names, 2), "r0": 3}
            await client.write("acme/a", "more")
            await meshed[-1].write("acme/b", "from elsewhere")
            await settled(pairs, 10_000)
            await check(client, regions)
            # What came from there was not stated there: it is, when somebody wants to know.
            end, wanted = pairs[-1][0], await client.last_position()
            assert wanted == 5
            end.session.tell_when_sent(wanted)
            await settled(pairs, 20_000)
            assert client.reach.holders(EVERYTHING) == dict.fromkeys(names, wanted)
            # Nobody is told of itself, and nobody tells anything when all is quiet.
            for pair in pairs:
                for one, other in (pair, pair[::-1]):
                    ends = {one.session.hello.region, other.session.hello.region}
                    told = [frame for frame in one.sent if isinstance(frame, Reach)]
                    assert not ends & {name for frame in told for name, _ in frame.regions}
            for pair in pairs:
                for one in pair:
                    one.sent.clear()
            await settled(pairs, 30_000)
            said = [frame for pair in pairs for one in pair for frame in one.sent]
            assert not [frame for frame in said if isinstance(frame, Reach | Cursor)]

    asyncio.run(run())


def test_every_region_that_is_configured_is_named_before_it_is_met() -> None:
    async def run() -> None:
        async with stores(3) as (client, eu, us):
            eu.reach.configure(["us"])
            eu.reach.recall(["us", "ap"])
            await client.write("acme/a", "x")
            to_eu = joined((client, None), (eu, "eu"))
            await settled([to_eu], 1_000)
            assert client.reach.holders(EVERYTHING) == {"eu": 1, "us": 0, "ap": 0}
            # A late joiner; and one more of which only it knows.
            us.reach.configure(["sa"])
            pairs = [to_eu, joined((us, "us"), (eu, "eu"))]
            await settled(pairs, 5_000)
            assert client.reach.holders(EVERYTHING) == {"eu": 1, "us": 1, "ap": 0, "sa": 0}

    asyncio.run(run())


def test_a_relay_alone_says_so() -> None:
    async def run() -> None:
        async with stores(2) as (client, eu):
            pair = joined((client, None), (eu, "eu"))
            await settle(pair)
            assert [frame for frame in pair[1].sent if isinstance(frame, Reach)] == [Reach(())]
            assert client.reach.holders(EVERYTHING) == {"eu": 0}
            assert not [frame for frame in pair[0].sent if isinstance(frame, Reach)]

    asyncio.run(run())


def test_parked_records_are_held_by_nobody() -> None:
    async def run() -> None:
        async with stores(4) as (writer, client, eu, us):
            # The first half of a context is at `us` only, and `eu` gets the other half first.
            first = await writer.write("acme/a", "first")
            await writer.write("acme/b", "whole")
            items = [writer.key.sign(first[-1].hash)]
            await client.admit(first, items)
            late = joined((client, None), (eu, "eu"))
            pairs = [late, joined((eu, "eu"), (us, "us"))]
            await settled(pairs, 1_000)
            assert client.reach.holders(EVERYTHING) == {"eu": 1, "us": 1}
            # A message whose record waits for its parent.
            parent = client.make(first[0].envelope.context, "parent", (first[-1].hash,))
            child = client.make(first[0].envelope.context, "child", (parent.hash,))
            await client.admit([parent, child], [client.key.sign(child.hash)])
            assert (await eu.admit([child], [client.key.sign(child.hash)])).parked
            client_end = late[0]
            client_end.store.hub.flush()
            while await client_end.ask_one():
                pass
            client_end.session.tell_when_sent(Position(3))
            assert us.reach.holders(EVERYTHING)["eu"] == 1
            await settled(pairs, 9_000)
            await check(client, {"eu": eu, "us": us})
            assert client.reach.holders(EVERYTHING) == {"eu": 3, "us": 3}

    asyncio.run(run())


def test_what_a_narrow_link_says_counts_for_what_it_is_about() -> None:
    async def run() -> None:
        async with stores(4) as (client, other, eu, us):
            narrow = Interest.of(prefixes=["acme/"])
            mesh = End(eu, region="eu", interest=narrow), End(us, region="us")
            wide = joined((client, None), (eu, "eu"))
            inside = joined((other, None), (eu, "eu"), about=narrow)
            await client.write("acme/a", "x")
            await other.write("acme/b", "y")
            await settled([mesh, wide, inside], 1_000)
            # The wide link may be about what `us` is never sent.
            assert client.reach.holders(EVERYTHING)["us"] == 0
            assert other.reach.holders(narrow)["us"] == 1
            assert other.reach.holders(EVERYTHING)["us"] == 0

    asyncio.run(run())


def test_a_region_that_comes_back_with_another_store_holds_nothing() -> None:
    async def run() -> None:
        # A triangle, of which one end has a region behind it that loses its disk.
        async with stores(6) as (client, a, b, c, old, new):
            regions = {"a": a, "b": b, "c": c, "d": new}
            pairs = [joined((a, "a"), (b, "b")), joined((b, "b"), (c, "c"))]
            pairs += [joined((c, "c"), (a, "a")), joined((client, None), (a, "a"))]
            lost = joined((b, "b"), (old, "d"))
            await client.write("acme/a", "x", "y")
            await settled([*pairs, lost], 1_000)
            assert client.reach.holders(EVERYTHING)["d"] == 2
            cut(lost)
            await settled(pairs, 10_000)
            assert client.reach.holders(EVERYTHING)["d"] == 2, "that was so and may be so still"
            await client.write("acme/a", "z")
            await settled(pairs, 20_000)
            assert client.reach.holders(EVERYTHING)["d"] == 2, "and no more than that is known"
            back = joined((b, "b"), (new, "d"))
            # It has said hello, and holds nothing yet.
            for end, other in (back, back[::-1]):
                end.flush(other)
            for end in back:
                end.read_one()
            await settle(*pairs)
            await check(client, regions)
            assert client.reach.holders(EVERYTHING)["d"] == 0
            await settled([*pairs, back], 30_000)
            await check(client, regions)
            await settled([*pairs, back], 30_000 + 2 * REACH_HOLD_MS)
            assert client.reach.holders(EVERYTHING)["d"] == 3

    asyncio.run(run())


def test_a_region_that_shows_an_old_ticket_is_taken_back() -> None:
    """What it holds is what is found out anew."""

    async def run() -> None:
        async with stores(3) as (client, eu, us):
            pairs = [joined((client, None), (eu, "eu")), joined((eu, "eu"), (us, "us"))]
            await client.write("acme/a", "x", "y")
            await settled(pairs, 1_000)
            assert client.reach.holders(EVERYTHING) == {"eu": 2, "us": 2}
            cut(pairs.pop())
            giver = eu.identity.store
            await us.journal.write(lambda connection: tickets.keep(connection, giver, b"\0" * 16))
            told = pairs[0][1].sent
            told.clear()
            pairs.append(joined((eu, "eu"), (us, "us")))
            await settled(pairs, 5_000)
            said = [frame.regions for frame in told if isinstance(frame, Reach)]
            assert (("us", 0),) in said
            assert client.reach.holders(EVERYTHING) == {"eu": 2, "us": 2}

    asyncio.run(run())


def test_more_regions_than_the_limit_end_the_link() -> None:
    async def run() -> None:
        async with stores(2) as (client, eu):
            pair = joined((client, None), (eu, "eu"))
            await settle(pair)
            for names in (range(40), range(40, 80)):
                reach = Reach(tuple((f"r{number}", Position(0)) for number in names))
                pair[1].session.sending.outbox.put(reach)
            await settle(pair)
            end = pair[0].session.end
            assert end is not None
            assert end.code == ByeCode.LIMIT

    asyncio.run(run())


def test_of_more_regions_than_the_limit_some_are_not_told() -> None:
    async def run() -> None:
        async with stores(3) as (client, eu, us):
            eu.reach.configure([f"r{number}" for number in range(80)])
            pairs = [joined((client, None), (eu, "eu")), joined((eu, "eu"), (us, "us"))]
            await client.write("acme/a", "x")
            await settled(pairs, 1_000)
            assert all(end.session.end is None for pair in pairs for end in pair)
            assert len(client.reach.holders(EVERYTHING)) == 1 + LIVE_REGIONS_MAX

    asyncio.run(run())


def test_names_that_are_made_up_keep_no_region_out() -> None:
    """Neither of the table nor of what those are told who were linked all the time."""
    false = [f"x{number}" for number in range(LIVE_REGIONS_MAX)]

    async def run() -> None:
        async with stores(5) as (client, eu, us, sa, rogue):
            rogue.reach.configure(false)
            to_eu = joined((client, None), (eu, "eu"))
            hostile = joined((rogue, "rogue"), (eu, "eu"))
            await client.write("acme/a", "x")
            await settled([to_eu, hostile], 1_000)
            assert len(eu.reach.regions) == LIVE_REGIONS_MAX
            assert len(client.reach.holders(EVERYTHING)) == 1 + LIVE_REGIONS_MAX // 2
            us.reach.configure(["sa"])
            pairs = [to_eu, hostile, joined((us, "us"), (eu, "eu")), joined((us, "us"), (sa, "sa"))]
            await settled(pairs, 5_000)
            assert "us" in eu.reach.regions
            assert "sa" not in eu.reach.regions, "nobody vouches for who tells of it"
            held = client.reach.holders(EVERYTHING)
            assert held["us"] == held["eu"] == 1
            await check(client, {"us": us, "eu": eu, **dict.fromkeys([*false, "rogue"], rogue)})
            # Whose token says its name is believed before who could come under any.
            eu.reach.vouch("us")
            us.reach.configure(["ap"])
            await sa.write("acme/b", "y")
            await settled(pairs, 10_000)
            assert {"us", "sa"} & set(eu.reach.regions) == {"us", "sa"}
            assert len(eu.reach.regions) == LIVE_REGIONS_MAX
            # And nobody's names make way for anybody's.
            cut(hostile)
            late = joined((rogue, "late"), (eu, "eu"))
            await settled([*pairs[:1], *pairs[2:], late], 15_000)
            assert "late" in eu.reach.regions
            assert all(end.session.end is None for pair in (to_eu, late) for end in pair)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("region", "position", "why"),
    [("eu", 0, "names region eu, an end"), ("us", 9, "which ends at 0")],
)
def test_what_a_peer_can_t_know_ends_the_link(region: str, position: int, why: str) -> None:
    async def run() -> None:
        async with stores(2) as (client, eu):
            pair = joined((client, None), (eu, "eu"))
            await settle(pair)
            pair[1].session.sending.outbox.put(Reach(((region, Position(position)),)))
            await settle(pair)
            end = pair[0].session.end
            assert end is not None
            assert why in end.reason

    asyncio.run(run())


def test_a_round_begins_anew() -> None:
    async def run() -> None:
        async with stores(3) as (client, eu, us):
            one, two = Interest.of(prefixes=["one/"]), Interest.of(prefixes=["one/", "two/"])
            pairs = [joined((eu, "eu"), (us, "us")), joined((client, None), (eu, "eu"), about=one)]
            await client.write("two/a", "x")
            await client.write("one/a", "y")
            await settled(pairs, 1_000)
            assert client.reach.holders(one) == {"eu": 2, "us": 2}
            assert client.reach.holders(two) == {"eu": 0, "us": 0}
            pairs[1][0].session.ask(two)
            await settled(pairs, 10_000)
            assert client.reach.holders(two) == {"eu": 2, "us": 2}
            await check(client, {"eu": eu, "us": us})

    asyncio.run(run())


def test_what_is_told_before_the_lists_of_a_round_counts_for_nothing() -> None:
    """It is about what the link was about before."""

    async def run() -> None:
        async with stores(3) as (client, eu, us):
            one, two = Interest.of(prefixes=["one/"]), Interest.of(prefixes=["one/", "two/"])
            pairs = [joined((eu, "eu"), (us, "us")), joined((client, None), (eu, "eu"), about=one)]
            await client.write("two/a", "x")
            await client.write("one/a", "y")
            await settled(pairs, 1_000)
            end, other = pairs[1]
            end.session.ask(two)
            while end.session.interest != two:
                assert await end.ask_one()
            other.session.sending.outbox.put(Reach((("us", Position(2)),)))
            other.flush(end)
            while end.read_one():
                pass
            assert client.reach.holders(two) == {"eu": 0, "us": 0}
            await settled(pairs, 10_000)
            assert client.reach.holders(two) == {"eu": 2, "us": 2}

    asyncio.run(run())


def test_an_end_without_a_region_tells_nothing() -> None:
    async def run() -> None:
        async with stores(2) as (client, eu):
            pair = joined((client, None), (eu, "eu"))
            await settle(pair)
            pair[0].session.sending.outbox.put(Reach((("us", Position(0)),)))
            await settle(pair)
            end = pair[1].session.end
            assert end is not None
            assert end.code == ByeCode.MALFORMED
            pair = (End(client), End(eu))
            await settle(pair)
            pair[0].session.sending.outbox.put(Cursor(Position(1), b"\0" * 8))
            await settle(pair)
            assert pair[1].session.end is not None

    asyncio.run(run())


def test_of_many_pairs_some_are_forgotten_and_what_is_left_is_true() -> None:
    pairs = Pairs()
    for number in range(1, 5_001):
        pairs.add(Position(number), Position(3 * number), told=Position(0))
    assert len(pairs) <= REACH_PAIRS_MAX
    for head in range(1, 15_010):
        assert pairs.of(Position(head)) <= head // 3
    assert pairs.of(Position(15_000)) == 5_000
    assert pairs.of(Position(14_999)) > 4_900
    assert not pairs.are_all_before(Position(14_999))
    assert pairs.are_all_before(Position(15_000))
    # What is known everywhere needs no pairs.
    pairs.add(Position(6_000), Position(20_000), told=Position(5_000))
    assert len(pairs) == 2
    assert pairs.of(Position(19_999)) == 5_000


@dataclass(eq=False)
class Told:
    """A link as the board sees it, whose peer holds what it `has`."""

    region: str | None
    has: int = 0
    own: Position = field(default_factory=lambda: Position(0))
    tells: bool = True
    interest: Interest = EVERYTHING
    heard: dict[str, Position] = field(default_factory=dict)
    told: dict[str, Position] = field(default_factory=dict)
    due: list[Callable[[], None]] = field(default_factory=list)

    def look(self) -> bool:
        is_more = self.has > self.own
        self.own = Position(self.has)
        return is_more

    def named(self, region: str, /, *, is_sure: bool) -> None:
        self.told[region] = Position(0)

    def reached(self, region: str, upto: Position, /) -> bool:
        self.told[region] = upto
        return upto > 0

    def taken_back(self, region: str, /) -> None:
        self.told[region] = Position(0)

    def soon(self, look: Callable[[], None], /) -> None:
        self.due.append(look)


def test_what_somebody_asks_about_is_told_to_others_too() -> None:
    board, region, client = Board(), Told("us"), Told(None)
    board.join(region, bytes(16))
    board.join(client, bytes(15) + b"c")
    board.stated(client)
    board.look()
    assert client.told == {"us": 0}
    region.due.clear()
    region.has = 7
    assert board.holders(EVERYTHING) == {"us": 7}
    for look in region.due:
        look()
    assert client.told == {"us": 7}
