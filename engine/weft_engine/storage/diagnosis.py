"""What is wrong with a store or worth knowing of it: each with what it means and what to do.

Looks at the file and its folder as well as at what stands in it. Changes nothing, and may look
while another process writes. Must never know: how it is shown.
"""

from __future__ import annotations

import shlex
import shutil
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from weft_engine.errors import (
    MalformedRecord,
    MalformedUpdate,
    NewerFormat,
    OlderFormat,
    StoreError,
)
from weft_engine.limits import MIB
from weft_engine.names import Position
from weft_engine.records.clock import hlc_ms
from weft_engine.records.envelope import decode_envelope
from weft_engine.storage import reading
from weft_engine.storage.draft import (
    BESIDE,
    DRAFT_SUFFIX,
    beside,
    kept_files,
    second_names,
)
from weft_engine.storage.findings import Finding
from weft_engine.storage.lease import LEASE_SUFFIX, Lease, is_valid
from weft_engine.storage.ledger import SKEWED
from weft_engine.storage.lock import writing_process
from weft_engine.storage.machine import this_machine
from weft_engine.storage.schema import check_header, connect, damaged
from weft_engine.storage.verify import Progress, Report, verify

DISK_FREE_BYTES_LOW: Final = 256 * MIB
LOG_BYTES_LARGE: Final = 64 * MIB
"""The log is folded in at 4 MB; beyond this something keeps it from being so."""
_EXAMPLES_MAX: Final = 20


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One thing about a store. `is_wrong`: it should not be so; otherwise it is worth knowing.
    `details`: up to so many single cases of `count`."""

    code: str
    what: str
    means: str
    to_do: str
    is_wrong: bool
    count: int = 1
    details: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Examination:
    diagnoses: tuple[Diagnosis, ...]
    report: Report | None
    """What the check of the contents said; None if they could not be read at all."""

    @property
    def is_sound(self) -> bool:
        return not any(diagnosis.is_wrong for diagnosis in self.diagnoses)


def examine(store: Path, *, progress: Progress) -> Examination:
    """Everything there is to say about the store at `store`. Raises NotAStore if there is no file
    or another program's, and NewerFormat; every other trouble is a diagnosis."""
    found = list(_of_files(store))
    report: Report | None = None
    try:
        check_header(store)
        report = verify(store, progress=progress)
        found += _of_report(store, report)
        with closing(connect(store, readonly=True)) as connection:
            connection.text_factory = lambda data: data.decode(errors="replace")
            try:
                connection.execute("BEGIN")
                found += _of_lease(store, connection)
                found += _of_contents(connection)
            except sqlite3.Error as error:
                raise damaged(store, error) from error
    except NewerFormat:
        raise
    except OlderFormat as error:
        found.append(
            Diagnosis(
                "older format",
                error.message,
                "nothing is lost: it is brought up when it is opened for writing",
                "open it once for writing, then look again",
                is_wrong=True,
            )
        )
    except StoreError as error:
        if not store.is_file() or _is_of_another_program(store):
            raise
        found.append(
            Diagnosis(
                "unreadable",
                error.message,
                _MEANS_DAMAGE,
                repair_command(store),
                is_wrong=True,
            )
        )
    return Examination(tuple(sorted(found, key=lambda one: not one.is_wrong)), report)


def _is_of_another_program(store: Path) -> bool:
    """A sound SQLite file with tables of its own: nothing that a damaged store could become."""
    uri = f"{store.absolute().as_uri()}?mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    except (sqlite3.Error, UnicodeDecodeError):
        return False
    return bool(names) and names.isdisjoint(_TABLES)


def repair_command(store: Path) -> str:
    return f"run: weft doctor --store {shlex.quote(str(store))} --repair"


_TABLES: Final = ("records", "contexts", "origins")
"""Of every store of every format."""
_MEANS_DAMAGE: Final = (
    "what was written here and is damaged is lost in this file, not in its peers or backups;"
    " a repair keeps every sound record, and a link to a relay brings the others back"
)


# ---- the file and its folder ----------------------------------------------------------------


