"""Rules of a store, of writing and of erasing, each broken once; `tests.simulation.mutants` runs
them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.simulation.breaking import patch
from weft_engine.document import door
from weft_engine.errors import MalformedRecord
from weft_engine.names import ContextName, Incarnation, RecordHash
from weft_engine.records import gate
from weft_engine.records.digest import record_digest
from weft_engine.records.envelope import Record, decode_envelope
from weft_engine.records.gate import Outcome
from weft_engine.records.identity import SignatureItem
from weft_engine.replica.scribe import Scribe
from weft_engine.storage import (
    checkpoints,
    identity,
    journal,
    schema,
    shelf,
    tenure,
    tickets,
    write_back,
)
from weft_engine.storage.erasers import Erasers
from weft_engine.storage.journal import SqliteJournal
from weft_engine.storage.shelf import SqliteShelf
from weft_engine.storage.writer import Writer
from weft_engine.sync.driving import inspection


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

    patch(journal, "admit", at_once)


def synchronous_normal() -> None:
    _sync_as(journal, "NORMAL")


def write_back_unsynced() -> None:
    """The log is used anew before what was in it is on the disk elsewhere."""
    _sync_as(write_back, "OFF")


def _sync_as(room: ModuleType, how: str) -> None:
    """The connections that a module makes sync less than they should."""
    connect = schema.connect

    def careless(path: Path, *, readonly: bool) -> sqlite3.Connection:
        connection = connect(path, readonly=readonly)
        connection.execute(f"PRAGMA synchronous = {how}")
        return connection

    patch(room, "connect", careless)


def acknowledge_first() -> None:
    offer = SqliteJournal.offer

    def at_once(
        self: SqliteJournal, records: Sequence[Record], items: Any, *, done: Any, **options: Any
    ) -> None:
        offer(self, records, items, done=lambda outcome, error: None, **options)
        done(Outcome(applied=list(records)), None)

    patch(SqliteJournal, "offer", at_once)


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

    patch(SqliteShelf, "append", strict)


def wait_without_end() -> None:
    patch(SqliteShelf, "has_room", lambda self, records: True)


def believe_everybody() -> None:
    patch(SignatureItem, "verify", lambda self: None)


def go_on_after_failure() -> None:
    """The next record takes the number after one that may or may not be on disk."""
    failed = Scribe.failed

    def keep(self: Scribe) -> None:
        key, heads = self._key, dict(self._heads)
        failed(self)
        self._key = key
        self._heads.update(heads)

    patch(Scribe, "failed", keep)


def follow_any_clock() -> None:
    patch(shelf, "CLOCK_SKEW_MS_MAX", 1 << 50)


def go_on_beside_a_copy() -> None:
    committed = Scribe.committed

    def blind(self: Scribe, stored: Any, session: bytes) -> Any:
        key = self._key
        if session and key is not None and stored.record.envelope.origin == key.incarnation:
            return None
        return committed(self, stored, session)

    patch(Scribe, "committed", blind)


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

    patch(Writer, "submit", remembering)


def forget_earlier_names() -> None:
    keys = Scribe.keys

    async def present(self: Scribe) -> dict[Incarnation, Any]:
        return {name: key for name, key in (await keys(self)).items() if key is self._key}

    patch(Scribe, "keys", present)


def forget_ends() -> None:
    """The frontier forgets what it should keep: the newest record alone."""
    from weft_engine.storage import ledger

    patch(ledger, "advance", lambda frontier, parents, new: (new,))


def keep_the_epoch() -> None:
    take_up = identity.take_up

    def kept(path: Path, connection: sqlite3.Connection, *rest: Any, **named: Any) -> Any:
        (epoch,) = connection.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()
        found, resumable, is_leased = take_up(path, connection, *rest, **named)
        connection.execute("UPDATE meta SET value = ? WHERE key = 'epoch'", (epoch,))
        return identity.Identity(found.store, epoch), resumable, is_leased

    patch(journal, "take_up", kept)


def go_on_after_a_crash() -> None:
    """Whatever the lease says, or that there is none."""
    patch(identity, "is_valid", lambda *_, **__: True)


def write_before_the_lease_is_gone() -> None:
    patch(tenure, "consume", lambda store: None)


def take_old_tickets() -> None:
    patch(tickets, "issue", lambda *_: True)


def never_correct() -> None:
    """Who was ahead once stays ahead."""
    patch(Scribe, "_is_ahead", lambda self, hlc: False)


def take_erased_payloads() -> None:
    patch(Erasers, "arriving", lambda self, record: (record, False))


def forget_to_erase() -> None:
    patch(journal, "pending", lambda connection: [])


def erase_without_the_log() -> None:
    async def cut(self: SqliteJournal) -> bool:
        return True

    patch(SqliteJournal, "truncate_log", cut)


def take_any_stand_in() -> None:
    def let_in(envelope: bytes, payload: bytes, *, erasures: Any) -> Record:
        try:
            return door.let_in(envelope, payload, erasures=erasures)
        except MalformedRecord:
            read = decode_envelope(envelope)
            return Record(RecordHash(record_digest(envelope)), read, envelope, payload)

    patch(inspection, "let_in", let_in)


def believe_checkpoints() -> None:
    def load(connection: sqlite3.Connection, state: Any) -> Any:
        row = connection.execute(
            "SELECT position, CAST(state AS BLOB), CAST(tips AS BLOB) FROM checkpoints"
            " WHERE context = ?",
            (state.id,),
        ).fetchone()
        tips = None if row is None else checkpoints._unpack(row[2])
        return None if tips is None else checkpoints.Checkpoint(row[0], row[1], tips)

    patch(checkpoints, "load", load)


def move_the_head_first() -> None:
    """The end of a chain moves for a record that is turned down because the store closes."""
    append_update = Scribe.append_update

    async def moved(self: Scribe, name: ContextName, payload: bytes, structs: int) -> None:
        if self._closed:
            self._heads[name].append(payload, structs, self._clock.tick(self._wall.now_ms()))
        await append_update(self, name, payload, structs)

    patch(Scribe, "append_update", moved)
