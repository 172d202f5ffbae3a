"""A document that is followed record by record is the one that is made anew from all of them."""

from __future__ import annotations

from functools import partial
from random import Random

import pytest

from tests.unit.test_left_out import IDEAS, PLAN, Side, key
from tests.worlds import CONTEXT
from weft_engine.document.assembly import Assembly
from weft_engine.document.document import Document, is_panic
from weft_engine.names import NoteName
from weft_engine.records.envelope import Record
from weft_engine.records.identity import client_id


def empty() -> Assembly[Document]:
    return Assembly(partial(Document, client_id(key(9).incarnation, CONTEXT)), is_panic)


def texts(assembly: Assembly[Document]) -> dict[NoteName, str]:
    return assembly.document.texts()


def history(rng: Random) -> list[Record]:
    """Some writers, of whom machines are cloned now and then, and who hear of each other."""
    sides = [Side(key(1), []), Side(key(2), [])]
    journal: list[Record] = []
    for step in range(40):
        side = rng.choice(sides)
        match rng.randrange(10):
            case 0 if len(sides) < 5:
                sides.append(side.fork())
            case 1 | 2:
                other = rng.choice(sides)
                if other.key is not side.key:
                    held = {record.hash for record in side.history}
                    side.hear(*(one for one in other.history if one.hash not in held))
            case _:
                note = rng.choice((PLAN, IDEAS))
                at = rng.randint(0, len(side.document.text(note)))
                record = side.write(note, at, rng.choice("abc"), hlc=step + 1)
                if record not in journal:
                    journal.append(record)
    return journal


@pytest.mark.parametrize("seed", range(40))
def test_following_records_makes_the_same_document(seed: int) -> None:
    records = history(Random(seed))
    followed = empty()
    for number, record in enumerate(records, 1):
        if not followed.take([record]):
            followed = empty()
            followed.take_all(records[:number])
        anew = empty()
        anew.take_all(records[:number])
        assert texts(followed) == texts(anew)
        assert followed.document.state_vector() == anew.document.state_vector()
        assert followed.problems == anew.problems


def test_a_context_with_an_equivocation_is_followed() -> None:
    """It is made anew for what may reach back, and not for everything that comes after."""
    one = Side(key(1), [])
    shared = one.write(PLAN, 0, "s", hlc=1)
    other = one.fork()
    sides = [one.write(PLAN, 1, "A", hlc=2), other.write(PLAN, 1, "B", hlc=3)]
    assembly = empty()
    assert assembly.take([shared, sides[0]])
    assert not assembly.take([sides[1]])
    assembly.take_all([shared, *sides])
    holding = min((one, other), key=lambda side: side.history[-1].hash)
    losing = other if holding is one else one
    honest = Side(key(2), [shared])
    for hlc in range(4, 8):
        assert assembly.take([honest.write(PLAN, 0, "h", hlc=hlc)])
        assert assembly.take([holding.write(PLAN, 0, "w", hlc=hlc)])
    held = "A" if holding is one else "B"
    assert sorted(assembly.document.text(PLAN)) == sorted("hhhhwwwws" + held)
    assert not assembly.take([losing.write(PLAN, 0, "l", hlc=9)])
