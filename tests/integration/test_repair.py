"""A repair keeps every record whose bytes are sound, whatever else of the file is damaged, and a
peer brings the others back."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

import weft
from tests.command_line import conversation, main_of, record_set
from tests.full_store import GONE, check, identity, make_full_store, now_ms, quiet, rows
from tests.running_relay import running_relay
from tests.stores import all_records, give
from weft_engine.names import Hlc, RecordHash
from weft_engine.records.digest import record_digest
from weft_engine.records.envelope import Kind, decode_envelope
from weft_engine.records.erasure import Eraser
from weft_engine.records.identity import SignatureItem
from weft_engine.replica.replica import Replica
from weft_engine.storage import erasures, write_back
from weft_engine.storage.backup import back_up
from weft_engine.storage.carry import read_side_tables
from weft_engine.storage.diagnosis import examine
from weft_engine.storage.ledger import ERASED, Stored
from weft_engine.storage.lock import WriterLock
from weft_engine.storage.pages import Pages
from weft_engine.storage.repair import Rebuild, Repaired, repair
from weft_engine.storage.salvage import look_through
from weft_server.cli import main

PAGE = 4096


@dataclass(frozen=True)
class Peer:
    """Somebody who holds all that the store held, as a relay would send it."""

    stored: Sequence[Stored]
    items: Sequence[SignatureItem]
    proofs: Mapping[RecordHash, Sequence[Eraser]]

    async def send_all(self, store: Path) -> None:
        async with Replica.open(store, now_ms=now_ms, random=os.urandom) as replica:
            records = [one.record for one in self.stored]
            for start in range(0, len(records), 7):
                await replica.journal.admit(
                    records[start : start + 7],
                    self.items,
                    session=b"relay",
                    now_ms=now_ms(),
                    proofs=self.proofs,
                )
            replica.erasing.work()
            await replica.erasing.done()


def proofs_of(
    connection: sqlite3.Connection, stored: Sequence[Stored]
) -> dict[RecordHash, list[Eraser]]:
    """The erasers that go along with those of the records that are stand-ins."""
    proofs: dict[RecordHash, list[Eraser]] = {}
    for one in stored:
        if one.flags & ERASED:
            hashes = erasures.eraser_hashes(connection, one.record.hash)
            found = [erasures.eraser(connection, hash_) for hash_ in hashes]
            proofs[one.record.hash] = [eraser for eraser in found if eraser is not None]
    return proofs


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_full_store(tmp_path_factory.mktemp("whole") / "s.db")


@pytest.fixture(scope="module")
def peer(whole: Path) -> Peer:
    copy = whole.with_name("peer.db")
    back_up(whole, copy, now_ms=now_ms(), random=os.urandom, check=None)

    async def read() -> Peer:
        async with Replica.open(copy, now_ms=now_ms, random=os.urandom, readonly=True) as replica:
            stored = await all_records(replica)
            proofs = await replica.journal.read(partial(proofs_of, stored=stored))
            return Peer(stored, await replica.signature_items(stored), proofs)

    return asyncio.run(read())


@pytest.fixture
def store(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(whole, tmp_path / "s.db"))


def mend(store: Path) -> Repaired:
    return repair(store, now_ms=now_ms(), random=os.urandom, progress=quiet)


def waiting_set(store: Path) -> set[object]:
    return {row[0] for row in rows(store, "SELECT hash FROM waiting")}


def kept_set(store: Path) -> set[object]:
    return waiting_set(store) | set(record_set(store))


def damage(store: Path, *statements: str) -> None:
    with main_of(store) as connection:
        for statement in statements:
            connection.execute(statement)


async def check_comes_back(store: Path, whole: Path, peer: Peer) -> None:
    """With a peer that has everything, everything is there again."""
    await peer.send_all(store)
    assert record_set(store) == record_set(whole)
    assert waiting_set(store) <= waiting_set(whole)
    assert check(store).findings == ()


# ---- a store that is well -------------------------------------------------------------------


def test_a_sound_store_comes_out_as_it_went_in(store: Path, whole: Path) -> None:
    old = identity(store)
    done = mend(store)
    assert (done.lost, done.unreadable) == (0, ())
    assert done.saved == len(record_set(whole))
    assert record_set(store) == record_set(whole)
    assert waiting_set(store) == waiting_set(whole)
    report = check(store)
    assert report.is_sound
    assert report.unsigned == 0
    for table, columns in (
        ("receipts", "trace, context, cut, fingerprint"),
        ("specs", "json"),
        ("quarantine", "*"),
        ("problems", "client, clock, key"),
        ("events", "key, size, rank, kind, role, tokens, class"),
        ("origins", "incarnation, public_key, seed"),
        ("contexts", "name, frontier, records"),
    ):
        question = f"SELECT {columns} FROM {table} ORDER BY 1, 2, 3"
        if columns == "json":
            question = "SELECT json FROM specs ORDER BY 1"
        there = set(rows(whole, question))
        here = set(rows(store, question))
        assert there <= here if table == "origins" else there == here, table
    new = identity(store)
    assert new[0] == old[0]
    assert new[1] != old[1]


def test_the_damaged_file_stays_byte_for_byte(store: Path) -> None:
    damage(store, "UPDATE records SET payload = x'00' WHERE position = 2")
    before = store.read_bytes()
    done = mend(store)
    assert done.kept.name.startswith("s.db.damaged-")
    assert done.kept.read_bytes() == before
    assert not list(store.parent.glob("*.new*"))


def test_a_repaired_store_writes_under_a_new_name(store: Path, whole: Path) -> None:
    mend(store)

    async def write() -> None:
        async with weft.open(store) as opened:
            await opened.context("acme/one").append("after the repair")

    asyncio.run(write())
    (count,) = rows(store, "SELECT count(*) FROM origins WHERE seed IS NOT NULL")
    (before,) = rows(whole, "SELECT count(*) FROM origins WHERE seed IS NOT NULL")
    assert int(str(count[0])) == int(str(before[0])) + 1
    assert check(store).is_sound


async def test_receipts_replay_after_a_repair(store: Path, whole: Path) -> None:
    await asyncio.to_thread(mend, store)
    async with weft.open(whole, readonly=True) as old, weft.open(store) as new:
        assert (await new.replay("t")).messages == (await old.replay("t")).messages
        assert await new.context("acme/one").note("plan").text() == "first\nsecond\n"


# ---- damaged tables -------------------------------------------------------------------------

DERIVED = (
    "UPDATE contexts SET frontier = x'00'",
    "UPDATE contexts SET records = records + 5, position = position + 9",
    "DELETE FROM contexts",
    "UPDATE contexts SET name = 'other ' || id",
    "DELETE FROM events",
    "UPDATE events SET size = size + 1",
    "DELETE FROM problems",
    "UPDATE records SET seq = seq + 1",
    "UPDATE records SET origin = 1",
    "UPDATE records SET context = 1",
    "UPDATE records SET hash = zeroblob(32) WHERE position = 4",
    "UPDATE records SET flags = 64 WHERE position = 5",
    "DROP INDEX records_by_context",
    "DROP TABLE events",
    "DELETE FROM meta",
    "DROP TABLE receipts",
    "DROP TABLE contexts",
    "UPDATE origins SET incarnation = randomblob(16)",
)
"""Damage of what is not the journal itself: nothing at all is lost, and nothing new waits."""


@pytest.mark.parametrize("statement", DERIVED)
def test_no_record_is_lost_with_what_follows_from_records(
    store: Path, whole: Path, statement: str
) -> None:
    damage(store, statement)
    done = mend(store)
    assert record_set(store) == record_set(whole)
    assert waiting_set(store) == waiting_set(whole)
    assert check(store).findings == ()
    if "contexts" not in statement:
        assert done.lost == 0


JOURNAL = (
    "UPDATE records SET payload = x'0badf00d' WHERE position = {}",
    "UPDATE records SET envelope = zeroblob(length(envelope)) WHERE position = {}",
    "UPDATE records SET envelope = 7 WHERE position = {}",
    "DELETE FROM records WHERE position = {}",
    "DELETE FROM signatures WHERE position >= {}",
    "UPDATE signatures SET signature = zeroblob(64) WHERE position >= {}",
    "UPDATE origins SET public_key = zeroblob(32), seed = NULL WHERE id >= 2",
    "DELETE FROM origins",
    "DELETE FROM waiting",
    "UPDATE waiting SET payload = x'00'",
    "UPDATE waiting SET signature = zeroblob(64) WHERE signature IS NOT NULL",
)


@pytest.mark.parametrize("position", [1, 8, 30])
@pytest.mark.parametrize("statement", JOURNAL)
async def test_every_other_record_is_kept(
    store: Path, whole: Path, peer: Peer, statement: str, position: int
) -> None:
    damage(store, statement.format(position))
    done = await asyncio.to_thread(mend, store)
    hit = set(rows(whole, f"SELECT hash FROM records WHERE position = {position}"))
    is_hit = " records " in statement
    expected = set(record_set(whole)) - ({hash_ for (hash_,) in hit} if is_hit else set())
    assert kept_set(store) >= expected
    assert done.lost == (1 if is_hit else 0)
    assert sum(context.lost for context in done.contexts) == done.lost
    assert check(store).findings == ()
    await check_comes_back(store, whole, peer)


def test_a_damaged_envelope_is_not_taken_for_another_record(store: Path, whole: Path) -> None:
    """One that differs in its time alone is as well formed as before; with the key at hand it
    would be signed, and the store would have forged a second side of its own chain."""
    for position, envelope in rows(whole, "SELECT position, envelope FROM records"):
        assert isinstance(envelope, bytes)
        data = decode_envelope(envelope)
        other = replace(data, hlc=Hlc(data.hlc ^ 1)).encode()
        with main_of(store) as connection:
            connection.execute(
                "UPDATE records SET envelope = ? WHERE position = ?", (other, position)
            )
    done = mend(store)
    assert kept_set(store) <= kept_set(whole)
    assert done.lost == len(record_set(whole))


def test_what_hangs_on_a_lost_record_waits_and_is_named(store: Path, whole: Path) -> None:
    ((hash_, name),) = rows(
        whole,
        "SELECT hash, name FROM records JOIN contexts ON contexts.id = context"
        " WHERE records.position = 8",
    )
    damage(store, "DELETE FROM records WHERE position = 8")
    done = mend(store)
    (hurt,) = [context for context in done.contexts if context.lost]
    assert (hurt.name, hurt.lost) == (name, 1)
    assert isinstance(hash_, bytes)
    assert hurt.missing == (hash_.hex(),)
    assert hurt.waiting > 0
    assert hurt.saved + hurt.waiting + hurt.lost == len(
        rows(whole, f"SELECT 1 FROM records JOIN contexts c ON c.id = context AND name = '{name}'")
    )


# ---- damaged pages --------------------------------------------------------------------------


def stretches(content: bytes, head: bytes, payload: bytes) -> list[tuple[int, int]]:
    """Where in the file a row stands that begins with `head` and goes on with `payload`, with all
    that leads to it on its pages. Found by looking for the bytes, so that nothing is taken from
    the code under test."""
    start = content.find(head)
    assert start >= 0
    page = start // PAGE * PAGE
    # The header of the page with its list of rows, and the row's own header.
    found = [(page, page + 512), (start - 32, start + len(head))]
    if content.find(head + payload) >= 0:
        found.append((start, start + len(head + payload)))
        payload = b""
    for at in range(0, len(payload), 32):
        piece = payload[at : at + 32]
        # Where a payload goes on in another page a piece is in none, but its neighbours are.
        where = content.find(piece)
        if where >= 0:
            found.append((where - 40, where + len(piece) + 40))
            found.append((where // PAGE * PAGE, where // PAGE * PAGE + 4))
    return found


def intact(whole: Path, changed: Callable[[int, int], bool]) -> set[object]:
    """The records of which no byte was changed, nor of the erasers that prove them if they are
    stand-ins. `changed` tells whether a stretch of the file was."""
    content = whole.read_bytes()
    sound: set[object] = set()
    for question in (
        "SELECT hash, x'', envelope, payload FROM records",
        "SELECT hash, CAST(context AS BLOB), envelope, payload FROM early_erasers",
    ):
        for hash_, between, envelope, payload in rows(whole, question):
            assert isinstance(hash_, bytes)
            assert isinstance(between, bytes)
            assert isinstance(envelope, bytes)
            assert isinstance(payload, bytes)
            where = stretches(content, hash_ + between + envelope, payload)
            if not any(changed(start, end) for start, end in where):
                sound.add(hash_)
    proofs: dict[object, list[object]] = {}
    for record, eraser in rows(whole, "SELECT record, eraser FROM stand_ins"):
        proofs.setdefault(record, []).append(eraser)
    return {
        hash_
        for (hash_,) in rows(whole, "SELECT hash FROM records")
        if hash_ in sound and sound.issuperset(proofs.get(hash_, ()))
    }


def check_damage(store: Path, whole: Path, peer: Peer, broken: bytes) -> None:
    content = whole.read_bytes()
    padded = broken.ljust(len(content), b"\0")

    def changed(start: int, end: int) -> bool:
        return content[start:end] != padded[start:end] or end > len(broken)

    store.write_bytes(broken)
    mend(store)
    assert intact(whole, changed) <= kept_set(store)
    assert kept_set(store) <= kept_set(whole)
    assert check(store).findings == ()
    asyncio.run(check_comes_back(store, whole, peer))


@pytest.mark.parametrize("seed", range(24))
def test_flipped_bytes(store: Path, whole: Path, peer: Peer, seed: int) -> None:
    rng = random.Random(seed)
    content = bytearray(whole.read_bytes())
    for _ in range(1 + seed // 4):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    check_damage(store, whole, peer, bytes(content))


@pytest.mark.parametrize("seed", range(12))
def test_a_page_of_zeros_or_noise(store: Path, whole: Path, peer: Peer, seed: int) -> None:
    rng = random.Random(seed)
    content = bytearray(whole.read_bytes())
    page = rng.randrange(len(content) // PAGE) * PAGE
    content[page : page + PAGE] = bytes(PAGE) if seed % 2 else rng.randbytes(PAGE)
    check_damage(store, whole, peer, bytes(content))


def test_the_first_page_is_gone(store: Path, whole: Path, peer: Peer) -> None:
    content = whole.read_bytes()
    check_damage(store, whole, peer, bytes(PAGE) + content[PAGE:])


@pytest.mark.parametrize("share", [0.95, 0.7, 0.4])
def test_a_truncated_file(store: Path, whole: Path, peer: Peer, share: float) -> None:
    content = whole.read_bytes()
    check_damage(store, whole, peer, content[: int(len(content) * share)])


def test_every_page_in_turn(store: Path, whole: Path, tmp_path: Path) -> None:
    """Whatever single page is lost, the repair ends with a sound store."""
    content = whole.read_bytes()
    for page in range(0, len(content), PAGE):
        path = tmp_path / f"{page}.db"
        path.write_bytes(content[:page] + bytes(PAGE) + content[page + PAGE :])
        mend(path)
        assert kept_set(path) <= kept_set(whole)
        assert len(kept_set(path)) > len(kept_set(whole)) // 2


# ---- the log --------------------------------------------------------------------------------


async def crashed(tmp_path: Path) -> Path:
    """A store whose writer died before the log was written back: everything of it stands there."""
    live, path = tmp_path / "live.db", tmp_path / "crashed.db"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(write_back, "_COMMITS", 1_000)
        return await _crashed(live, path)


async def _crashed(live: Path, path: Path) -> Path:
    async with weft.open(live) as opened:
        for number in range(30):
            await opened.context("a").append(f"{number} " + "word " * 40)
        for suffix in ("", "-wal"):
            shutil.copy(live.with_name(live.name + suffix), path.with_name(path.name + suffix))
    return path


async def test_what_stands_in_the_log_is_saved(tmp_path: Path) -> None:
    path = await crashed(tmp_path)
    done = await asyncio.to_thread(mend, path)
    assert (done.saved, done.lost) == (30, 0)
    assert not path.with_name(path.name + "-wal").exists()
    assert len(record_set(done.kept)) == 30


async def test_a_damaged_frame_of_the_log_costs_itself_only(tmp_path: Path) -> None:
    """SQLite stops reading at the first frame whose sum is wrong; what was committed behind it is
    in the file all the same."""
    path = await crashed(tmp_path)
    log = path.with_name(path.name + "-wal")
    content = bytearray(log.read_bytes())
    content[32 + 30 * (24 + PAGE) + 24 + 3000] ^= 0xFF
    log.write_bytes(content)
    assert len(record_set(Path(shutil.copytree(tmp_path, tmp_path / "c")) / path.name)) < 30
    done = await asyncio.to_thread(mend, path)
    assert done.saved == 30


async def test_a_damaged_frame_of_a_log_that_was_written_back_in_part(tmp_path: Path) -> None:
    """Then the file is ahead of what SQLite still reads of its log."""
    path = await crashed(tmp_path)
    with closing(sqlite3.connect(path)) as connection:
        log = path.with_name(path.name + "-wal")
        content = bytearray(log.read_bytes())
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        # The last one to close would fold the log in.
        there = Path(shutil.copyfile(path, tmp_path / "there.db"))
    content[32 + 30 * (24 + PAGE) + 24 + 3000] ^= 0xFF
    there.with_name(there.name + "-wal").write_bytes(content)
    done = await asyncio.to_thread(mend, there)
    assert (done.saved, done.lost) == (30, 0)
    assert check(there).is_sound


async def test_the_file_is_lost_and_its_log_is_not(tmp_path: Path) -> None:
    path = await crashed(tmp_path)
    path.write_bytes(bytes(path.stat().st_size))
    done = await asyncio.to_thread(mend, path)
    assert done.saved == 30
    assert check(path).is_sound


# ---- signatures and certificates ------------------------------------------------------------


async def test_own_records_do_not_wait_for_a_later_one_that_does(tmp_path: Path) -> None:
    """One signature covers them all, and its record hangs on one that is lost: what comes before
    it is signed anew."""
    path, other = tmp_path / "s.db", tmp_path / "o.db"
    async with (
        Replica.open(path, now_ms=now_ms, random=os.urandom) as replica,
        Replica.open(other, now_ms=now_ms, random=os.urandom) as elsewhere,
    ):
        for number in range(3):
            await replica.context("a").append(f"{number}")
        await elsewhere.context("a").append("elsewhere")
        await give(elsewhere, replica)
        await replica.context("a").append("behind it")
        await replica.signature_items(await all_records(replica))
    assert len(rows(path, "SELECT 1 FROM signatures")) == 2
    damage(path, "DELETE FROM records WHERE position = 4")
    done = await asyncio.to_thread(mend, path)
    assert (done.saved, done.waiting, done.lost) == (3, 1, 1)
    async with (
        Replica.open(path, now_ms=now_ms, random=os.urandom) as replica,
        Replica.open(other, now_ms=now_ms, random=os.urandom) as elsewhere,
    ):
        await give(elsewhere, replica)
    assert len(record_set(path)) == 5
    assert check(path).findings == ()


async def test_others_records_keep_every_signature_that_covers_them(tmp_path: Path) -> None:
    path, other = tmp_path / "s.db", tmp_path / "o.db"
    async with (
        Replica.open(path, now_ms=now_ms, random=os.urandom) as replica,
        Replica.open(other, now_ms=now_ms, random=os.urandom) as elsewhere,
    ):
        for number in range(4):
            await elsewhere.context("a").append(f"{number}")
            await give(elsewhere, replica)
    kept = rows(
        path,
        "SELECT hash, signature FROM signatures JOIN records USING (position) ORDER BY position",
    )
    assert len(kept) == 4
    damage(path, "DELETE FROM signatures WHERE position = 4")
    done = await asyncio.to_thread(mend, path)
    # The tip waits for somebody's word; what an earlier signature covers does not.
    assert (done.saved, done.waiting, done.lost) == (3, 1, 0)
    here = rows(path, "SELECT hash, signature FROM signatures JOIN records USING (position)")
    assert set(here) == set(kept[:3])


async def test_one_record_that_does_not_fit_costs_no_other(tmp_path: Path) -> None:
    """The gate takes nothing of a message in which something is wrong."""
    path = tmp_path / "s.db"
    async with Replica.open(path, now_ms=now_ms, random=os.urandom) as replica:
        for number in range(5):
            await replica.context("a").append(f"{number}")
    (good, *_) = rows(path, "SELECT hash, envelope, payload FROM records WHERE position = 4")
    assert isinstance(good[1], bytes)
    wrong = replace(decode_envelope(good[1]), seq=9).encode()
    with main_of(path) as connection:
        connection.execute(
            "INSERT INTO records SELECT 6, context, origin, 9, ?, ?, payload, 0 FROM records"
            " WHERE position = 4",
            (record_digest(wrong), wrong),
        )
    done = await asyncio.to_thread(mend, path)
    assert done.saved == 5
    assert record_digest(wrong) not in kept_set(path)
    assert check(path).findings == ()


def foreign(store: Path) -> set[object]:
    return {
        hash_
        for hash_, envelope in rows(store, "SELECT hash, envelope FROM records")
        if isinstance(envelope, bytes) and decode_envelope(envelope).kind is Kind.FOREIGN
    }


def uncertified_upto(store: Path) -> object:
    ((upto,),) = rows(store, "SELECT value FROM meta WHERE key = 'uncertified_upto'")
    return upto


async def test_foreign_records_of_before_there_were_certificates_stay(
    store: Path, whole: Path
) -> None:
    assert foreign(whole)
    await asyncio.to_thread(mend, store)
    assert uncertified_upto(store) == 0
    ((last,),) = rows(whole, "SELECT max(position) FROM records")
    damage(
        store,
        "UPDATE origins SET certificate = NULL",
        f"UPDATE meta SET value = {last} WHERE key = 'uncertified_upto'",
        "DELETE FROM records WHERE position = 1",
    )
    await asyncio.to_thread(mend, store)
    assert check(store).findings == ()
    newest = max(
        int(str(position))
        for position, hash_ in rows(store, "SELECT position, hash FROM records")
        if hash_ in foreign(whole)
    )
    # They stand elsewhere now, and not more than they is let pass.
    assert uncertified_upto(store) == newest


async def test_foreign_records_whose_certificate_is_lost_are_let_pass(
    store: Path, whole: Path, peer: Peer
) -> None:
    """As those of before there were any; a peer that sends them again brings it back."""
    damage(store, "UPDATE origins SET certificate = zeroblob(96) WHERE certificate IS NOT NULL")
    done = await asyncio.to_thread(mend, store)
    assert (done.lost, done.saved) == (0, len(record_set(whole)))
    assert foreign(store) == foreign(whole)
    ((left,),) = rows(store, "SELECT count(*) FROM origins WHERE certificate IS NOT NULL")
    ((had,),) = rows(whole, "SELECT count(*) FROM origins WHERE certificate IS NOT NULL")
    assert int(str(left)) < int(str(had))
    assert uncertified_upto(store) != 0
    assert check(store).findings == ()
    await check_comes_back(store, whole, peer)


def test_what_waits_is_counted_right_after_a_repair(store: Path) -> None:
    damage(store, "DELETE FROM records WHERE position IN (2, 30, 40)", "DELETE FROM waiting_room")
    assert any("not counted" in finding.what for finding in check(store).findings)
    mend(store)
    assert rows(
        store,
        "SELECT session, count(*), sum(length(envelope) + length(payload)) FROM waiting"
        " GROUP BY session ORDER BY 1",
    ) == rows(store, "SELECT * FROM waiting_room ORDER BY 1")


# ---- erased ---------------------------------------------------------------------------------


def stand_ins(store: Path) -> set[tuple[object, ...]]:
    return set(rows(store, f"SELECT hash, payload FROM records WHERE flags & {ERASED}"))


def rebuilt(file: Path, side: Path) -> Path:
    """What a repair makes of the pages of one file and the side tables of another."""
    draft = file.with_name("draft.db")
    with Pages(file) as pages:
        rebuild = Rebuild(look_through(pages), read_side_tables(side), now_ms(), quiet)
        rebuild.write(draft, b"S" * 16, b"E" * 8)
    return draft


def test_erased_records_keep_their_stand_ins_and_what_proves_them(store: Path, whole: Path) -> None:
    mend(store)
    assert len(stand_ins(whole)) > 5
    assert stand_ins(store) == stand_ins(whole)
    for question in (
        "SELECT * FROM stand_ins ORDER BY 1, 2",
        "SELECT hash, payload, signature FROM early_erasers ORDER BY 1",
        "SELECT hash, is_done FROM erasures JOIN records USING (position) ORDER BY 1",
        "SELECT eraser, store FROM confirmations ORDER BY 1, 2",
    ):
        assert rows(whole, question)
        assert rows(store, question) == rows(whole, question), question
    assert GONE.encode() not in store.read_bytes()


@pytest.mark.parametrize("table", ["stand_ins", "early_erasers", "erasures", "confirmations"])
async def test_what_proves_a_stand_in_is_found_again(
    store: Path, whole: Path, peer: Peer, table: str
) -> None:
    """But for an eraser that is nowhere else: then what it proves is lost here."""
    damage(store, f"DROP TABLE {table}")
    done = await asyncio.to_thread(mend, store)
    assert done.unreadable == (table,)
    if table != "early_erasers":
        assert stand_ins(store) == stand_ins(whole)
        assert waiting_set(store) == waiting_set(whole)
    assert check(store).erasures_pending == 0
    await check_comes_back(store, whole, peer)


def test_a_stand_in_that_no_eraser_proves_is_not_kept(store: Path, whole: Path) -> None:
    """Nor is a row taken that is said to be erased and is not."""
    ((good,),) = rows(whole, "SELECT hash FROM records WHERE position = 3")
    ((bad, bad_hash),) = rows(
        whole, f"SELECT min(position), hash FROM records WHERE flags & {ERASED}"
    )
    damage(
        store,
        f"UPDATE records SET flags = {ERASED} WHERE position = 3",
        f"UPDATE records SET payload = x'00' WHERE position = {bad}",
    )
    done = mend(store)
    assert done.lost == 1
    assert rows(store, f"SELECT flags FROM records WHERE hash = x'{good.hex()}'") == [(0,)]  # type: ignore[attr-defined]
    assert kept_set(whole) - kept_set(store) == {bad_hash}


async def erased_store(place: Path) -> tuple[Path, Path]:
    """A store as it was before something of it was erased, and as it is now."""
    path, before = place / "e.db", place / "before.db"
    async with Replica.open(path, now_ms=now_ms, random=os.urandom) as replica:
        chat = replica.context("a")
        ids = [(await chat.append(f"{number} {GONE} {number}"))[0] for number in range(5)]
        await chat.note("plan").insert(0, GONE)
    shutil.copy(path, before)
    async with Replica.open(path, now_ms=now_ms, random=os.urandom) as replica:
        await replica.context("a").erase(events=ids, reason="a test")
        await replica.context("a").erase(note="plan", reason="a test")
    assert GONE.encode() not in path.read_bytes()
    return path, before


async def test_an_older_row_brings_back_nothing_that_was_erased(tmp_path: Path) -> None:
    path, before = await erased_store(tmp_path)
    both = tmp_path / "both.db"
    for content in (path.read_bytes() + before.read_bytes(), before.read_bytes() * 2):
        # The whole file once more behind itself: each old row stands on some page.
        both.write_bytes(content)
        draft = await asyncio.to_thread(rebuilt, both, path)
        if len(content) > 2 * len(before.read_bytes()):
            assert GONE.encode() not in draft.read_bytes()
            assert stand_ins(draft) == stand_ins(path)
        draft.unlink()


async def test_old_rows_are_erased_again_by_an_eraser_that_is_left(tmp_path: Path) -> None:
    """The stand-ins are lost, the originals stand on old pages, and so does the eraser on its."""
    path, before = await erased_store(tmp_path)
    wanted = stand_ins(path)
    damage(path, f"DELETE FROM records WHERE flags & {ERASED}")
    both = tmp_path / "both.db"
    both.write_bytes(path.read_bytes() + before.read_bytes())
    draft = await asyncio.to_thread(rebuilt, both, path)
    assert stand_ins(draft) == wanted
    assert GONE.encode() not in draft.read_bytes()
    assert check(draft).findings == ()
    assert check(draft).erasures_pending == 0


async def test_an_old_row_does_not_stand_in_for_a_damaged_stand_in(tmp_path: Path) -> None:
    path, before = await erased_store(tmp_path)
    damage(
        path,
        f"UPDATE records SET payload = x'0000' WHERE flags & {ERASED}",
        "DELETE FROM records WHERE position IN (SELECT position FROM erasures)",
    )
    both = tmp_path / "both.db"
    both.write_bytes(path.read_bytes() + before.read_bytes())
    draft = await asyncio.to_thread(rebuilt, both, path)
    assert GONE.encode() not in draft.read_bytes()
    assert record_set(draft) == set()


@pytest.mark.parametrize("what", ["event", "note", "everything"])
def test_an_erasure_that_was_interrupted_is_done_by_the_repair(tmp_path: Path, what: str) -> None:
    path = tmp_path / "e.db"
    script = Path(__file__).with_name("erase_and_die.py")
    died = subprocess.run([sys.executable, str(script), str(path), what], timeout=60)
    assert died.returncode == -signal.SIGKILL
    before = record_set(path)
    done = mend(path)
    assert (done.lost, done.waiting) == (0, 0)
    assert record_set(path) == before
    texts = {"event": b"the SECRET", "note": b"a SECRET plan"}
    for one, text in texts.items():
        assert (text in path.read_bytes()) == (what not in (one, "everything"))
    report = check(path)
    assert (report.findings, report.erasures, report.erasures_pending) == ((), 1, 0)


# ---- how it ends ----------------------------------------------------------------------------


def test_a_store_in_use_is_not_repaired(store: Path) -> None:
    before = store.read_bytes()
    lock = WriterLock(store)
    lock.acquire()
    try:
        with pytest.raises(weft.StoreLocked):
            mend(store)
    finally:
        lock.release()
    assert store.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"no store at all\n" * 1000, bytes(8192)])
def test_what_is_no_store_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.db"
    path.write_bytes(content)
    with pytest.raises(weft.NotAStore):
        mend(path)
    assert path.read_bytes() == content
    assert {found.name for found in tmp_path.iterdir()} <= {"x.db", "x.db.lock"}


def test_another_programs_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with main_of(path) as connection:
        connection.execute("CREATE TABLE mine (a)")
    before = path.read_bytes()
    with pytest.raises(weft.NotAStore):
        mend(path)
    assert path.read_bytes() == before


def test_an_earlier_format_is_repaired_too(tmp_path: Path) -> None:
    old = Path(__file__).parents[1] / "data/store-format-1.db"
    path = Path(shutil.copy(old, tmp_path / "old.db"))
    done = mend(path)
    assert done.unreadable == ()
    assert record_set(path) == record_set(done.kept)
    assert check(path).is_sound


def test_a_relay_brings_back_what_a_repair_could_not(tmp_path: Path) -> None:
    store = tmp_path / "s.db"
    lines = tmp_path / "c.jsonl"
    lines.write_text(conversation("acme/a", *[f"said {number}" for number in range(20)]))
    assert main(["import", str(lines), "--store", str(store)]) == 0
    for number in range(10):
        assert main(["append", "acme/a", f"more {number}", "--store", str(store)]) == 0
    before = record_set(store)
    with running_relay(tmp_path / "relay") as relay:
        words = ["--url", relay.url, "--until-synced"]
        assert main(["sync", "--store", str(store), *words]) == 0
        damage(store, "DELETE FROM records WHERE position IN (2, 5)")
        assert main(["doctor", "--store", str(store)]) == 1
        assert main(["doctor", "--store", str(store), "--repair"]) == 0
        assert examine(store, progress=quiet).is_sound
        assert record_set(store) < before
        assert main(["append", "acme/a", "meanwhile", "--store", str(store)]) == 0
        assert main(["sync", "--store", str(store), *words]) == 0
        assert before < record_set(store)
        assert record_set(store) == record_set(relay.store)
        assert not waiting_set(store)
        assert check(store).is_sound
