"""Checking a whole store against itself: every hash, signature, fingerprint and projection anew.

The journal is the truth: its records are proved by their hashes and signatures, and everything
else in the file must be what follows from them. Reads one moment of the store through a read-only
connection, so it can run beside a writer, and holds one context in memory at a time.
Must never know: who asks, how a finding is shown.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weft_engine.errors import InvalidName, MalformedRecord
from weft_engine.events.event import Message
from weft_engine.names import ContextName, EventId, Incarnation, RecordHash, context_name
from weft_engine.records.certificate import Certificate
from weft_engine.records.digest import origin_digest
from weft_engine.records.erasure import Erasure
from weft_engine.records.identity import SignatureItem, WriterKey
from weft_engine.records.sound import read_record
from weft_engine.storage.checkpoint_check import check_checkpoints
from weft_engine.storage.erasure_check import proofs_of
from weft_engine.storage.event_schema import create_event_tables
from weft_engine.storage.findings import Finding, Findings
from weft_engine.storage.index_check import check_index
from weft_engine.storage.record_check import ContextRow, Tally, check_records
from weft_engine.storage.schema import check_header, connect, damaged
from weft_engine.views.count import count_message
from weft_engine.views.tokenizer import DEFAULT_TOKENIZER, Tokenizer

Progress = Callable[[str, int, int], None]
"""Called with what is being checked, how much of it is done, and how much there is."""

_CONTEXTS = (
    "SELECT id, name, frontier, records, position, hlc, projected, projected_frontier"
    " FROM contexts WHERE id > ? ORDER BY id LIMIT 1"
)
_STRAYS = (
    ("records", "SELECT count(*) FROM records WHERE context NOT IN (SELECT id FROM contexts)"),
    ("signatures", "SELECT count(*) FROM signatures"
                   " WHERE position NOT IN (SELECT position FROM records)"),
    ("indexed events", "SELECT count(*) FROM events"
                       " WHERE context NOT IN (SELECT id FROM contexts)"),
    ("listed problems", "SELECT count(*) FROM problems"
                        " WHERE context NOT IN (SELECT id FROM contexts)"),
    ("open streams", "SELECT count(*) FROM streams"
                     " WHERE context NOT IN (SELECT id FROM contexts)"),
    ("checkpoints", "SELECT count(*) FROM checkpoints"
                    " WHERE context NOT IN (SELECT id FROM contexts)"),
    ("missed hashes", "SELECT count(*) FROM waiting_for"
                      " WHERE hash NOT IN (SELECT hash FROM waiting) OR length(missing) <> 32"),
    ("counts of waiting records", "SELECT count(*) FROM waiting_room AS r WHERE (records, bytes) <>"
                                  " (SELECT count(*), sum(length(envelope) + length(payload))"
                                  " FROM waiting WHERE waiting.session = r.session)"),
    ("waiting records that are not counted", "SELECT count(*) FROM waiting WHERE session NOT IN"
                                             " (SELECT session FROM waiting_room)"),
    ("receipts", "SELECT count(*) FROM receipts WHERE spec NOT IN (SELECT id FROM specs)"
                 " OR length(fingerprint) <> 32 OR length(cut) % 32 <> 0"),
    ("own chains", "SELECT count(*) FROM own_heads WHERE NOT EXISTS (SELECT 1 FROM records"
                   " WHERE records.hash = own_heads.hash AND records.seq = own_heads.seq)"),
)  # fmt: skip
"""Rows that belong to nothing, by what they are called."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was checked, and everything that is wrong. `events`: those that the records hold,
    whether the event index has them yet or not; of a context with wrong records none are counted.
    `unsigned`: own records that were never sent, so nothing has signed them yet; they are covered
    by the key in the store. `erasures_pending`: their content may still be in the file, the next
    open removes it."""

    contexts: int
    records: int
    events: int
    signatures: int
    unsigned: int
    waiting: int
    erasures: int
    erasures_pending: int
    findings: tuple[Finding, ...]
    findings_total: int

    @property
    def is_sound(self) -> bool:
        return self.findings_total == 0


def verify(path: Path, *, progress: Progress) -> Report:
    """Check the store at `path`. Raises NotAStore, NewerFormat, StoreError if it can't be read at
    all; then nothing is known of it."""
    check_header(path)
    with closing(connect(path, readonly=True)) as connection:
        # A damaged text must be found, not stop the search.
        connection.text_factory = lambda data: data.decode(errors="replace")
        try:
            return _Verification(connection, progress).run()
        except sqlite3.Error as error:
            raise damaged(path, error) from error


class _Verification:
    def __init__(self, connection: sqlite3.Connection, progress: Progress) -> None:
        self._connection = connection
        self._progress = progress
        self._findings = Findings()
        self._tally = Tally()
        self._tokenizer = Tokenizer(DEFAULT_TOKENIZER)
        self._total = 0
        self._folded = 0
        self._uncertified = 0
        self._events = 0

    def run(self) -> Report:
        create_event_tables(self._connection, "temp")
        self._connection.execute("BEGIN")
        try:
            (self._total,) = self._ask("SELECT count(*) FROM records")
            self._progress("checking the file", 0, self._total)
            self._check_file()
            self._check_meta()
            own = self._check_origins()
            certified = self._check_certificates()
            self._uncertified = self._uncertified_upto()
            contexts = self._check_contexts(own, certified)
            waiting = self._check_waiting()
            self._check_early_erasers()
            self._check_strays()
        finally:
            self._connection.execute("ROLLBACK")
        return Report(
            contexts=contexts,
            records=self._tally.records,
            events=self._events,
            signatures=self._tally.signatures,
            unsigned=self._tally.unsigned,
            waiting=waiting,
            erasures=self._tally.erasures,
            erasures_pending=self._tally.erasures_pending,
            findings=tuple(self._findings.kept),
            findings_total=self._findings.total,
        )

    def _check_file(self) -> None:
        for (said,) in self._connection.execute("PRAGMA main.integrity_check"):
            if said != "ok":
                self._findings.add(f"the file is damaged: {said}")

    def _check_meta(self) -> None:
        meta = dict(self._connection.execute("SELECT key, value FROM meta"))
        for key, size in (("store", 16), ("epoch", 8)):
            value = meta.get(key)
            if type(value) is not bytes or len(value) != size:
                self._findings.add(f"the store's {key} id is not {size} bytes")

    def _check_origins(self) -> frozenset[Incarnation]:
        """The incarnations of this store itself: their seeds are here, and fit."""
        own: list[Incarnation] = []
        for incarnation, public_key, seed in self._connection.execute(
            "SELECT incarnation, public_key, seed FROM origins"
        ):
            name = incarnation.hex() if type(incarnation) is bytes else repr(incarnation)
            if public_key is not None and (
                type(public_key) is not bytes or origin_digest(public_key) != incarnation
            ):
                self._findings.add(f"the public key of origin {name} is not its own")
            if seed is None:
                continue
            if (
                type(seed) is not bytes
                or len(seed) != 32
                or WriterKey(seed).incarnation != incarnation
            ):
                self._findings.add(f"the private seed of origin {name} is not its own")
            else:
                own.append(Incarnation(incarnation))
        return frozenset(own)

    def _check_certificates(self) -> frozenset[Incarnation]:
        """The incarnations with a region's word for them."""
        certified: list[Incarnation] = []
        for incarnation, certificate in self._connection.execute(
            "SELECT incarnation, certificate FROM origins WHERE certificate IS NOT NULL"
        ):
            name = incarnation.hex() if type(incarnation) is bytes else repr(incarnation)
            try:
                if type(incarnation) is not bytes or type(certificate) is not bytes:
                    raise MalformedRecord("it is no blob")
                Certificate.unpack(certificate).verify(Incarnation(incarnation))
            except MalformedRecord as error:
                self._findings.add(f"the certificate of origin {name} is wrong: {error.message}")
            else:
                certified.append(Incarnation(incarnation))
        return frozenset(certified)

    def _uncertified_upto(self) -> int:
        """The position up to which foreign records came before there were certificates."""
        row = self._ask("SELECT value FROM meta WHERE key = 'uncertified_upto'")
        if row is None or type(row[0]) is not int:
            self._findings.add("it is not said from where on foreign records need certificates")
            return 0
        return row[0]

    def _check_contexts(
        self, own: frozenset[Incarnation], certified: frozenset[Incarnation]
    ) -> int:
        contexts = 0
        last = -(1 << 63)
        while (found := self._connection.execute(_CONTEXTS, (last,)).fetchone()) is not None:
            row = ContextRow(*found)
            contexts, last = contexts + 1, row.id
            try:
                context_name(row.name)
            except InvalidName as error:
                self._findings.add(error.message, context=row.name)
            sound = check_records(
                self._connection,
                row,
                own,
                certified,
                uncertified_upto=self._uncertified,
                tally=self._tally,
                findings=self._findings,
                step=lambda: self._progress("checking records", self._tally.records, self._total),
            )
            if sound:
                self._events += check_index(
                    self._connection,
                    row,
                    self._count,
                    findings=self._findings,
                    step=self._note_folded,
                )
                self._check_checkpoints(row)
        return contexts

    def _check_checkpoints(self, row: ContextRow) -> None:
        replayed = 0

        def step(records: int) -> None:
            nonlocal replayed
            replayed += records
            self._progress("checking checkpoints", replayed, self._total)

        check_checkpoints(
            self._connection, row.id, ContextName(row.name), findings=self._findings, step=step
        )

    def _check_waiting(self) -> int:
        waiting = 0
        for (
            hash_,
            context,
            envelope,
            payload,
            public_key,
            signature,
            journaled,
        ) in self._connection.execute(
            "SELECT w.hash, w.context, w.envelope, w.payload, w.public_key, w.signature,"
            " r.position FROM waiting AS w LEFT JOIN records AS r ON r.hash = w.hash"
        ):
            waiting += 1
            erasures = proofs_of(self._connection, hash_)
            what = _unsound_waiting(
                hash_, context, envelope, payload, public_key, signature, erasures
            )
            if what is None and journaled is not None:
                what = "it is journaled already"
            if what is not None:
                self._findings.add(
                    f"a waiting record is wrong: {what}",
                    context=context if type(context) is str else None,
                    record=hash_ if type(hash_) is bytes else None,
                )
        return waiting

    def _check_early_erasers(self) -> None:
        """What proves stand-ins is itself to be proved."""
        for hash_, envelope, payload, public_key, signature in self._connection.execute(
            "SELECT hash, envelope, payload, public_key, signature FROM early_erasers"
        ):
            what = _unsound_waiting(hash_, None, envelope, payload, public_key, signature, ())
            if what is not None or signature is None:
                self._findings.add(
                    f"an eraser that came early is wrong: {what or 'it has no signature'}",
                    record=hash_ if type(hash_) is bytes else None,
                )

    def _check_strays(self) -> None:
        for name, question in _STRAYS:
            (strays,) = self._ask(question)
            if strays:
                self._findings.add(f"{strays} {name} belong to nothing in the store")

    def _count(self, _: EventId, message: Message) -> int:
        return count_message(message, self._tokenizer)

    def _note_folded(self, records: int) -> None:
        self._folded += records
        self._progress("checking event indexes", self._folded, self._total)

    def _ask(self, question: str) -> Any:
        return self._connection.execute(question).fetchone()


def _unsound_waiting(
    hash_: Any,
    context: Any,
    envelope: Any,
    payload: Any,
    public_key: Any,
    signature: Any,
    erasures: Sequence[Erasure],
) -> str | None:
    """What is wrong with a parked record, None if nothing is."""
    if type(envelope) is not bytes or type(payload) is not bytes:
        return "its envelope or payload is no blob"
    try:
        record = read_record(envelope, payload, erasures=erasures)
        if record.hash != hash_:
            return "it is stored under another hash"
        if context is not None and record.envelope.context != context:
            return f"its envelope names context {record.envelope.context!r}"
        if signature is None:
            return None
        if type(public_key) is not bytes or type(signature) is not bytes:
            return "its signature or key is no blob"
        item = SignatureItem(public_key, RecordHash(record.hash), signature)
        if item.incarnation != record.envelope.origin:
            return "it is signed by another key than its origin's"
        item.verify()
    except MalformedRecord as error:
        return error.message
    return None
