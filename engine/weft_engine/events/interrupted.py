"""Streams that broke off, while records are folded: each stands in the reading order of its branch,
under its own id, as the message that it came to be.

It does so as long as nothing else holds that id. The index has a row for it, of rank TOLD, that
points to the `interrupted` event which tells of it; of several the one that tells most
(`streams.precedence`). What stands so depends on which events are there, not on which came first.
Must never know: SQL, how a stream is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from weft_engine.events.candidate import candidates
from weft_engine.events.event import Event, Interrupted, Message
from weft_engine.events.lines import Lines
from weft_engine.events.row import INTERRUPTED, MESSAGE, ROLES, TOLD, Row, carry_of, id_bytes
from weft_engine.events.sheet import Sheet
from weft_engine.events.streams import as_far_as_it_came, pieces, precedence
from weft_engine.events.table import Journaled
from weft_engine.names import EventId, event_id_hlc, event_id_incarnation
from weft_engine.yjs.reader import read_update


class Told:
    """`place` takes in a message that has no class."""

    def __init__(
        self,
        sheet: Sheet,
        lines: Lines,
        *,
        count: Callable[[EventId, Message], int],
        place: Callable[[Row, Event, Journaled], None],
    ) -> None:
        self._sheet = sheet
        self._lines = lines
        self._count = count
        self._place = place

    def take(self, row: Row, event: Event, journaled: Journaled) -> None:
        """An `interrupted` event was put at `row`."""
        body = event.body
        assert isinstance(body, Interrupted), "only these tell of a stream"
        identity = id_bytes(body.target)
        rival = self._sheet.find(identity)
        if rival is not None:
            if rival.rank != TOLD:
                return
            told = _message(self._sheet.event(rival))
            if precedence(told.parts, self._teller(rival)) < precedence(body.parts, row.id):
                return
            self._lines.remove(rival)
        time = min(event_id_hlc(body.target), journaled.record.envelope.hlc)
        event = as_far_as_it_came(event)
        message = _message(event)
        row = replace(row, key=time.to_bytes(8, "big") + identity, rank=TOLD)
        self._sheet.remember(row, event)
        if not message.parts:
            # It ended before it began: nothing to show, and nothing to wait for.
            self._sheet.put(row)
            return
        row = replace(
            row,
            kind=MESSAGE,
            role=ROLES[message.role],
            tokens=self._count(body.target, message),
            carry=carry_of(message),
        )
        self._place(row, event, journaled)

    def lost(self, row: Row) -> None:
        """The `interrupted` event at `row` lost its id to another candidate. If its stream stood by
        it, the next one tells of the stream; if there is none, the stream has not ended."""
        body = self._sheet.event(row).body
        assert isinstance(body, Interrupted), "its row says so"
        told = self._sheet.find(id_bytes(body.target))
        if told is None or (told.rank, told.position, told.start) != (
            TOLD,
            row.position,
            row.start,
        ):
            return
        self._lines.remove(told)
        others = [other for other in self._others(row) if _target(other[1]) == body.target]
        if not others:
            self._reopen(body.target)
            return
        # The next one may be of long ago, and belong before what has seen it since, or be within
        # what branches share.
        self._lines.order_all_anew()
        for other, event in others:
            self.take(other, event, self._sheet.table.journaled(other.position))

    # ---- inside -------------------------------------------------------------------------------

    def _others(self, lost: Row) -> Iterator[tuple[Row, Event]]:
        """All other `interrupted` events."""
        for row in self._sheet.of_kind(INTERRUPTED):
            if row.rank != TOLD and row.key != lost.key:
                yield row, self._sheet.event(row)

    def _teller(self, told: Row) -> str:
        """The id of the event that a stream's row points to."""
        record = self._sheet.table.journaled(told.position).record
        found = candidates(read_update(record.payload))
        return next(one.key for one in found if one.offset == told.start)

    def _reopen(self, id_: EventId) -> None:
        """The records that add to a stream are to be listed again."""
        table = self._sheet.table
        for position in table.positions_by(event_id_incarnation(id_)):
            record = table.journaled(position).record
            if any(piece.id == id_ for piece in pieces(record, read_update(record.payload))):
                self._sheet.changes.streamed.add((id_bytes(id_), position))


def _message(event: Event) -> Message:
    assert isinstance(event.body, Message), "a broken stream stands as a message"
    return event.body


def _target(event: Event) -> EventId:
    assert isinstance(event.body, Interrupted), "its row says so"
    return event.body.target
