"""Checkpoints of documents: they save time and never matter otherwise."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.stores import folder, give, open_replica
from weft_engine.document.document import Document
from weft_engine.document.rebuild import Rebuild
from weft_engine.names import ClientId, ContextName, NoteName
from weft_engine.replica import note as note_module
from weft_engine.storage import checkpoints
from weft_engine.storage.verify import verify

NAME = ContextName("shared/plan")
OTHER = ContextName("shared/other")


@pytest.fixture(autouse=True)
def _few_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(note_module, "CHECKPOINT_RECORDS", 8)


async def write(path: Path, *names: ContextName) -> dict[ContextName, str]:
    """A store whose contexts have a note and a checkpoint each; the notes' texts."""
    texts: dict[ContextName, str] = {}
    async with open_replica(path) as replica:
        for name in names:
            context = replica.context(name)
            for number in range(12):
                await context.append(f"message {number}")
                await context.note("plan").append(f"{name}: Zeile {number} 😀\n")
            await context.note("plan").delete(3, 5)
    async with open_replica(path, seed=1) as replica:
        for name in names:
            notes = replica.context(name)._notes
            texts[name] = await replica.context(name).note("plan").text()
            await notes.settled()
    return texts


def change(path: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement, values)


def rows(path: Path) -> list[tuple[int, int, bytes, bytes, bytes]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT * FROM checkpoints ORDER BY context").fetchall()


async def texts_of(path: Path, *names: ContextName) -> dict[ContextName, str]:
    async with open_replica(path, seed=2, readonly=True) as replica:
        return {name: await replica.context(name).note("plan").text() for name in names}


def findings(path: Path) -> list[str]:
    report = verify(path, progress=lambda *_: None)
    return [finding.what for finding in report.findings]


def test_a_checkpoint_is_written_and_the_next_open_applies_what_is_new_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def run() -> None:
        with folder() as where:
            path = where / "s.weft"
            texts = await write(path, NAME)
            assert len(rows(path)) == 1
            assert not findings(path)
            applied: list[int] = []
            apply = Document.apply

            def counting(self: Document, update: bytes) -> None:
                applied.append(len(update))
                apply(self, update)

            monkeypatch.setattr(Document, "apply", counting)
            async with open_replica(path, seed=3) as replica:
                context = replica.context(NAME)
                await context.append("one more")
                assert await context.note("plan").text() == texts[NAME]
                ((_, _, state, _, _),) = rows(path)
                assert applied[0] == len(state)
                assert len(applied) <= 1 + 8 + 1, "of 26 records, what came since"
                await context.note("plan").insert(0, "first ")
                assert await context.note("plan").text() == "first " + texts[NAME]

    asyncio.run(run())


def flip(column: str) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        for context, position, state, tips, digest in rows(path):
            blob = bytearray({"state": state, "tips": tips, "digest": digest}[column])
            blob[len(blob) // 2] ^= 4
            change(
                path,
                f"UPDATE checkpoints SET {column} = ? WHERE context = ? AND position = ?",
                bytes(blob),
                context,
                position,
            )

    return damage


def swap(path: Path) -> None:
    change(path, "UPDATE checkpoints SET context = context + 100")
    change(path, "UPDATE checkpoints SET context = 103 - context")


def move(path: Path) -> None:
    """To the position of the record before, of the same context."""
    change(
        path,
        "UPDATE checkpoints SET position = (SELECT max(position) FROM records"
        " WHERE records.context = checkpoints.context AND records.position < checkpoints.position)",
    )


def put_in_the_future(path: Path) -> None:
    change(path, "UPDATE checkpoints SET position = position + 1000000")


def put_junk(path: Path) -> None:
    change(path, "UPDATE checkpoints SET state = 'text', tips = 7")


WRONG = {
    "state": flip("state"),
    "tips": flip("tips"),
    "digest": flip("digest"),
    "swapped": swap,
    "moved": move,
    "future": put_in_the_future,
    "junk": put_junk,
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_checkpoint_is_found_ignored_and_replaced(wrong: str) -> None:
    async def run() -> None:
        with folder() as where:
            path = where / "s.weft"
            texts = await write(path, NAME, OTHER)
            assert len(rows(path)) == 2
            before = rows(path)
            WRONG[wrong](path)
            assert rows(path) != before
            assert len(findings(path)) == 2
            assert await texts_of(path, NAME, OTHER) == texts
            async with open_replica(path, seed=4) as replica:
                for name in (NAME, OTHER):
                    context = replica.context(name)
                    assert await context.note("plan").text() == texts[name]
                    await context._notes.settled()
            assert not findings(path), "replaced"
            assert len(rows(path)) == 2

    asyncio.run(run())


def test_no_checkpoint_is_as_good_as_one() -> None:
    async def run() -> None:
        with folder() as where:
            path = where / "s.weft"
            texts = await write(path, NAME)
            change(path, "DELETE FROM checkpoints")
            assert await texts_of(path, NAME) == texts
            assert not findings(path)

    asyncio.run(run())


def test_verify_finds_a_whole_checkpoint_of_another_document() -> None:
    """Its digest is right: only the records can tell."""

    async def run() -> None:
        with folder() as where:
            path = where / "s.weft"
            await write(path, NAME)
            ((_, position, _, tips, _),) = rows(path)
            forger = Document(ClientId(5))
            forger.edit(NoteName("plan"), 0, 0, "forged")
            with closing(sqlite3.connect(path)) as connection, connection:
                (record,) = connection.execute(
                    "SELECT hash FROM records WHERE position = ?", (position,)
                ).fetchone()
                state = forger.encoded()
                digest = checkpoints._digest(NAME, position, record, state, tips)
                connection.execute("UPDATE checkpoints SET state = ?, digest = ?", (state, digest))
            assert findings(path) == [
                f"the checkpoint at position {position} is not the document of its records"
            ]

    asyncio.run(run())


@pytest.mark.parametrize("wrong", ["live", "loaded"])
def test_a_checkpoint_that_does_not_agree_is_not_written(
    wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    agrees = Rebuild.agrees
    calls: list[bool] = []

    def disagreeing(self: Rebuild, state: bytes) -> bool:
        calls.append(agrees(self, state))
        return wrong == "loaded" and len(calls) % 2 == 1

    monkeypatch.setattr(Rebuild, "agrees", disagreeing)

    async def run() -> None:
        with folder() as where:
            await write(where / "s.weft", NAME)
            assert calls
            assert all(calls)
            assert not rows(where / "s.weft")

    asyncio.run(run())


def test_the_live_document_has_its_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """A live document that went wrong is not what is kept."""
    encoded = Document.encoded

    def wrong(self: Document) -> bytes:
        forger = Document(ClientId(5))
        forger.edit(NoteName("plan"), 0, 0, "forged")
        return encoded(forger)

    async def run() -> None:
        with folder() as where:
            monkeypatch.setattr(Document, "encoded", wrong)
            await write(where / "s.weft", NAME)
            assert not rows(where / "s.weft")

    asyncio.run(run())


def test_an_equivocation_leaves_no_checkpoint_and_the_same_text() -> None:
    async def run() -> None:
        with folder() as where:
            # Two stores with one source of randomness have one key, as clones of a machine do.
            (where / "a").mkdir()
            (where / "b").mkdir()
            texts = []
            for side, said in (("a", "left "), ("b", "right ")):
                async with open_replica(where / side / "s.weft") as replica:
                    context = replica.context(NAME)
                    for number in range(12):
                        await context.note("plan").append(f"{said}{number} ")
                    await context._notes.settled()
                assert rows(where / side / "s.weft"), "of one side, which is stale now"
                if side == "b":
                    change(where / side / "s.weft", "DELETE FROM checkpoints")
            async with (
                open_replica(where / "a" / "s.weft", seed=8) as a,
                open_replica(where / "b" / "s.weft", seed=9) as b,
            ):
                await give(a, b)
                await give(b, a)
                for replica in (a, b):
                    context = replica.context(NAME)
                    texts.append(await context.note("plan").text())
                    await context._notes.settled()
            assert texts[0] == texts[1]
            assert not rows(where / "b" / "s.weft")
            assert not findings(where / "a" / "s.weft")

    asyncio.run(run())


def test_what_was_made_before_an_erasure_is_not_written() -> None:
    async def run() -> None:
        with folder() as where:
            path = where / "s.weft"
            await write(path, NAME)
            async with open_replica(path, seed=5) as replica:
                state = await replica.state(NAME)
                assert state is not None
                before = await replica.journal.read(lambda c: checkpoints.erasures(c, state.id))
                made = await replica.journal.read(lambda c: checkpoints.load(c, state))
                assert made is not None
                await replica.journal.write(
                    lambda c: (
                        c.execute("INSERT INTO erasures VALUES (1, ?, 0)", (state.id,))
                        and c.execute("DELETE FROM checkpoints WHERE context = ?", (state.id,))
                        and None
                    )
                )
                saved = await replica.journal.write(
                    lambda c: checkpoints.save(c, state, made, before)
                )
                assert not saved
            assert not rows(path)

    asyncio.run(run())


def test_a_checkpoint_that_is_no_text_and_says_so_is_the_same_as_none() -> None:
    async def run() -> None:
        with folder() as where:
            path = where / "s.weft"
            texts = await write(path, NAME)
            change(path, "UPDATE checkpoints SET state = CAST(x'ff' || state AS TEXT)")
            assert await texts_of(path, NAME) == texts
            assert len(findings(path)) == 1

    asyncio.run(run())