def _of_files(store: Path) -> Iterator[Diagnosis]:
    if not store.is_file():
        return
    files = [
        path
        for path in (store, *(beside(store, s) for s in (*BESIDE, LEASE_SUFFIX)))
        if path.exists()
    ]
    open_to_all = [path for path in files if stat.S_IMODE(path.stat().st_mode) & 0o077]
    if open_to_all:
        yield Diagnosis(
            "rights",
            f"others than its owner may use the store: {_modes(open_to_all)}",
            "it holds private keys: who can read them can write in its name; nothing is lost",
            f"run: chmod 600 {shlex.join(str(path) for path in open_to_all)}",
            is_wrong=True,
            count=len(open_to_all),
        )
    free = shutil.disk_usage(store.parent).free
    if free < DISK_FREE_BYTES_LOW:
        yield Diagnosis(
            "disk",
            f"the disk has {free:,} bytes left",
            "an append that does not fit is refused, not lost; a backup or a repair needs as much"
            " room as the store has",
            "make room",
            is_wrong=True,
        )
    writer = writing_process(store)
    if writer is not None:
        yield Diagnosis(
            "writer",
            f"process {writer or 'unknown'} has it open for writing",
            "this examination is of one moment of it; a repair has to wait for its end",
            "nothing",
            is_wrong=False,
        )
    yield from _of_log(store, is_written=writer is not None)
    yield from _of_replacements(store)
    drafts = sorted(store.parent.glob(f"{_escaped(store.name)}.*{DRAFT_SUFFIX}*"))
    if drafts:
        yield Diagnosis(
            "drafts",
            "there are unfinished files beside it",
            "a process that was making or copying the store ended in the middle, or is at it"
            " still; nothing reads these files",
            f"if no such process runs: rm {shlex.join(str(path) for path in drafts)}",
            is_wrong=False,
            count=len(drafts),
        )


def _of_replacements(store: Path) -> Iterator[Diagnosis]:
    """What a repair or a restore left beside the store."""
    twice = second_names(store)
    if twice:
        yield Diagnosis(
            "replacement",
            f"{twice[0].name} is another name of this very file",
            "a repair or a restore ended in the middle: the store is the file from before it, and"
            " part of its log may stand under that other name",
            "open the store for writing, or repair or restore once more: each takes that back"
            " first. Do not write to the other name",
            is_wrong=True,
            count=len(twice),
        )
    kept = [path for path in kept_files(store) if path not in twice]
    if kept:
        yield Diagnosis(
            "kept files",
            "files that were replaced are kept beside it",
            "they hold what they held then: private keys, records that may be in no other place,"
            " and what has been erased since",
            "when nothing of them is needed any more: rm " + shlex.join(str(path) for path in kept),
            is_wrong=False,
            count=len(kept),
            details=tuple(path.name for path in kept[:_EXAMPLES_MAX]),
        )


def _of_lease(store: Path, connection: sqlite3.Connection) -> Iterator[Diagnosis]:
    """Whether the next open for writing finds that the last close was clean."""
    meta = dict(connection.execute("SELECT key, value FROM meta"))
    lease, incarnation = Lease.of(meta.get("lease")), meta.get("incarnation")
    has_file = beside(store, LEASE_SUFFIX).exists()
    if writing_process(store) is not None or (lease is None and not has_file):
        return
    known = incarnation if type(incarnation) is bytes else None
    if lease is not None and is_valid(lease, store, this_machine(), incarnation=known):
        return
    if has_file:
        what = f"{store.name}{LEASE_SUFFIX} is not the lease that the store's last close left"
    else:
        what = "its last close left a lease that is gone"
    yield Diagnosis(
        "lease",
        what,
        "it was copied, moved or restored since, its machine was started anew, or its last writer"
        " did not close it; so it may be one of two copies. The next writer begins under a new name"
        " and every link compares once; nothing is lost",
        "nothing",
        is_wrong=False,
    )


def _of_log(store: Path, *, is_written: bool) -> Iterator[Diagnosis]:
    log = beside(store, "-wal")
    size = log.stat().st_size if log.exists() else 0
    if size > LOG_BYTES_LARGE:
        yield Diagnosis(
            "log",
            f"its log has {size:,} bytes",
            "something that reads has looked at one moment for long, so the log could not be"
            " folded in; nothing is lost",
            "end processes that read it and need not",
            is_wrong=False,
        )
    elif size and not is_written:
        yield Diagnosis(
            "log",
            f"a log of {size:,} bytes was left behind",
            "the last writer did not close the store; what it committed is in the log and is read"
            " from there, so nothing is lost",
            "nothing: the next writer folds it in. Never copy or move the store without it",
            is_wrong=False,
        )


def _modes(paths: list[Path]) -> str:
    return ", ".join(
        f"{path.name} has mode {stat.S_IMODE(path.stat().st_mode):o}" for path in paths
    )


def _escaped(name: str) -> str:
    """`name` in a glob pattern."""
    return "".join(f"[{char}]" if char in "*?[" else char for char in name)


# ---- the contents ---------------------------------------------------------------------------


