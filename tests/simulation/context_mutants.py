"""Rules of what a context shows, each broken once; `tests.simulation.mutants` runs them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.simulation.breaking import patch
from weft_engine.document.document import Document
from weft_engine.errors import MalformedRecord
from weft_engine.events import fold
from weft_engine.events import streams as event_streams
from weft_engine.events.candidate import candidates
from weft_engine.events.event import Fact
from weft_engine.events.facts import SaidFact
from weft_engine.events.row import KINDS
from weft_engine.events.standing import Standing
from weft_engine.events.within import Within
from weft_engine.formats import openai_outgoing
from weft_engine.names import EventId, Hlc, Incarnation
from weft_engine.records import erasure
from weft_engine.records.envelope import Kind, Record, decode_envelope
from weft_engine.replica import loading, marking, siblings
from weft_engine.replica.note import Notes
from weft_engine.replica.projector import Projector
from weft_engine.replica.stream import Stream
from weft_engine.replica.streams import Streams
from weft_engine.storage import (
    erasers,
    marks,
    summaries,
)
from weft_engine.storage.shelf import SqliteShelf
from weft_engine.storage.summaries import Covering, Summaries
from weft_engine.storage.windows import Windows
from weft_engine.views import build
from weft_engine.yjs.reader import read_update


def last_set_holds() -> None:
    patch(fold._Fold, "_beats", lambda self, journaled, candidate, rank, rival: True)


def by_arrival() -> None:
    arrived = iter(range(1, 1 << 60))
    patch(fold, "event_id_hlc", lambda event: Hlc(next(arrived)))


def refuse_taken_ids() -> None:
    append = SqliteShelf.append

    def strict(self: SqliteShelf, record: Record) -> None:
        keys = set()
        if record.envelope.kind is Kind.NATIVE:
            keys = {c.key for c in candidates(read_update(record.payload))}
        for envelope, payload in self._connection.execute("SELECT envelope, payload FROM records"):
            if decode_envelope(envelope).kind is Kind.NATIVE and not keys.isdisjoint(
                c.key for c in candidates(read_update(payload))
            ):
                raise MalformedRecord("there is an event of this id already")
        append(self, record)

    patch(SqliteShelf, "append", strict)


def document_ahead() -> None:
    follow, edit = Notes._follow, Notes.edit

    async def followed(self: Notes, writer: Incarnation | None) -> Document:
        document = await follow(self, writer)
        _kept[id(self)] = self._loaded
        return document

    async def edited(self: Notes, *arguments: Any) -> None:
        try:
            await edit(self, *arguments)
        except BaseException:
            loaded = _kept.get(id(self))
            self._loaded = loaded
            if loaded is not None:
                loaded.writer = self._replica.scribe.incarnation
            raise

    _kept: dict[int, Any] = {}
    patch(Notes, "_follow", followed)
    patch(Notes, "edit", edited)


def count_once_for_an_id() -> None:
    count = Projector.count

    def remembered(self: Projector, event: EventId, message: Any) -> int:
        known = self._counts.get(event)
        return known[1] if known is not None else count(self, event, message)

    patch(Projector, "count", remembered)


def take_what_another_says_of_a_stream() -> None:
    class Anybody:
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = None  # type: ignore[assignment]

    patch(event_streams, "event_id_incarnation", lambda event: Anybody())


def lose_who_tells_of_a_stream() -> None:
    patch(erasers, "told_by", lambda update, payload: None)
    patch(erasure, "told_by", lambda update, payload: None)


def flush_later() -> None:
    async def at_once(self: Stream) -> None:
        self._check_open()

    patch(Stream, "flush", at_once)


def leave_streams_open() -> None:
    async def nothing(self: Streams) -> None:
        pass

    patch(Streams, "_end_left", nothing)


def borrow_everything() -> None:
    patch(Within, "has", lambda self, position, identity: True)
    patch(Within, "has_record", lambda self, position: True)


def revoke_nothing() -> None:
    patch(Standing, "stands", lambda self, key, event: True)


def decide_facts_by_arrival() -> None:
    load = marks.load_facts

    def arrived(table: Any, standing: Standing, memo: Any = None) -> list[SaidFact]:
        rows = {row.id: row for row in table.of_kind(KINDS[Fact])}
        return [
            replace(one, key=rows[one.id].position.to_bytes(32, "big"))
            for one in load(table, standing, memo)
        ]

    for module in (marks, marking):
        patch(module, "load_facts", arrived)


def show_hidden() -> None:
    load = marks.load_marks
    patch(loading, "load_marks", lambda *a, **named: replace(load(*a, **named), hidden={}))


def believe_summaries() -> None:
    """A summary stands whether all it covers is here or not."""

    def any_length(self: Summaries, candidate: Any) -> Any:
        summary = candidate.summary
        extent = summaries.extent_of(self._order, summary.covers, summary.upto)
        covered = () if extent is None else summaries.covered_by(self._order, self.rows, extent)
        if not covered:
            return "it covers nothing"
        last = covered[-1][0]
        return Covering(candidate, last.place or 0, last.id, frozenset())

    patch(Summaries, "_work_out", any_length)


def lose_what_is_late() -> None:
    standing = Covering.standing
    patch(Covering, "standing", lambda self: replace(standing(self), late=frozenset()))


def keep_old_hints() -> None:
    patch(Windows, "follow", lambda self, changes: None)


def count_no_names() -> None:
    count = openai_outgoing._message
    patch(
        openai_outgoing,
        "_message",
        lambda said, *how: count({k: v for k, v in said.items() if k != "name"}, *how),
    )


def say_no_cause() -> None:
    patch(build, "causes", lambda before, after: ())


def forget_the_waist() -> None:
    stretches = siblings._stretches

    def behind(order: Any) -> Any:
        for rows in stretches(order):
            yield rows[rows[0].waist :]

    patch(siblings, "_stretches", behind)
