"""Cursors that one end of a link tells."""

from __future__ import annotations

from weft_engine.names import Position
from weft_engine.sync.end.cursor_questions import ReadRow
from weft_engine.sync.end.cursors import Telling
from weft_engine.sync.end.head import Head
from weft_engine.sync.framing.messages import Cursor


def test_a_cursor_whose_row_was_read_slowly_is_not_told_behind_a_newer_one() -> None:
    telling = Telling()
    telling.is_on = True
    assert telling.next(Head(Position(5)), Position(6)) == ReadRow(Position(6))
    assert telling.is_newest(Cursor(Position(6), b"six"))
    telling.moved(Position(7))
    telling.tick(60_000)
    newer = Cursor(Position(7), b"seven")
    assert telling.next(Head(Position(7), b"seven"), Position(7)) == newer
    assert not telling.is_newest(Cursor(Position(6), b"six"))
