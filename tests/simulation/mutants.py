"""Each safety rule, broken once: a seed must notice it.

``python -m tests.simulation.mutants`` breaks one rule after the other, each in processes of its
own, and runs histories until one fails. A rule that can be broken without anything failing is a
rule that nothing tests: then the exit status is 1.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pytest

from tests.simulation import disk
from tests.simulation.__main__ import PRELOADED
from tests.simulation.breaking import patch as _patch
from tests.simulation.history import run
from tests.simulation.kinds import Kind as SimKind
from tests.simulation.link_mutants import (
    acknowledge_what_waits,
    answer_answers,
    answer_any_want,
    ask_for_everything,
    compare_any_interest_again,
    compare_nothing_again,
    compare_what_was_read_meanwhile,
    compare_while_something_moves,
    confirm_early,
    count_before_the_lists,
    end_at_the_first_difference,
    forget_what_came_from_elsewhere,
    gather_over_gaps,
    hear_the_first_frontier,
    hear_the_first_zoom,
    keep_cursors_of_another,
    keep_what_was_lost,
    let_nobody_wait_in_vain,
    lose_the_last_frontier,
    never_doubt,
    send_before_the_ticket,
    take_any_context,
    zooms_overtake,
)
from tests.simulation.mesh_mutants import (
    acknowledge_announcements_at_once,
    compare_no_leaves,
    compare_other_records,
    count_one_further,
    count_what_has_come,
    digest_nothing,
    keep_old_claims,
    mark_no_context,
    never_give_back,
    never_pull,
    skip_a_stretch,
    trust_any_ticket,
)
from tests.simulation.relay_mutants import (
    forget_regions,
    let_anybody_edit,
    let_anybody_erase,
    let_readers_edit,
    link_with_any_region,
    never_send_away,
    say_part_is_stored,
    share_an_id,
    show_what_was_not_stored,
    take_from_readers,
    trust_any_region,
    write_for_stores,
)
from weft_engine.document import door
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
from weft_engine.names import ContextName, EventId, Hlc, Incarnation, Position, RecordHash
from weft_engine.records import erasure, gate
from weft_engine.records.digest import record_digest
from weft_engine.records.envelope import Kind, Record, decode_envelope
from weft_engine.records.gate import Outcome
from weft_engine.records.identity import SignatureItem
from weft_engine.replica import live, loading, marking, siblings
from weft_engine.replica.live import LiveDocument
from weft_engine.replica.note import Notes
from weft_engine.replica.projector import Projector
from weft_engine.replica.scribe import Scribe
from weft_engine.replica.stream import Stream
from weft_engine.replica.streams import Streams
from weft_engine.storage import (
    checkpoints,
    cursors,
    erasers,
    identity,
    journal,
    marks,
    schema,
    shelf,
    summaries,
    tenure,
    tickets,
)
from weft_engine.storage.erasers import Erasers
from weft_engine.storage.journal import SqliteJournal
from weft_engine.storage.ledger import Stored
from weft_engine.storage.reading import last_position
from weft_engine.storage.shelf import SqliteShelf
from weft_engine.storage.summaries import Covering, Summaries
from weft_engine.storage.windows import Windows
from weft_engine.storage.writer import Writer
from weft_engine.sync.driving import hub, inspection
from weft_engine.sync.driving.hub import Ear
from weft_engine.sync.end import cursor_questions
from weft_engine.sync.end.comparison import Comparison
from weft_engine.sync.end.cursors import Keeping
from weft_engine.sync.end.following import Following
from weft_engine.sync.end.live import Body
from weft_engine.sync.end.outgoing import Outgoing
from weft_engine.sync.end.pages import Pages
from weft_engine.sync.framing.messages import Cursor
from weft_engine.sync.interest import NOTHING, Interest
from weft_engine.views import build
from weft_engine.yjs.reader import read_update
from weft_server.yjs.room import Room

SEEDS_MAX: Final = 400
_FOUND: Final = 3
"""Exit status of a process in which a history failed."""
_MISFIT: Final = 4
_OF_A_MISFIT: Final = re.compile(r"<locals>\.[\w<>]+\(\) (takes|missing|got) ")
"""What a function that stands in for another one says if it is called as that never was."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """`break_it` changes the engine in this process. None: the rule is of a part that is not
    there yet, so there is nothing to break. `test`: what notices it instead of histories, where
    all replicas go wrong alike, or get in the end what should have come sooner. `kind`: of the
    histories."""

    rule: str
    name: str
    break_it: Callable[[], None] | None
    test: str | None = None
    kind: SimKind = SimKind.DEVICES


# ---- how each one is broken -----------------------------------------------------------------


def pages_outlive() -> None:
    """What was read for many links is given after something of it was erased."""
    _patch(Pages, "forget", lambda self, context: None)


def no_gate() -> None:
    """Records are applied when they come, whether their past is here or not."""

    def at_once(
        shelf: gate.Shelf, records: Sequence[Record], items: Sequence[SignatureItem]
    ) -> Outcome:
        held = shelf.held([record.hash for record in records])
        outcome = Outcome()
        for record in {r.hash: r for r in records if r.hash not in held}.values():
            shelf.append(record)
            outcome.applied.append(record)
        for item in items:
            shelf.sign(item)
        return outcome

    _patch(journal, "admit", at_once)


def synchronous_normal() -> None:
    connect = schema.connect

    def normal(path: Path, *, readonly: bool) -> sqlite3.Connection:
        connection = connect(path, readonly=readonly)
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection

    _patch(journal, "connect", normal)


def acknowledge_first() -> None:
    offer = SqliteJournal.offer

    def at_once(
        self: SqliteJournal, records: Sequence[Record], items: Any, *, done: Any, **options: Any
    ) -> None:
        offer(self, records, items, done=lambda outcome, error: None, **options)
        done(Outcome(applied=list(records)), None)

    _patch(SqliteJournal, "offer", at_once)


def send_back() -> None:
    committed = Outgoing.committed

    def always(self: Outgoing, context: Any, position: Any, *_: Any, **__: Any) -> None:
        committed(self, context, position, from_peer=False)

    _patch(Outgoing, "committed", always)
    _patch(Body, "without", lambda self, hashes: self)


def overflow_skips() -> None:
    """Who can't take what is new when it is handed out does not hear of it."""

    def give(ear: Ear, bodies: Sequence[Body]) -> None:
        for body in bodies:
            ear.push(body.without(ear.session.following.came))

    _patch(hub, "give", give)


