"""Confirmations of erasures on one link: each is told once, none is overlooked."""

from __future__ import annotations

from weft_engine.names import ContextName, Position, RecordHash
from weft_engine.storage.erasures import Confirmation
from weft_engine.sync.end.confirming import Confirming
from weft_engine.sync.end.questions import ConfirmationsRead
from weft_engine.sync.interest import EVERYTHING, Interest

ERASER = RecordHash(b"e" * 32)


def one(id_: int, position: int = 1) -> Confirmation:
    return Confirmation(id_, ERASER, b"s" * 16, ContextName("a/b"), Position(position))


def test_what_comes_while_the_store_is_asked_is_asked_for_again() -> None:
    confirming = Confirming()
    assert confirming.next_read(EVERYTHING, Position(9)) is not None
    confirming.is_due = True  # A new one; whether the answer has it nobody knows.
    confirming.take(ConfirmationsRead((one(1),), 1, True), Position(9))
    assert confirming.next_read(EVERYTHING, Position(9)) is not None
    confirming.take(ConfirmationsRead((), 1, True), Position(9))
    assert confirming.next_read(EVERYTHING, Position(9)) is None


def test_nothing_is_told_before_the_peer_holds_its_eraser() -> None:
    confirming = Confirming()
    assert confirming.next_read(EVERYTHING, Position(4)) is not None
    read = ConfirmationsRead((one(1, 3), one(2, 5)), 2, True)
    assert len(confirming.take(read, Position(4))) == 1
    assert confirming.next_read(EVERYTHING, Position(4)) is None
    asked = confirming.next_read(EVERYTHING, Position(5))
    assert asked is not None
    assert asked.after == 1


def of(context: str, id_: int) -> Confirmation:
    return Confirmation(id_, ERASER, bytes((id_,)) * 16, ContextName(context), Position(1))


def all_told(confirming: Confirming, rows: list[Confirmation], interest: Interest) -> list[int]:
    """The ids of what is told now, read one by one."""
    told: list[int] = []
    while (question := confirming.next_read(interest, Position(9))) is not None:
        page = [row for row in rows if row.id > question.after][:1]
        inside = tuple(row for row in page if question.interest.covers(row.context))
        upto = page[-1].id if page else question.after
        read = ConfirmationsRead(inside, upto, not page)
        for message in confirming.take(read, Position(9)):
            told += [store[0] for _, stores in message.entries for store in stores]
    return told


def test_a_round_tells_what_was_not_told_and_nothing_else() -> None:
    rows = [of("a/1", 1), of("b/1", 2), of("a/2", 3), of("b/2", 4)]
    a, both = Interest.of(prefixes=["a/"]), Interest.of(prefixes=["a/", "b/"])
    confirming = Confirming()
    assert all_told(confirming, rows, a) == [1, 3]
    confirming.again(a)
    rows.append(of("a/3", 5))
    assert all_told(confirming, rows, both) == [2, 4, 5]
    confirming.again(both)
    assert all_told(confirming, rows, a) == []


def test_an_answer_about_what_the_link_was_about_before_counts_for_nothing() -> None:
    rows = [of("b/1", 1), of("a/1", 2), of("a/2", 3)]
    a, both = Interest.of(prefixes=["a/"]), Interest.of(prefixes=["a/", "b/"])
    confirming = Confirming()
    confirming.next_read(a, Position(9))
    confirming.again(a)
    assert confirming.take(ConfirmationsRead((rows[1],), 2, False), Position(9)) == []
    assert all_told(confirming, rows, both) == [1, 2, 3]
