"""Repairing a store: its sound records go through the causal gate into a new file.

One mechanism for every kind of damage. The damaged file is read page by page (`salvage`); what is
proved by its own hashes and a signature is journaled anew, in order; what depends on a record that
is lost here waits, as it would if it had come from a peer, and is journaled when a peer brings
that record. Event indexes are made anew. What erasers name is
replaced in the new file whatever was found of it. Then the new file takes the old one's place,
which stays under another name.
Must never know: who asks, how it is told.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from weft_engine.errors import NotAStore, StoreError
from weft_engine.events.event import Message
from weft_engine.limits import ERASING_STEP_RECORDS
from weft_engine.names import EventId, Incarnation, RecordHash
from weft_engine.records.envelope import Kind, Record, decode_envelope
from weft_engine.records.erasure import Eraser
from weft_engine.records.gate import admit
from weft_engine.records.identity import SignatureItem
from weft_engine.storage.carry import SideTables, read_side_tables, write_side_tables
from weft_engine.storage.draft import DAMAGED, beside, drafted, kept_name, swap, undo_unfinished
from weft_engine.storage.erasing import clear_rooms, finish, pending, plan, step
from weft_engine.storage.ledger import Ledger
from weft_engine.storage.lock import WriterLock
from weft_engine.storage.pages import Pages
from weft_engine.storage.projection import next_step, save_step
from weft_engine.storage.salvage import Found, Salvage, look_through
from weft_engine.storage.schema import APPLICATION_ID, make_tables
from weft_engine.storage.shelf import SqliteShelf
from weft_engine.storage.verify import Progress, verify
from weft_engine.views.count import count_message
from weft_engine.views.tokenizer import DEFAULT_TOKENIZER, Tokenizer

_BATCH_RECORDS: Final = 512
_BATCH_BYTES: Final = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class RepairedContext:
    """`saved` are journaled, `waiting` are sound and wait for what is lost, `lost` are gone from
    this file; `missing` are the hashes that are waited for, as far as nothing here has them."""

    name: str
    saved: int
    waiting: int
    lost: int
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Repaired:
    """What became of a damaged store. `lost_elsewhere`: lost records of which not even the context
    is known; `unreadable`: tables beside the journal that could not be read to their end."""

    contexts: tuple[RepairedContext, ...]
    lost_elsewhere: int
    unreadable: tuple[str, ...]
    own_keys: int
    kept: Path

    @property
    def saved(self) -> int:
        return sum(context.saved for context in self.contexts)

    @property
    def waiting(self) -> int:
        return sum(context.waiting for context in self.contexts)

    @property
    def lost(self) -> int:
        return sum(context.lost for context in self.contexts) + self.lost_elsewhere


def repair(
    store: Path, *, now_ms: int, random: Callable[[int], bytes], progress: Progress
) -> Repaired:
    """Rebuild the store at `store` from everything in it that is sound.

    Raises StoreLocked, NotAStore if the file says that it is none and holds no record, StoreError
    if there is no room; then nothing was changed. No connection of this process may be open on it.
    """
    if not store.is_file():
        raise NotAStore(f"there is no store at {store}", hint="check the path")
    lock = WriterLock(store)
    lock.acquire()
    try:
        undo_unfinished(store)
        side = read_side_tables(store)
        _check_room(store)
        kept = kept_name(store, DAMAGED, now_ms)
        with drafted(store, random(8)) as draft:
            with Pages(store) as pages:
                rebuild = Rebuild(look_through(pages), side, now_ms, progress)
                if pages.application_id != APPLICATION_ID and not rebuild.has_anything:
                    raise NotAStore(
                        f"{store} is not a Weft store: no record was found in it",
                        hint="the file was not changed; give another path",
                    )
                store_id = side.store_id or random(16)
                contexts, lost_elsewhere = rebuild.write(draft, store_id, random(8))
            report = verify(draft, progress=progress)
            if not report.is_sound:
                raise StoreError(
                    f"the repair of {store} failed its own check: {report.findings[0].what}",
                    hint="the store was not changed; please report this",
                )
            # Its log goes along: SQLite would drop what stands behind a damaged frame.
            swap(draft, store, kept=kept)
    except OSError as error:
        raise StoreError(f"the store {store} can't be repaired: {error}") from error
    finally:
        lock.release()
    return Repaired(contexts, lost_elsewhere, side.unreadable, rebuild.own_keys, kept)


def _check_room(store: Path) -> None:
    log = beside(store, "-wal")
    needed = store.stat().st_size + (log.stat().st_size if log.exists() else 0)
    free = shutil.disk_usage(store.parent).free
    if free < needed:
        raise StoreError(
            f"a repair of {store} needs {needed:,} bytes of free disk, there are {free:,}",
            hint="make room, or copy the file to a larger disk and repair it there",
        )


class Rebuild:
    """Fills a new store from what was salvaged."""

    def __init__(self, salvage: Salvage, side: SideTables, now_ms: int, progress: Progress) -> None:
        self._salvage = salvage
        self._side = side
        self._now_ms = now_ms
        self._progress = progress
        self._positions: dict[int, RecordHash] = {}
        """Of the damaged store, as far as sound records stand there."""
        self._sound: Counter[str] = Counter()
        """Journaled records that can be read, by context."""
        self._origins: set[Incarnation] = set()
        self._session = 0
        self._uncertified_upto = 0
        self._tokenizer = Tokenizer(DEFAULT_TOKENIZER)
        side.find_erasers(salvage.proofs)
        salvage.find_erasers()

    @property
    def has_anything(self) -> bool:
        return any(self._salvage.records_at(position) for position in self._salvage.rows)

    @property
    def own_keys(self) -> int:
        return len(self._salvage.writers)

    def write(
        self, draft: Path, store_id: bytes, epoch: bytes
    ) -> tuple[tuple[RepairedContext, ...], int]:
        with closing(sqlite3.connect(draft, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("PRAGMA journal_mode = MEMORY")
            connection.execute("PRAGMA secure_delete = ON")
            make_tables(connection, store_id=store_id, epoch=epoch, created_ms=self._now_ms)
            connection.execute("BEGIN")
            ledger = Ledger(connection)
            for batch in self._batches_of(self._found()):
                self._admit(connection, ledger, batch)
            for waiting in self._batches_of(self._parked()):
                self._admit(connection, ledger, waiting)
            self._sign_waiting(connection, ledger)
            self._keep_keys(connection, ledger)
            connection.execute(
                "UPDATE meta SET value = ? WHERE key = 'uncertified_upto'",
                (self._uncertified_upto,),
            )
            write_side_tables(connection, self._side)
            self._erase(connection, ledger, store_id)
            self._index(connection)
            connection.execute("COMMIT")
            connection.execute("PRAGMA journal_mode = WAL")
            return self._account(connection)

    # ---- records ------------------------------------------------------------------------------

    def _found(self) -> Iterator[tuple[Found, list[SignatureItem]]]:
        named = set(self._salvage.tips)
        doubtful: list[tuple[int, RecordHash]] = []
        for number, position in enumerate(sorted(self._salvage.rows), start=1):
            self._progress("saving records", number, len(self._salvage.rows))
            for found in self._salvage.records_at(position):
                items = list(self._salvage.items(found))
                if not found.is_named and not items:
                    doubtful.append((position, found.record.hash))
                    continue
                named.update(found.record.envelope.parents)
                self._note(found)
                yield found, items
        # What stands under another hash is believed if a record that is, or a frontier, names it.
        for position, hash_ in reversed(doubtful):
            for found in self._salvage.records_at(position):
                if found.record.hash == hash_ and hash_ in named:
                    named.update(found.record.envelope.parents)
                    self._note(found)
                    yield found, []

    def _note(self, found: Found) -> None:
        if self._positions.get(found.position) != found.record.hash:
            self._sound[found.record.envelope.context] += 1
        self._positions[found.position] = found.record.hash

    def _parked(self) -> Iterator[tuple[Found, list[SignatureItem]]]:
        for (record, erasers), items in self._side.waiting(self._salvage.read):
            yield Found(0, record, erasers, is_named=True), items

    @staticmethod
    def _batches_of(
        found: Iterator[tuple[Found, list[SignatureItem]]],
    ) -> Iterator[list[tuple[Found, list[SignatureItem]]]]:
        batch: list[tuple[Found, list[SignatureItem]]] = []
        size = 0
        for one in found:
            batch.append(one)
            size += one[0].record.size
            if len(batch) >= _BATCH_RECORDS or size >= _BATCH_BYTES:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    def _admit(
        self,
        connection: sqlite3.Connection,
        ledger: Ledger,
        batch: Sequence[tuple[Found, list[SignatureItem]]],
    ) -> None:
        """Through the gate, as if a peer had sent it."""
        proofs = {}
        for one, _ in batch:
            if one.erasers:
                proofs[one.record.hash] = self._salvage.proofs.signed(one.erasers)
                connection.executemany(
                    "INSERT OR IGNORE INTO stand_ins VALUES (?, ?)",
                    [(one.record.hash, eraser) for eraser in one.erasers],
                )
        if proofs:
            ledger.erasers.reset()
        self._origins.update(one.record.envelope.origin for one, _ in batch)
        left = [(one, items) for one, items in batch if self._is_certified(one) or not items]
        left += [(one, []) for one, items in batch if items and not self._is_certified(one)]
        while True:
            records = [one.record for one, _ in left]
            items = [item for _, some in left for item in some]
            items += self._own_items(records, {item.tip for item in items})
            refused = self._offer(connection, ledger, records, items, proofs)
            if not refused:
                break
            # Nothing is stored of what has something wrong in it: again, without that.
            for one, _ in left:
                if one.record.hash in refused and one.position:
                    self._sound[one.record.envelope.context] -= 1
            left = [(one, some) for one, some in left if one.record.hash not in refused]

    def _offer(
        self,
        connection: sqlite3.Connection,
        ledger: Ledger,
        records: Sequence[Record],
        items: Sequence[SignatureItem],
        proofs: Mapping[RecordHash, Sequence[Eraser]],
    ) -> set[RecordHash]:
        """Which of the records were refused; then none was taken. Each call is a session of its
        own: what one may have waiting is limited, and here nothing may be turned away."""
        self._session += 1
        session = b"repair" + self._session.to_bytes(8, "big")
        shelf = SqliteShelf(connection, ledger, session=session, now_ms=self._now_ms, proofs=proofs)
        outcome = admit(shelf, records, items)
        assert not outcome.dropped, "a batch is smaller than a waiting room"
        ledger.sign(shelf.items)
        ledger.flush()
        for stored in shelf.stored:
            envelope = stored.record.envelope
            if envelope.kind is Kind.FOREIGN and envelope.origin not in self._salvage.certificates:
                self._uncertified_upto = stored.position
        offered = {record.hash for record in records}
        return {hash_ for hash_, _ in outcome.refused if hash_ in offered}

    def _is_certified(self, found: Found) -> bool:
        """Whether a signature may count for it. A foreign record that was journaled came with a
        certificate, or before there were any: if that is lost here, the record is let pass and
        `uncertified_upto` says so. One that waits has to wait for somebody who has it."""
        envelope = found.record.envelope
        return (
            envelope.kind is not Kind.FOREIGN
            or envelope.origin in self._salvage.certificates
            or found.position > 0
        )

    def _sign_waiting(self, connection: sqlite3.Connection, ledger: Ledger) -> None:
        """What we wrote ourselves need not wait for the signature of something later that waits:
        sign whatever could be journaled."""
        items: list[SignatureItem] = []
        for hash_, envelope in connection.execute(
            "SELECT hash, envelope FROM waiting WHERE lacks = 0 AND signature IS NULL"
        ):
            decoded = decode_envelope(envelope)
            key = self._salvage.writers.get(decoded.origin)
            if key is not None and (
                decoded.kind is not Kind.FOREIGN or decoded.origin in self._salvage.certificates
            ):
                items.append(key.sign(RecordHash(hash_)))
        if items:
            self._offer(connection, ledger, (), items, {})

    def _erase(self, connection: sqlite3.Connection, ledger: Ledger, store_id: bytes) -> None:
        """Do the work of every eraser in the new file: an old page may have brought back what it
        names."""
        done = self._side.done(self._positions)
        positions = pending(connection)
        for number, position in enumerate(positions, start=1):
            self._progress("erasing", number, len(positions))
            work = plan(connection, position)
            for start in range(0, len(work.positions), ERASING_STEP_RECORDS):
                step(connection, work, work.positions[start : start + ERASING_STEP_RECORDS])
            if work.hash not in done:
                clear_rooms(connection, ledger.erasers, work)
            finish(connection, work, store_id)

    def _own_items(
        self, records: Sequence[Record], signed: set[RecordHash]
    ) -> Iterator[SignatureItem]:
        """Signatures over what this store wrote, as far as nothing in the batch has one behind
        it: much of it may never have been signed."""
        continued = {record.envelope.prev for record in records}
        for record in records:
            key = self._salvage.writers.get(record.envelope.origin)
            if (
                key is not None
                and record.hash not in signed
                # An eraser has one of its own, to go along with what it proves.
                and (record.hash not in continued or record.envelope.kind is Kind.ERASE)
            ):
                yield key.sign(record.hash)

    def _keep_keys(self, connection: sqlite3.Connection, ledger: Ledger) -> None:
        salvage = self._salvage
        # Of what waits there may be a certificate and no key yet.
        for incarnation in {**salvage.public_keys, **salvage.certificates}:
            if incarnation not in self._origins and incarnation not in salvage.writers:
                continue  # of nobody: a damaged key
            key = salvage.writers.get(incarnation)
            connection.execute(
                "UPDATE origins SET public_key = ?, seed = ?, certificate = ? WHERE id = ?",
                (
                    salvage.public_keys.get(incarnation),
                    None if key is None else key.seed,
                    salvage.certificates.get(incarnation),
                    ledger.origin(incarnation),
                ),
            )

    # ---- what follows from them ---------------------------------------------------------------

    def _index(self, connection: sqlite3.Connection) -> None:
        names = [row[0] for row in connection.execute("SELECT name FROM contexts ORDER BY id")]
        for number, name in enumerate(names, start=1):
            self._progress("making event indexes", number, len(names))
            while (step := next_step(connection, name, self._count)) is not None:
                save_step(connection, step)

    def _count(self, _: EventId, message: Message) -> int:
        return count_message(message, self._tokenizer)

    def _account(self, connection: sqlite3.Connection) -> tuple[tuple[RepairedContext, ...], int]:
        saved = dict(connection.execute("SELECT name, records FROM contexts"))
        waiting = dict(connection.execute("SELECT context, count(*) FROM waiting GROUP BY context"))
        missing: dict[str, list[str]] = {}
        for context, hash_ in connection.execute(
            "SELECT DISTINCT w.context, f.missing FROM waiting_for AS f JOIN waiting AS w"
            " USING (hash) WHERE f.missing NOT IN (SELECT hash FROM waiting)"
            " AND f.missing NOT IN (SELECT hash FROM records) ORDER BY 1, 2"
        ):
            missing.setdefault(context, []).append(hash_.hex())
        known = self._salvage.contexts.values()
        expected = {context.name: context.records for context in known}
        contexts = tuple(
            RepairedContext(
                name,
                saved.get(name, 0),
                waiting.get(name, 0),
                max(0, expected.get(name, 0) - self._sound[name]),
                tuple(missing.get(name, ())),
            )
            for name in sorted({*saved, *waiting, *expected})
        )
        if set(expected) >= set(self._sound):
            return contexts, 0
        # Rows of `contexts` are lost. Positions are given without gaps, so the gaps tell.
        newest = max((*self._positions, *(context.position for context in known)), default=0)
        gaps = newest - len(self._positions)
        return contexts, max(0, gaps - sum(context.lost for context in contexts))
