"""Confirmations of erasures on one link: each is told once, none is overlooked."""

from __future__ import annotations

from weft_engine.names import ContextName, Position, RecordHash
from weft_engine.storage.erasures import Confirmation
from weft_engine.sync.confirming import Confirming
from weft_engine.sync.interest import EVERYTHING
from weft_engine.sync.questions import ConfirmationsRead

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