def push_first() -> None:
    admit = SqliteJournal.admit

    async def told_before(
        self: SqliteJournal, records: Sequence[Record], items: Any, **options: Any
    ) -> Outcome:
        last = await self.read(last_position)
        some = [Stored(Position(last + 1 + at), record, 0) for at, record in enumerate(records)]
        for hear in tuple(self._commit_listeners):
            hear(some, items)
        return await admit(self, records, items, **options)

    _patch(SqliteJournal, "admit", told_before)


def push_to_all() -> None:
    """What is new goes out in front of what is still to be sent."""
    settled = property(lambda self: not self._has_ended and self._subject.comparison is not None)
    _patch(Following, "is_settled", settled)


def last_set_holds() -> None:
    _patch(fold._Fold, "_beats", lambda self, journaled, candidate, rank, rival: True)


def by_arrival() -> None:
    arrived = iter(range(1, 1 << 60))
    _patch(fold, "event_id_hlc", lambda event: Hlc(next(arrived)))


def refuse_equivocation() -> None:
    append = SqliteShelf.append

    def strict(self: SqliteShelf, record: Record) -> None:
        for (hash_,) in self._connection.execute(
            "SELECT hash FROM records WHERE seq = ? AND context = ? AND origin = ?",
            (
                record.envelope.seq,
                self._ledger.head(record.envelope.context).id,
                self._ledger.origin(record.envelope.origin),
            ),
        ):
            if hash_ != record.hash:
                raise MalformedRecord("there is a record of this number already")
        append(self, record)

    _patch(SqliteShelf, "append", strict)


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

    _patch(SqliteShelf, "append", strict)


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
    _patch(Notes, "_follow", followed)
    _patch(Notes, "edit", edited)


def wait_without_end() -> None:
    _patch(SqliteShelf, "has_room", lambda self, records: True)


def believe_everybody() -> None:
    _patch(SignatureItem, "verify", lambda self: None)


def go_on_after_failure() -> None:
    """The next record takes the number after one that may or may not be on disk."""
    failed = Scribe.failed

    def keep(self: Scribe) -> None:
        key, heads = self._key, dict(self._heads)
        failed(self)
        self._key = key
        self._heads.update(heads)

    _patch(Scribe, "failed", keep)


def follow_any_clock() -> None:
    _patch(shelf, "CLOCK_SKEW_MS_MAX", 1 << 50)


def go_on_beside_a_copy() -> None:
    committed = Scribe.committed

    def blind(self: Scribe, stored: Any, session: bytes) -> Any:
        key = self._key
        if session and key is not None and stored.record.envelope.origin == key.incarnation:
            return None
        return committed(self, stored, session)

    _patch(Scribe, "committed", blind)


