"""Laws of the preamble, on generated histories: within its room, whole units, nothing twice,
nothing that ended, the same whatever was asked before, and cut whatever else there is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.preambles import (
    TOKENIZER,
    call,
    entry,
    fact,
    id_at,
    key_at,
    new_shelf,
    result,
    texts,
    units,
)
from weft_engine.events.event import Criticality, Lifetime, Role
from weft_engine.events.facts import FactBook
from weft_engine.names import EventId
from weft_engine.views.count import count_message
from weft_engine.views.decay import Decay
from weft_engine.views.entry import Entry
from weft_engine.views.marks import Marks, StandingPin, StandingSummary
from weft_engine.views.preamble import preamble
from weft_engine.views.shown import Rule

NOW = 50
SHELF = new_shelf()
words = st.sampled_from(
    ["hi", "a longer remark about it", "\U0001f600" * 9, "long " * 60, "\n", ""]
)
crits = st.sampled_from([None, None, None, *Criticality])
lives = st.sampled_from([None, None, *Lifetime])
expiries = st.sampled_from([None, None, NOW, NOW + 1])


@st.composite
def histories(draw: st.DrawFn) -> list[Entry]:
    found: list[Entry] = []
    for time in range(1, draw(st.integers(0, 9)) + 1):
        open_calls = [one for one in found if one.message.role is Role.ASSISTANT]
        match draw(st.sampled_from(["say", "say", "call", "result"])):
            case "call":
                found.append(call(time))
            case "result" if open_calls:
                of = draw(st.sampled_from(open_calls))
                found.append(result(time, of.time >> 16, draw(words), draw(crits)))
            case _:
                found.append(
                    entry(
                        time,
                        draw(words),
                        role=draw(st.sampled_from([Role.USER, Role.SYSTEM])),
                        crit=draw(crits),
                        life=draw(lives),
                        expires=draw(expiries),
                    )
                )
    return found


@st.composite
def all_marks(draw: st.DrawFn) -> Marks:
    targets = st.lists(st.integers(1, 10), max_size=4)
    said = [
        fact(
            time,
            draw(st.sampled_from(["a", "b", "a\nb"])),
            draw(st.sampled_from(["1", '"x"', '"' + "y" * 900 + '"', "null"])),
            rule=draw(st.sampled_from(["last", "union", "max"])),
            crit=draw(crits),
            expires=draw(expiries),
        )
        for time in draw(st.lists(st.integers(1, 60), max_size=5, unique=True))
    ]
    summary = StandingSummary(key_at(3), id_at(3), draw(words) * 3, 4, id_at(3))
    return Marks(
        pins=tuple(StandingPin(key_at(70), id_at(time)) for time in draw(targets)),
        hidden={id_at(time): id_at(80) for time in draw(targets)},
        book=FactBook(said),
        summary=draw(st.sampled_from([None, summary])),
        closes=tuple(key_at(time) for time in draw(st.sampled_from([[], [4], [2, 6]]))),
    )


policies = st.sampled_from([None, Decay(10**6), Decay(2)])


@given(histories(), all_marks(), policies, st.integers(0, 400), st.sets(st.integers(1, 10)))
def test_laws(
    entries: list[Entry],
    marks: Marks,
    policy: Decay | None,
    room: int,
    elsewhere: set[int],
) -> None:
    past = units(entries, SHELF)
    shown = {id_at(time) for time in elsewhere}
    placed = preamble(
        marks, past, policy, NOW, room, SHELF, start=key_at(30), shown=frozenset(shown)
    )

    # Within its room, by what is really sent.
    cost = sum(count_message(p.message, TOKENIZER) for one in placed for p in one.pieces)
    assert cost == sum(one.tokens for one in placed) <= room

    # Whole units of the past in its order, each once; then the facts, then the summary.
    carried = [one for one in placed if one.ids]
    assert list(placed[: len(carried)]) == carried
    ours = [one.rules - {Rule.SHORTENED} for one in placed[len(carried) :]]
    assert ours in ([], [{Rule.FACTS}], [{Rule.SUMMARY}], [{Rule.FACTS}, {Rule.SUMMARY}])
    left = iter(past)
    pinned = {pin.target for pin in marks.pins}
    by_id = {one.id: one.message for one in entries}
    for one in carried:
        source = next(unit for unit in left if unit.ids == one.ids)
        assert len(one.pieces) == len(source.pieces)
        assert (one.pieces == source.pieces) == (Rule.SHORTENED not in one.rules)
        # Nothing that is hidden, shown elsewhere or over.
        ids: tuple[EventId, ...] = one.ids
        assert ids[0] not in shown
        assert not any(id_ in marks.hidden for id_ in ids)
        first = by_id[ids[0]]
        assert first.expires is None or first.expires > NOW
        assert (Rule.PINNED in one.rules) == any(id_ in pinned for id_ in ids)
        if Rule.PINNED not in one.rules:
            assert first.life is not Lifetime.IMMEDIATE
        if Rule.RECALLED in one.rules:
            assert policy is not None

    # The same from an empty memo, and with the past named twice.
    again = preamble(
        marks,
        [*units(entries, new_shelf()), *past],
        policy,
        NOW,
        room,
        new_shelf(),
        start=key_at(30),
        shown=frozenset(shown),
    )
    assert [(unit.ids, unit.tokens) for unit in again] == [(one.ids, one.tokens) for one in placed]
    assert texts(again) == texts(placed)

    # What is said from the window's start on changes nothing.
    earlier = [one for one in marks.book.before(key_at(30)) if one.expires != NOW]
    has_facts = any(Rule.FACTS in one.rules for one in placed)
    assert earlier or not has_facts

    # Whatever is cut is cut as it would be alone.
    for one in carried:
        if Rule.SHORTENED in one.rules:
            alone = Marks(pins=(StandingPin(key_at(70), one.ids[0]),))
            lonely = [unit for unit in past if unit.ids == one.ids]
            (cut,) = preamble(alone, lonely, None, NOW, room, SHELF)
            assert texts([cut]) == texts([one])


@given(histories(), all_marks(), st.integers(0, 300), st.integers(0, 60))
def test_where_there_is_room_everything_that_is_wanted_is_there_whole(
    entries: list[Entry], marks: Marks, room: int, more: int
) -> None:
    """Where everything fits whole, everything that is wanted is there."""
    past = units(entries, SHELF)
    wanted = preamble(marks, past, None, NOW, 10**7, SHELF)
    assert not any(Rule.SHORTENED in one.rules for one in wanted)
    total = sum(one.tokens for one in wanted)
    big = max((one.tokens for one in wanted), default=0)
    enough = max(total, 8 * big, 8 * 600) + room + more
    assert texts(preamble(marks, past, None, NOW, enough, SHELF)) == texts(wanted)