def _of_report(store: Path, report: Report) -> Iterator[Diagnosis]:
    damage = [finding for finding in report.findings if not finding.is_spare]
    spare = [finding for finding in report.findings if finding.is_spare]
    if damage:
        yield Diagnosis(
            "damage",
            "the store contradicts itself",
            _MEANS_DAMAGE,
            repair_command(store),
            is_wrong=True,
            count=report.findings_total - len(spare),
            details=tuple(map(_found, damage[:_EXAMPLES_MAX])),
        )
    if spare:
        yield Diagnosis(
            "checkpoints",
            "checkpoints of documents do not agree with the journal",
            "they are damaged, or another version of weft made them. One that is whole in itself"
            " may be used: then a note shows what its records do not say. The records are sound,"
            " nothing is lost",
            repair_command(store) + " (the new file has none; they are made anew)",
            is_wrong=True,
            count=len(spare),
            details=tuple(map(_found, spare[:_EXAMPLES_MAX])),
        )
    if report.unsigned:
        yield Diagnosis(
            "unsigned",
            "own records were never sent, so nothing has signed them yet",
            "they are safe here, and nowhere else",
            "link the store to a relay, or back it up",
            is_wrong=False,
            count=report.unsigned,
        )


def _found(finding: Finding) -> str:
    parts = (
        finding.context and f"context {finding.context}",
        finding.record and f"record {finding.record[:16]}",
        finding.what,
    )
    return ": ".join(part for part in parts if part)


def _of_contents(connection: sqlite3.Connection) -> Iterator[Diagnosis]:
    yield from _waiting(connection)
    yield from _counted(
        connection,
        "SELECT c.name || ': origin ' || lower(hex(o.incarnation)) || ', seq ' || r.seq || ': '"
        " || count(*) || ' records', 1 FROM records AS r JOIN contexts AS c ON c.id = r.context"
        " JOIN origins AS o ON o.id = r.origin GROUP BY r.context, r.origin, r.seq"
        " HAVING count(*) > 1 ORDER BY c.name, r.seq",
        code="equivocations",
        what="two records have one number in their writer's chain",
        means="a store was cloned, or restored by copying its file, and both went on writing;"
        " both sides are kept, nothing is lost",
        to_do="use `weft backup` and `weft restore` for copies: they get an identity of their own",
    )
    yield from _left_out(connection)
    yield from _counted(
        connection,
        "SELECT c.name || ': origin ' || lower(hex(o.incarnation)) || ': ' || count(*), count(*)"
        " FROM records AS r JOIN contexts AS c ON c.id = r.context"
        f" JOIN origins AS o ON o.id = r.origin WHERE r.flags & {SKEWED}"
        " GROUP BY r.context, r.origin ORDER BY c.name",
        code="skewed",
        what="records came from a clock that was far ahead of this one",
        means="they are kept like all others, stand at the time they say and move nobody's clock;"
        " nothing is lost",
        to_do="set the clocks of their writers, or this machine's",
    )
    yield from _counted(
        connection,
        "SELECT c.name || ': ' || p.reason || ': ' || count(*), count(*) FROM problems AS p"
        " JOIN contexts AS c ON c.id = p.context GROUP BY p.context, p.reason ORDER BY c.name",
        code="problems",
        what="what some records set under `events` is no event",
        means="it was overwritten or malformed when it was written; the records are kept",
        to_do="nothing here: it is for those who wrote it",
    )
    yield from _counted(
        connection,
        "SELECT lower(hex(sender)) || ': ' || reason || ': ' || count(*) || ', last '"
        " || datetime(max(at_ms) / 1000, 'unixepoch') || 'Z', count(*) FROM quarantine"
        " GROUP BY sender, reason ORDER BY count(*) DESC",
        code="quarantine",
        what="what others sent was refused and is kept as evidence",
        means="nothing of it was stored as a record, and nothing of yours is lost. The oldest"
        " evidence goes when there is too much; an erasure of its context takes it along",
        to_do="look at its senders, named here by their ids",
    )
    yield from _counted(
        connection,
        "SELECT c.name || ': ' || count(*), count(*) FROM erasures AS e"
        " JOIN contexts AS c ON c.id = e.context WHERE e.is_done = 0 GROUP BY e.context",
        code="erasures",
        what="what was to be erased is still in this file",
        means="the erasing record is journaled; its work goes on when the store is open. Until it"
        " is done this store does not confirm it to others, and a backup has the content, too",
        to_do="open the store for writing; end processes that read it for long",
    )
    yield from _counted(
        connection,
        "SELECT c.name || ': ' || count(*) || ', confirmed by at least ' || min(n) || ' stores',"
        " count(*) FROM (SELECT e.context, (SELECT count(*) FROM confirmations WHERE eraser ="
        " r.hash) AS n FROM erasures AS e JOIN records AS r USING (position) WHERE e.is_done = 1)"
        " AS d JOIN contexts AS c ON c.id = d.context GROUP BY d.context ORDER BY c.name",
        code="confirmations",
        what="what was erased is gone from this file; these stores have said the same of theirs",
        means="a store confirms when nothing is left in its files. One that was never linked since"
        " has not heard of it; what anybody copied elsewhere, and backups, are not counted",
        to_do="link stores that may hold it, and see `weft erasures`; delete old backups",
    )
    yield from _counted(
        connection,
        "SELECT context || ': ' || count(*), count(*) FROM early_erasers GROUP BY context"
        " ORDER BY context",
        code="early erasers",
        what="erasers came beside what they erased, and before what they build on",
        means="what they name was never in this file; other content of their kind stays until they"
        " are journaled",
        to_do="link the store to a replica that has the missing records",
    )
    yield from _counted(
        connection,
        "SELECT c.name || ': ' || count(*) || ' records', count(*) FROM records AS r"
        " JOIN contexts AS c ON c.id = r.context WHERE r.position > c.projected"
        " GROUP BY c.id ORDER BY c.name",
        code="index",
        what="records are not in the event index yet",
        means="it follows the journal; who reads brings it up first, so nothing is missing. A close"
        " goes on indexing for 2 s at most, so after a large import some is left for the next open,"
        " whose first reading of these contexts takes longer",
        to_do="nothing",
    )