def tell_of_failures() -> None:
    """What a batch would have brought is told although its commit failed."""
    submit = Writer.submit

    def remembering(self: Writer, job: Any, *, size: int, done: Any, **options: Any) -> None:
        results: list[Any] = []

        def remembered(connection: sqlite3.Connection) -> Any:
            results.append(job(connection))
            return results[-1]

        def told(result: Any, error: BaseException | None) -> None:
            done(results[-1] if results else result, error)

        submit(self, remembered, size=size, done=told, **options)

    _patch(Writer, "submit", remembering)


def forget_earlier_names() -> None:
    keys = Scribe.keys

    async def present(self: Scribe) -> dict[Incarnation, Any]:
        return {name: key for name, key in (await keys(self)).items() if key is self._key}

    _patch(Scribe, "keys", present)


def count_once_for_an_id() -> None:
    count = Projector.count

    def remembered(self: Projector, event: EventId, message: Any) -> int:
        known = self._counts.get(event)
        return known[1] if known is not None else count(self, event, message)

    _patch(Projector, "count", remembered)


def forget_ends() -> None:
    """The frontier forgets what it should keep: the newest record alone."""
    from weft_engine.storage import ledger

    _patch(ledger, "advance", lambda frontier, parents, new: (new,))


def keep_the_epoch() -> None:
    take_up = identity.take_up

    def kept(path: Path, connection: sqlite3.Connection, *rest: Any, **named: Any) -> Any:
        (epoch,) = connection.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()
        found, resumable, is_leased = take_up(path, connection, *rest, **named)
        connection.execute("UPDATE meta SET value = ? WHERE key = 'epoch'", (epoch,))
        return identity.Identity(found.store, epoch), resumable, is_leased

    _patch(journal, "take_up", kept)


def go_on_after_a_crash() -> None:
    """Whatever the lease says, or that there is none."""
    _patch(identity, "is_valid", lambda *_, **__: True)


def write_before_the_lease_is_gone() -> None:
    _patch(tenure, "consume", lambda store: None)


def take_old_tickets() -> None:
    _patch(tickets, "issue", lambda *_: True)


def never_correct() -> None:
    """Who was ahead once stays ahead."""
    _patch(Scribe, "_is_ahead", lambda self, hlc: False)


def take_erased_payloads() -> None:
    _patch(Erasers, "arriving", lambda self, record: (record, False))


def forget_to_erase() -> None:
    _patch(journal, "pending", lambda connection: [])


def erase_without_the_log() -> None:
    async def cut(self: SqliteJournal) -> bool:
        return True

    _patch(SqliteJournal, "truncate_log", cut)


def take_any_stand_in() -> None:
    def let_in(envelope: bytes, payload: bytes, *, erasures: Any) -> Record:
        try:
            return door.let_in(envelope, payload, erasures=erasures)
        except MalformedRecord:
            read = decode_envelope(envelope)
            return Record(RecordHash(record_digest(envelope)), read, envelope, payload)

    _patch(inspection, "let_in", let_in)


def believe_checkpoints() -> None:
    def load(connection: sqlite3.Connection, state: Any) -> Any:
        row = connection.execute(
            "SELECT position, CAST(state AS BLOB), CAST(tips AS BLOB) FROM checkpoints"
            " WHERE context = ?",
            (state.id,),
        ).fetchone()
        tips = None if row is None else checkpoints._unpack(row[2])
        return None if tips is None else checkpoints.Checkpoint(row[0], row[1], tips)

    _patch(checkpoints, "load", load)


def move_the_head_first() -> None:
    """The end of a chain moves for a record that is turned down because the store closes."""
    append_update = Scribe.append_update

    async def moved(self: Scribe, name: ContextName, payload: bytes, structs: int) -> None:
        if self._closed:
            self._heads[name].append(payload, structs, self._clock.tick(self._wall.now_ms()))
        await append_update(self, name, payload, structs)

    _patch(Scribe, "append_update", moved)


def take_what_another_says_of_a_stream() -> None:
    class Anybody:
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = None  # type: ignore[assignment]

    _patch(event_streams, "event_id_incarnation", lambda event: Anybody())


def lose_who_tells_of_a_stream() -> None:
    _patch(erasers, "told_by", lambda update, payload: None)
    _patch(erasure, "told_by", lambda update, payload: None)


def flush_later() -> None:
    async def at_once(self: Stream) -> None:
        self._check_open()

    _patch(Stream, "flush", at_once)


def leave_streams_open() -> None:
    async def nothing(self: Streams) -> None:
        pass

    _patch(Streams, "_end_left", nothing)


def borrow_everything() -> None:
    _patch(Within, "has", lambda self, position, identity: True)
    _patch(Within, "has_record", lambda self, position: True)


def revoke_nothing() -> None:
    _patch(Standing, "stands", lambda self, key, event: True)


def decide_facts_by_arrival() -> None:
    load = marks.load_facts

    def arrived(table: Any, standing: Standing, memo: Any = None) -> list[SaidFact]:
        rows = {row.id: row for row in table.of_kind(KINDS[Fact])}
        return [
            replace(one, key=rows[one.id].position.to_bytes(32, "big"))
            for one in load(table, standing, memo)
        ]

    for module in (marks, marking):
        _patch(module, "load_facts", arrived)


def show_hidden() -> None:
    load = marks.load_marks
    _patch(loading, "load_marks", lambda *a, **named: replace(load(*a, **named), hidden={}))


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

    _patch(Summaries, "_work_out", any_length)


def lose_what_is_late() -> None:
    standing = Covering.standing
    _patch(Covering, "standing", lambda self: replace(standing(self), late=frozenset()))


def keep_old_hints() -> None:
    _patch(Windows, "follow", lambda self, changes: None)


def count_no_names() -> None:
    count = openai_outgoing._message
    _patch(
        openai_outgoing,
        "_message",
        lambda said, *how: count({k: v for k, v in said.items() if k != "name"}, *how),
    )


def say_no_cause() -> None:
    _patch(build, "causes", lambda before, after: ())


def forget_the_waist() -> None:
    stretches = siblings._stretches

    def behind(order: Any) -> Any:
        for rows in stretches(order):
            yield rows[rows[0].waist :]

    _patch(siblings, "_stretches", behind)


def resume_without_the_row() -> None:
    """A cursor stands if its position does."""

    def any_row(connection: sqlite3.Connection, interest: Any, cursor: Cursor) -> Any:
        row = cursors.row_at(connection, cursor.position)
        return behind(connection, interest, cursor if row is None else replace(cursor, row=row))

    behind = cursor_questions._behind
    _patch(cursor_questions, "_behind", any_row)


def outlive_epochs() -> None:
    """A cursor is good for ever, although positions may have been used again since."""

    def ever(connection: sqlite3.Connection, between: Any) -> Any:
        if not cursors._is_made(connection):
            return None
        row = connection.execute(
            "SELECT position, row, sent, met FROM cursors WHERE peer = ? AND interest = ?",
            (between.peer, between.interest),
        ).fetchone()
        return None if row is None else cursors.Place(*row)

    _patch(cursors, "held", ever)


def join_without_catching_up() -> None:
    """What is newly covered is pushed from then on, and what was there before is not compared."""

    def joined(self: Comparison, interest: Any, without: Any) -> None:
        begin(self, interest, without)
        self._without = interest

    def nothing(*_: Any) -> Any:
        return NOTHING

    begin = Comparison.begin
    _patch(Comparison, "begin", joined)
    _patch(Interest, "beyond", nothing)


def keep_cursors_at_once() -> None:
    """Before the records that came before them are durable."""
    move = Keeping._move
    _patch(Keeping, "_move", lambda self, oldest: move(self, 1 << 60))


def author_nothing_again() -> None:
    """What changes nothing in the document is not written, whatever it says."""
    _patch(live, "unchanged", lambda sent, update, held, erased: None)


def author_without_what_is_needed() -> None:
    async def nothing(self: LiveDocument, offered: Any) -> bool:
        return False

    _patch(LiveDocument, "lacks", nothing)


def echo_before_commit() -> None:
    append = Scribe.append_foreign

    async def at_once(self: Scribe, name: ContextName, payloads: Sequence[bytes]) -> None:
        asyncio.get_running_loop().create_task(append(self, name, payloads))

    _patch(Scribe, "append_foreign", at_once)


def echo_what_comes_again_at_once() -> None:
    """Also what is being committed."""
    take_one = Room._take_one

    async def taken(self: Room, offer: Any) -> Any:
        made = await take_one(self, offer)
        if made is not None and not made:
            self._say_stored([offer])
            return None
        return made

    _patch(Room, "_take_one", taken)


def serve_while_loading() -> None:
    load = LiveDocument.load

    async def begun(self: LiveDocument) -> None:
        asyncio.get_running_loop().create_task(load(self))
        await asyncio.sleep(0)
        self.is_torn = False

    _patch(LiveDocument, "load", begun)


def _in_mesh(rule: str, name: str, break_it: Callable[[], None]) -> Mutant:
    return Mutant(rule, name, break_it, kind=SimKind.MESH)