def _left_out(connection: sqlite3.Connection) -> Iterator[Diagnosis]:
    """What losing sides of equivocations wrote into notes: no document shows it."""
    from weft_engine.document.left_out import left_out  # for damaged and cloned stores only

    found: list[str] = []
    for (name,) in connection.execute("SELECT name FROM contexts ORDER BY name").fetchall():
        state = reading.context(connection, name)
        if state is None or not reading.has_sides(connection, state):
            continue
        stored = reading.records_after(
            connection, state.id, Position(0), records_max=state.records, bytes_max=1 << 62
        )
        try:
            texts = left_out([one.record for one in stored])
        except (MalformedRecord, MalformedUpdate):
            continue  # it is among the findings
        found += [
            f"{name}: note {lost.note}: by {lost.origin.hex()[:16]}: {lost.text!r}"
            for lost in texts
        ]
    if found:
        yield Diagnosis(
            "left out",
            "notes do not show what the losing side of an equivocation wrote",
            "of two records with one number a document can hold one; the other is kept, and its"
            " text is told here so that nobody's words are lost",
            "copy what is wanted into the note again",
            is_wrong=False,
            count=len(found),
            details=tuple(found[:_EXAMPLES_MAX]),
        )


def _counted(
    connection: sqlite3.Connection, question: str, *, code: str, what: str, means: str, to_do: str
) -> Iterator[Diagnosis]:
    """A diagnosis for the rows of `question`, (a line that tells of some cases, how many), if
    there are any. None of these is wrong in itself."""
    count = 0
    details: list[str] = []
    for line, cases in connection.execute(question):
        count += cases
        if len(details) < _EXAMPLES_MAX:
            details.append(str(line))
    if count:
        yield Diagnosis(
            code, what, means, to_do, is_wrong=False, count=count, details=tuple(details)
        )


def _waiting(connection: sqlite3.Connection) -> Iterator[Diagnosis]:
    contexts: dict[str, list[int]] = {}
    for context, envelope, covered in connection.execute(
        "SELECT context, CAST(envelope AS BLOB), covered FROM waiting"
    ):
        counts = contexts.setdefault(context, [0, 0, 1 << 63])
        counts[0] += 1
        counts[1] += not covered
        counts[2] = min(counts[2], _written_ms(envelope))
    if not contexts:
        return
    missing: dict[str, list[str]] = {}
    for context, hash_ in connection.execute(
        "SELECT DISTINCT w.context, f.missing FROM waiting_for AS f JOIN waiting AS w USING (hash)"
        " WHERE f.missing NOT IN (SELECT hash FROM waiting) ORDER BY 1, 2"
    ):
        missing.setdefault(context, []).append(hash_.hex())
    yield Diagnosis(
        "waiting",
        "records came before what they depend on, or before a signature",
        "they are kept and become visible when the missing ones come; until then they do not count"
        " as stored",
        "link the store to a replica that has the missing records",
        is_wrong=False,
        count=sum(counts[0] for counts in contexts.values()),
        details=tuple(
            _told(context, counts, missing.get(context, []))
            for context, counts in sorted(contexts.items())[:_EXAMPLES_MAX]
        ),
    )


def _told(context: str, counts: list[int], missing: list[str]) -> str:
    records, unsigned, written_ms = counts
    since = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(written_ms / 1000))
    named = ", ".join(hash_[:16] for hash_ in missing[:4])
    more = f" and {len(missing) - 4} more" if len(missing) > 4 else ""
    waits_for = f"; missing {named}{more}" if missing else ""
    beyond = f", {unsigned} of them for a signature" if unsigned else ""
    return f"{context}: {records}{beyond}, the first written {since}{waits_for}"


def _written_ms(envelope: bytes) -> int:
    try:
        return hlc_ms(decode_envelope(envelope).hlc)
    except MalformedRecord:
        return 0  # it is among the findings