MUTANTS: Final = (
    Mutant("a record is applied after its whole past", "no gate", no_gate),
    Mutant("a commit is on disk", "synchronous = NORMAL", synchronous_normal),
    Mutant("commit, then acknowledge", "acknowledge, then commit", acknowledge_first),
    Mutant("only what is new here is forwarded", "known records go back", send_back),
    Mutant("overflow is read from the journal", "overflow skips", overflow_skips),
    Mutant("commit, then hand out", "echo before commit", push_first),
    Mutant(
        "only settled links are pushed to",
        "live body to a link that is not settled",
        push_to_all,
        "tests/property/test_hub.py",
    ),
    Mutant("events are read from bytes", "the last set of an id holds", last_set_holds),
    Mutant("an equivocation is admitted", "its second side is refused", refuse_equivocation),
    Mutant("a peer refuses nothing for its state", "taken event ids are refused", refuse_taken_ids),
    Mutant("the document follows the journal", "a failed edit stays in it", document_ahead),
    Mutant("the waiting room has a limit", "it has none", wait_without_end),
    Mutant("order does not depend on arrival", "order by arrival", by_arrival),
    Mutant("a signature is verified", "it is not", believe_everybody),
    Mutant("a number is used once", "heads survive a failed commit", go_on_after_failure),
    Mutant("a skewed record moves no clock", "it moves everybody's", follow_any_clock),
    Mutant("who was copied takes a new name", "it goes on under the old one", go_on_beside_a_copy),
    Mutant("commit, then tell", "failed commits are told, too", tell_of_failures),
    Mutant("earlier names can still sign", "their keys are forgotten", forget_earlier_names),
    Mutant("tokens are those of the event shown", "those of any of its id", count_once_for_an_id),
    Mutant("a frontier keeps all ends", "it keeps the newest", forget_ends),
    Mutant("an unclean start takes a new epoch", "the epoch stays", keep_the_epoch),
    Mutant("an unclean start takes a new name", "the old one goes on", go_on_after_a_crash),
    Mutant("no lease while records are written", "it stays", write_before_the_lease_is_gone),
    Mutant("a copy shows an old ticket", "it is taken for the last", take_old_tickets),
    Mutant("a clock that ran ahead comes back", "it stays ahead", never_correct),
    Mutant("what is erased is never taken again", "it is taken", take_erased_payloads),
    Mutant("erasing goes on after a crash", "it is forgotten", forget_to_erase),
    Mutant("what is erased is in no file", "it stays in the log", erase_without_the_log),
    Mutant("a stand-in comes with its eraser", "it is taken without", take_any_stand_in),
    Mutant(
        "what is erased is sent to nobody",
        "what many read outlives it",
        pages_outlive,
        test="tests/integration/test_erasing_meanwhile.py::"
        "test_what_was_read_for_links_goes_with_what_is_erased",
    ),
    Mutant("a checkpoint is verified", "it is believed", believe_checkpoints),
    Mutant(
        "a chain goes on where it ended",
        "behind what never was",
        move_the_head_first,
        "tests/integration/test_scribe.py"
        "::test_what_is_turned_down_at_the_end_is_no_link_of_a_chain",
    ),
    Mutant(
        "a stream is its own writer's",
        "anybody's pieces count",
        take_what_another_says_of_a_stream,
        "tests/unit/test_stream_pieces.py",
    ),
    Mutant(
        "who tells of a stream is erased with it",
        "that stays",
        lose_who_tells_of_a_stream,
        "tests/integration/test_streams.py::test_who_tells_of_an_erased_stream_later_is_not_heard",
    ),
    Mutant("what is flushed is on disk", "it is not yet", flush_later),
    Mutant("a broken stream is ended at the next open", "it stays open", leave_streams_open),
    Mutant("a branch shares what its `from` holds", "it shares everything", borrow_everything),
    Mutant("what is revoked has no effect", "a revoke does nothing", revoke_nothing),
    Mutant("facts don't depend on arrival", "the last to come counts", decide_facts_by_arrival),
    Mutant(
        "a hidden message is in no view",
        "it is shown",
        show_hidden,
        "tests/integration/test_views.py",
    ),
    Mutant(
        "a summary stands for what it says",
        "any summary is believed",
        believe_summaries,
        "tests/integration/test_compacting.py"
        "::test_a_summary_that_says_what_is_not_so_does_not_apply",
    ),
    Mutant(
        "what is late is shown behind a summary",
        "it is left out",
        lose_what_is_late,
        "tests/integration/test_compacting.py",
    ),
    Mutant(
        "a hint goes when the order moves",
        "an old hint stays",
        keep_old_hints,
        "tests/integration/test_windows.py::test_what_comes_late_takes_the_hints_behind_it_away",
    ),
    Mutant("a budget counts names", "names are free", count_no_names),
    Mutant("a view says why it changed", "it says nothing", say_no_cause),
    Mutant("siblings don't depend on arrival", "who came first is forgotten", forget_the_waist),
    Mutant(
        "a cursor names its row",
        "its position is enough",
        resume_without_the_row,
        "tests/unit/test_resuming.py",
    ),
    Mutant(
        "a cursor is of one epoch",
        "it outlives that",
        outlive_epochs,
        "tests/unit/test_resuming.py",
    ),
    Mutant(
        "who subscribes catches up first",
        "it joins without",
        join_without_catching_up,
    ),
    Mutant(
        "a cursor is kept behind its records",
        "it is kept at once",
        keep_cursors_at_once,
        "tests/unit/test_resuming.py",
    ),
    Mutant(
        "every candidate is in a record",
        "not what changes nothing",
        author_nothing_again,
        "tests/integration/test_live_document.py"
        "::test_an_event_whose_place_is_taken_by_nothing_is_still_written",
    ),
    Mutant("what is written builds on the journal", "on anything", author_without_what_is_needed),
    Mutant("commit, then echo to tabs", "echo before commit (Yjs)", echo_before_commit),
    Mutant(
        "what comes twice is echoed once it is stored", "at once", echo_what_comes_again_at_once
    ),
    Mutant("a room serves all of a document", "a half-loaded one", serve_while_loading),
    Mutant(
        "who shows an unknown ticket compares",
        "it resumes",
        trust_any_ticket,
        "tests/unit/test_resuming.py::test_a_cursor_that_stands_again_by_chance_is_refused",
    ),
    _in_mesh("a tree is brought up to date", "no context is marked", mark_no_context),
    _in_mesh("regions compare down to contexts", "leaves are all alike", compare_no_leaves),
    _in_mesh("who is live is told anew", "claims are kept when a link ends", keep_old_claims),
    Mutant(
        "what is announced is pulled",
        "nothing is asked for",
        never_pull,
        "tests/unit/test_forwarding.py::test_one_of_those_that_announced_is_asked_and_then_the_next",
    ),
    _in_mesh(
        "what is announced is acknowledged when it is here",
        "announcements at once",
        acknowledge_announcements_at_once,
    ),
    _in_mesh("a region is said to hold what it holds", "one position more", count_one_further),
    _in_mesh("what is stated is durable", "what has come is stated", count_what_has_come),
    _in_mesh("an index that is wrong is found", "digests of nothing", digest_nothing),
    _in_mesh("an index that is right is not blamed", "other records", compare_other_records),
    _in_mesh("regions find exactly what is lacking", "a zoom skips a stretch", skip_a_stretch),
    Mutant(
        "what was asked of a dead link is asked of others",
        "it keeps that",
        never_give_back,
        "tests/unit/test_zooming.py::test_what_a_link_was_asked_for_is_asked_of_others_at_its_end",
    ),
    Mutant(
        "a link that lives compares again",
        "roots are all alike",
        compare_nothing_again,
        "tests/unit/test_repeating.py::test_what_got_lost_in_silence_ends_the_link_and_the_next_one_mends_it",
    ),
    Mutant(
        "only what is still is compared again",
        "at any time",
        compare_while_something_moves,
        "tests/unit/test_repeating.py::test_no_root_is_told_before_it_has_been_still_for_a_while",
    ),
    Mutant(
        "a tree that moved meanwhile is not told",
        "it is told",
        compare_what_was_read_meanwhile,
        "tests/unit/test_repeating.py"
        "::test_a_tree_says_nothing_if_something_came_while_it_was_read",
    ),
    Mutant(
        "what differs once is compared once more",
        "the link ends at once",
        end_at_the_first_difference,
        "tests/unit/test_repeating.py::test_what_differs_once_is_compared_again_before_anything_is_done",
    ),
    Mutant(
        "who never agrees is linked anew more rarely",
        "as often as others",
        never_doubt,
        "tests/unit/test_repeating.py::test_who_never_agrees_is_linked_anew_ever_more_rarely",
    ),
    Mutant(
        "a root that answers is not answered",
        "it is, for ever",
        answer_answers,
        "tests/unit/test_repeating.py::test_many_trees_make_an_end_read_one",
    ),
    Mutant(
        "a tree that is not kept is compared once",
        "again and again",
        compare_any_interest_again,
        "tests/unit/test_repeating.py::test_less_than_everything_is_not_compared_again",
    ),
    _in_mesh("what goes together is all sent", "the last one is not", lose_the_last_frontier),
    _in_mesh("what goes together is all heard", "the first frontier is", hear_the_first_frontier),
    _in_mesh("all answers to frontiers are heard", "the first one is", hear_the_first_zoom),
    _in_mesh("what goes together keeps its order", "answers overtake", zooms_overtake),
    _in_mesh("gathered acknowledgements leave gaps", "they reach over them", gather_over_gaps),
    Mutant("what waits is not acknowledged", "parked records are", acknowledge_what_waits),
    Mutant("only all of an update is echoed", "a part is enough", say_part_is_stored),
    Mutant(
        "an erasure is confirmed to who has its eraser",
        "to everybody",
        confirm_early,
        "tests/unit/test_confirming.py::test_nothing_is_told_before_the_peer_holds_its_eraser",
    ),
    Mutant(
        "what came from elsewhere is compared",
        "the peer is taken to have it",
        forget_what_came_from_elsewhere,
    ),
    Mutant(
        "a copy forgets its cursors",
        "it keeps them",
        keep_cursors_of_another,
        "tests/unit/test_resuming.py::test_a_copy_forgets_its_cursors",
    ),
    Mutant(
        "a ticket is kept before records are sent",
        "records go first",
        send_before_the_ticket,
        "tests/unit/test_tickets.py::test_nothing_is_sent_while_the_fresh_ticket_has_not_come",
    ),
    Mutant(
        "what is told before the lists counts for nothing",
        "it counts",
        count_before_the_lists,
        "tests/unit/test_reach.py::test_what_is_told_before_the_lists_of_a_round_counts_for_nothing",
    ),
    Mutant(
        "who is asked and brings nothing makes way",
        "others wait",
        let_nobody_wait_in_vain,
        "tests/unit/test_zooming.py::test_who_is_asked_and_sends_nothing_makes_way",
    ),
    Mutant(
        "another store of a region holds nothing",
        "it holds what the former one held",
        keep_what_was_lost,
        "tests/unit/test_reach.py::test_a_region_that_comes_back_with_another_store_holds_nothing",
    ),
    Mutant(
        "a relay that begins anew remembers regions",
        "it knows none",
        forget_regions,
        "tests/integration/test_peers.py"
        "::test_a_region_that_was_away_and_one_that_comes_late_get_all",
    ),
    Mutant(
        "of two regions with one id one takes another",
        "both keep it",
        share_an_id,
        "tests/integration/test_wrong_peers.py"
        "::test_of_two_regions_with_one_id_the_one_with_the_greater_name_takes_another",
    ),
    Mutant(
        "a region is who its token and its place say",
        "whoever says so",
        link_with_any_region,
        "tests/integration/test_wrong_peers.py",
    ),
    Mutant(
        "records need the right to append",
        "a reader's are taken",
        take_from_readers,
        "tests/integration/test_relay.py"
        "::test_without_the_right_to_append_a_link_reads_and_no_more",
    ),
    Mutant(
        "what is asked for is sent if the link is about it",
        "whatever is asked for",
        answer_any_want,
        "tests/unit/test_session.py::test_what_is_asked_for_is_sent_if_the_link_is_about_it",
    ),
    Mutant(
        "what comes is taken if the link is about it",
        "whatever comes",
        take_any_context,
        "tests/unit/test_session.py::test_records_outside_the_interest_end_the_link",
    ),
    Mutant(
        "a link is about what both ends name",
        "what one of them names",
        ask_for_everything,
        "tests/unit/test_subscribing.py::test_what_is_not_permitted_is_not_carried",
    ),
    Mutant("a room shows what is stored", "what could not be, too", show_what_was_not_stored),
    Mutant(
        "a store's Yjs client id is its own",
        "Yjs clients use it",
        write_for_stores,
        "tests/integration/test_yjs_hostile.py::test_nobody_gives_out_the_clocks_of_a_store",
    ),
    Mutant(
        "a Yjs client does what its token says",
        "readers edit",
        let_readers_edit,
        "tests/integration/test_yjs.py::test_who_may_only_read_may_say_nothing_new",
    ),
    Mutant(
        "foreign records need a trusted certificate",
        "any region's will do",
        trust_any_region,
        "tests/integration/test_trust.py",
    ),
    Mutant(
        "erasing needs its right",
        "anybody may",
        let_anybody_erase,
        "tests/integration/test_erasure_rights.py",
    ),
    Mutant(
        "editing needs its right",
        "who may append may edit",
        let_anybody_edit,
        "tests/integration/test_note_rights.py::test_a_note_does_not",
    ),
    Mutant(
        "who has lost its token is sent away",
        "who has entered stays",
        never_send_away,
        "tests/integration/test_doors.py::test_a_revoked_token_ends_its_links_and_no_others",
    ),
)


# ---- running them ---------------------------------------------------------------------------


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mutants", description=__doc__)
    parser.add_argument("--only", help="mutants whose rule or name contains this")
    parser.add_argument("--seeds", default=f"0:{SEEDS_MAX}", help="FIRST:LAST")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    options = parser.parse_args()
    first, last = map(int, options.seeds.split(":"))
    if options.inside is not None:
        return _inside(options.inside, range(first, last))
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS), "names tell them apart"
    chosen = [m for m in MUTANTS if options.only is None or options.only in f"{m.rule}: {m.name}"]
    return _outside(chosen, range(first, last), options.jobs)


def _inside(name: str, seeds: range) -> int:
    """The first seed that fails with this mutant and holds without it."""
    mutant = next(mutant for mutant in MUTANTS if mutant.name == name)
    break_one(name)
    if mutant.test is not None:
        return _tested(mutant)
    for seed in seeds:
        broken = run(seed, kind=mutant.kind).broken
        if broken is not None and _holds(seed, mutant.kind):
            return _say(f"seed {seed}", broken.splitlines()[0])
    return 0


@contextmanager
def _broken_children(name: str) -> Iterator[None]:
    """The rule is broken in processes that a test starts, too: relays are such."""
    before = os.environ.get("PYTHONPATH")
    with TemporaryDirectory(prefix="weft-mutant-") as folder:
        module = f"tests.simulation.{Path(__file__).stem}"
        lines = f"from {module} import break_one\n\nbreak_one({name!r})\n"
        Path(folder, "sitecustomize.py").write_text(lines)
        paths = [folder, os.getcwd(), *([] if before is None else [before])]
        os.environ["PYTHONPATH"] = os.pathsep.join(paths)
        yield
    # Nothing that is started later finds what is gone.
    os.environ["PYTHONPATH"] = "" if before is None else before


def break_one(name: str) -> None:
    mutant = next(mutant for mutant in MUTANTS if mutant.name == name)
    if mutant.break_it is not None:
        mutant.break_it()


def _tested(mutant: Mutant) -> int:
    """Whether a test that passes without the mutant fails."""
    failed = _Failed()
    imported = "ignore::pytest.PytestAssertRewriteWarning"
    options = ["-q", "-x", "-p", "no:cacheprovider", "-W", imported]
    assert mutant.test is not None
    with _broken_children(mutant.name):
        status = pytest.main([*options, mutant.test], plugins=[failed])
    if status is not pytest.ExitCode.TESTS_FAILED:
        return int(status)
    print()
    unbroken = [sys.executable, "-m", "pytest", *options, failed.name]
    if subprocess.run(unbroken, stdout=subprocess.DEVNULL, check=False).returncode:
        print(f"{failed.name} fails without the mutant, too")
        return 1
    return _say("test", failed.name, failed.why)


def _say(by: str, what: str, why: str = "") -> int:
    """What noticed it, and what that took."""
    times = os.times()
    spent_s = times.user + times.system + times.children_user + times.children_system
    print(f"{by}\t{spent_s:.0f}\t{what}")
    return _MISFIT if _OF_A_MISFIT.search(why or what) else _FOUND


class _Failed:
    name = why = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.name = report.nodeid
            self.why = report.longreprtext.replace("\n", " ")


def _holds(seed: int, kind: SimKind) -> bool:
    """Whether the engine as it is passes this history."""
    command = [sys.executable, "-m", "tests.simulation", "--seed", str(seed), "--kind", kind]
    return subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode == 0


def _outside(mutants: Sequence[Mutant], seeds: range, jobs: int) -> int:
    library = disk.build()
    if library is None:
        print("no C compiler: rules about disks can't be tested here")
    environment = {**os.environ, PRELOADED: "1", "LD_PRELOAD": str(library or "")}
    waiting = [mutant for mutant in mutants if mutant.break_it is not None]
    running: list[tuple[Mutant, subprocess.Popen[str]]] = []
    survivors = 0
    for mutant in mutants:
        if mutant.break_it is None:
            print(f"{mutant.rule:44} | {mutant.name:30} | not there yet")
    while waiting or running:
        while waiting and len(running) < jobs:
            mutant = waiting.pop(0)
            command = [sys.executable, "-m", "tests.simulation.mutants", "--inside", mutant.name]
            command += ["--seeds", f"{seeds.start}:{seeds.stop}"]
            process = subprocess.Popen(
                command,
                env=environment,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            running.append((mutant, process))
        for entry in list(running):
            mutant, process = entry
            if process.poll() is None:
                continue
            running.remove(entry)
            said = process.communicate()[0].strip()
            by, spent_s, what = ([*said.rpartition("\n")[2].split("\t", 2), "", ""])[:3]
            survivors += process.returncode != _FOUND
            if process.returncode == 0:
                found = f"SURVIVED {mutant.test or f'{len(seeds)} histories'}"
            elif process.returncode == _FOUND:
                found = f"killed by {by} ({spent_s} s of CPU): {what[:90]}"
            elif process.returncode == _MISFIT:
                found = f"OUT OF DATE, {by}: {what[:90]}"
            else:
                found = f"NOT RUN: the process ended with {process.returncode}"
            print(f"{mutant.rule:44} | {mutant.name:30} | {found}", flush=True)
        time.sleep(0.05)
    return int(survivors > 0)


if __name__ == "__main__":
    sys.exit(main())
