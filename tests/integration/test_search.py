"""Search with real stores: what is found, how, and that nothing is left of what was erased."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

import weft
from tests.command_line import main_of
from tests.erasing import files_with, linked
from tests.stores import folder, give, open_replica
from weft_engine.errors import CallerError, LimitExceeded, NotFound, StoreClosed, StoreError
from weft_engine.events.codec import encode_event
from weft_engine.events.event import Event, Fact, Hide, Message, Role, Summary
from weft_engine.events.part import Text
from weft_engine.formats.conversation_file import Conversation, import_conversation
from weft_engine.limits import EVENT_BYTES_MAX
from weft_engine.names import ContextName, EventId
from weft_engine.records.identity import client_id
from weft_engine.replica.context import Context
from weft_engine.replica.replica import Replica
from weft_engine.replica.search_hit import Hit
from weft_engine.storage import erasing, search_tables
from weft_engine.storage.backup import back_up, restore
from weft_engine.storage.repair import repair
from weft_engine.storage.search_tables import SearchTables
from weft_engine.storage.usage import measure
from weft_engine.storage.verify import verify
from weft_engine.yjs.encoder import encode_event_append


@pytest.fixture
def place() -> Iterator[Path]:
    with folder() as found:
        yield found


async def write(chat: Context, event: Event) -> EventId:
    (id_,) = await chat._replica.scribe.append(chat.name, [lambda _: event])
    return id_


def texts(hits: list[Hit]) -> list[str]:
    return sorted(hit.snippet for hit in hits)


def search_tables_of(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT name FROM sqlite_schema WHERE name GLOB 'search*'")
        return [row[0] for row in rows]


def assert_sound(path: Path) -> None:
    assert verify(path, progress=lambda *_: None).findings == ()


# ---- what is found --------------------------------------------------------------------------


async def test_everything_that_was_said_is_found(place: Path) -> None:
    async with open_replica(place / "a.db") as replica:
        chat = replica.context("acme/a")
        call = {"id": "c1", "type": "function"}
        await chat.append(
            [
                {"role": "user", "content": "needle as user"},
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {**call, "function": {"name": "needle_of", "arguments": '{"a\\nb": 1}'}}
                    ],
                },
                {"role": "tool", "tool_call_id": "c1", "content": '{"x": "\\tneedle\\u00e9"}'},
                {"role": "assistant", "refusal": "needle refused", "content": None},
            ]
        )
        await write(chat, Event("me", Fact("needle.key", '{"v": ["in \\"it\\""]}', "last")))
        await write(chat, Event("me", Summary((), 3, "0" * 64, "needle summed up")))
        (hidden,) = await chat.append("needle hidden")
        await write(chat, Event("me", Hide(hidden)))
        await chat.note("plan").append("the needle plan")
        hits = await chat.search("needle*")
        kinds = sorted((hit.kind, hit.role.value if hit.role else "") for hit in hits)
        assert kinds == [
            ("fact", ""),
            ("message", "assistant"),
            ("message", "assistant"),
            ("message", "tool"),
            ("message", "user"),
            ("message", "user"),
            ("note", ""),
            ("summary", ""),
        ]
        # Escapes of JSON hide no word and make none.
        assert [hit.kind for hit in await chat.search('"a b 1" needle_of')] == ["message"]
        assert [hit.kind for hit in await chat.search('"in it"')] == ["fact"]
        assert [hit.role for hit in await chat.search("needleé")] == [Role.TOOL]
        (note,) = await chat.search("plan")
        assert (note.note, note.id, note.author, note.context) == ("plan", None, None, "acme/a")
        assert note.snippet == "the needle plan"
        assert note.marks == ((11, 15),)


async def test_filters_order_and_pages(place: Path) -> None:
    async with weft.open(place / "a.db") as store:
        first, other = store.context("acme/first"), store.context("other")
        await first.append(["word one", "word two word"], author="Ann")
        await first.append({"role": "assistant", "content": "a word"})
        await other.append("word elsewhere")
        await first.note("n").append("word noted")
        ids = [hit.id for hit in await store.search("word", order="newest")]
        assert len(ids) == 5
        assert {hit.context for hit in await store.search("word", prefix="acme/")} == {"acme/first"}
        assert len(await store.search("word", prefix="acme/none")) == 0
        assert len(await first.search("word")) == 4
        assert texts(await first.search("word", role="assistant")) == ["a word"]
        assert texts(await store.search("word", author="Ann")) == ["word one", "word two word"]
        assert texts(await store.search("word", kind="note")) == ["word noted"]
        assert len(await store.search("word", kind="message")) == 4
        (hit,) = await store.search("elsewhere")
        assert (hit.context, hit.kind, hit.role, hit.author) == ("other", "message", "user", "user")
        when = datetime.fromtimestamp(hit.time_ms / 1000, UTC)
        assert await store.search("elsewhere", since=when, until=when) == [hit]
        assert await store.search("elsewhere", since=hit.time_ms + 1) == []
        assert await store.search("elsewhere", until=hit.time_ms - 1) == []
        best = await store.search("word", limit=3)
        assert best + await store.search("word", limit=3, offset=3) == await store.search("word")
        assert await store.context("not/there").search("word") == []
        for wrong, error in (
            ({"kind": "invalid"}, CallerError),
            ({"role": "king"}, CallerError),
            ({"order": "oldest"}, CallerError),
            ({"limit": 0}, CallerError),
            ({"offset": -1}, CallerError),
            ({"limit": 1001}, LimitExceeded),
            ({"since": datetime(2026, 1, 1)}, CallerError),  # noqa: DTZ001 - that is the mistake
        ):
            with pytest.raises(error):
                await store.search("word", **wrong)


async def test_what_fits_better_comes_first_whatever_shard_it_is_in(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_tables, "SEARCH_SHARD_ENTRIES", 7)
    filler = "some other words to say nothing of it"
    async with open_replica(place / "a.db") as replica:
        chat = replica.context("a")
        for number in range(35):
            rare = "a zebra crossing" if number % 7 == 0 else "nothing"
            await chat.append(f"{filler} {number} {rare}")
        # Alone in its shard, where its words are in all that there is.
        await chat.append("zebra zebra")
        hits = await chat.search("zebra")
        assert [len(hits), hits[0].snippet] == [6, "zebra zebra"]
        assert len(await chat.search("crossing OR zebra")) == 6


async def test_one_that_lost_its_id_is_never_found(place: Path) -> None:
    async with open_replica(place / "a.db") as a, open_replica(place / "b.db", seed=1) as b:
        chat = a.context("x")
        await chat.append("first")
        await give(a, b)
        event = Event("user", Message(Role.USER, (Text("forged needle"),)))
        # The other side says something under an id of ours, before ours has come.
        (ours,) = await chat.append("genuine needle")
        other = b.context("x")
        await other.append("by the other side")
        clock = await b.scribe.settled_clock(other.name)
        payload = encode_event_append(
            client_id(b.scribe.incarnation, other.name), clock, [(ours, encode_event(event))]
        ).payload
        await b.scribe.append_update(other.name, payload, 1)
        assert texts(await other.search("needle")) == ["forged needle"]
        await give(a, b)
        await give(b, a)
        for replica in (a, b):
            assert texts(await replica.context("x").search("needle")) == ["genuine needle"]
            assert await replica.context("x").search("forged") == []
        for name, seed in (("a.db", 5), ("b.db", 6)):
            async with open_replica(place / name, seed=seed, readonly=True) as reader:
                assert texts(await reader.context("x").search("needle")) == ["genuine needle"]


async def test_imports_of_two_devices_are_found_once(place: Path) -> None:
    file = Conversation("f", (json.dumps({"role": "user", "content": "needle"}),))
    async with open_replica(place / "a.db") as a, open_replica(place / "b.db", seed=1) as b:
        for replica in (a, b):
            await replica.context("file").import_messages(import_conversation(file))
            assert len(await replica.context("file").search("needle")) == 1
        await give(a, b)
        await give(b, a)
        found = [await replica.context("file").search("needle") for replica in (a, b)]
        assert len(found[0]) == len(found[1]) == 1
        assert found[0][0].id == found[1][0].id
        async with open_replica(place / "b.db", readonly=True) as reader:
            (hit,) = await reader.context("file").search("needle")
            assert hit.id == found[0][0].id


async def test_a_note_is_found_as_it_is_now(place: Path) -> None:
    async with open_replica(place / "a.db") as replica:
        chat = replica.context("a")
        note = chat.note("plan")
        await note.append("buy apples")
        assert texts(await chat.search("apples")) == ["buy apples"]
        await note.delete(4, 6)
        await note.append("pears")
        assert await chat.search("apples") == []
        assert texts(await chat.search("pears")) == ["buy pears"]
        await note.delete(0, 9)
        assert await chat.search("pears OR buy") == []


async def test_a_note_that_changes_for_long_leaves_a_small_index(place: Path) -> None:
    async with open_replica(place / "a.db") as replica:
        note = replica.context("a").note("plan")
        for number in range(60):
            await note.append(f"word{number} " * 1000)
            if number > 2:
                await note.delete(0, 6000)
            assert len(await replica.context("a").search(f"word{number}")) == 1
        with closing(sqlite3.connect(replica.path)) as connection:
            (entries,) = connection.execute("SELECT count(*) FROM search_notes").fetchone()
        assert entries < 20, "of sixty that were made"


# ---- off the hot path -----------------------------------------------------------------------


async def test_a_store_that_is_never_searched_has_nothing_of_it(place: Path) -> None:
    async with open_replica(place / "a.db") as replica:
        await replica.context("a").append(["one", "two"])
        await asyncio.sleep(0.4)
    assert search_tables_of(place / "a.db") == []
    assert measure(place / "a.db").uses["search index"] == 0


async def test_what_is_written_after_a_search_is_indexed_when_writing_pauses(place: Path) -> None:
    async with open_replica(place / "a.db") as replica:
        chat = replica.context("a")
        await chat.append("one")
        await chat.search("one")
        ids = [(await chat.append(f"needle {number}"))[0] for number in range(300)]
        async with asyncio.timeout(20):
            while True:
                await asyncio.sleep(0.05)
                with closing(sqlite3.connect(replica.path)) as connection:
                    (count,) = connection.execute("SELECT count(*) FROM search_entries").fetchone()
                if count == 301:
                    break
        assert {hit.id for hit in await chat.search("needle", limit=1000)} == set(ids)


async def test_searches_beside_appends_see_what_was_committed_before(place: Path) -> None:
    async with open_replica(place / "a.db") as replica:
        chat = replica.context("a")

        async def one(number: int) -> None:
            (id_,) = await chat.append(f"needle w{number}")
            (hit,) = await chat.search(f"w{number}")
            assert hit.id == id_

        await asyncio.gather(*(one(number) for number in range(60)))
        assert len(await chat.search("needle", limit=100)) == 60


async def test_a_search_that_is_given_up_harms_no_other(place: Path) -> None:
    async with open_replica(place / "a.db") as replica:
        chat = replica.context("a")
        await chat.append([f"needle {number}" for number in range(500)])
        for delay_s in (0, 0.001, 0.005, 0.02, 0.05):
            task = asyncio.create_task(chat.search("needle"))
            await asyncio.sleep(delay_s)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert len(await chat.search("needle", limit=1000)) == 500


async def test_a_closed_store_says_so(place: Path) -> None:
    replica = open_replica(place / "a.db")
    await replica.context("a").append("x")
    await replica.context("a").search("x")
    await replica.close()
    with pytest.raises(StoreClosed):
        await replica.context("a").search("x")


# ---- erasing --------------------------------------------------------------------------------


async def test_no_word_of_what_was_erased_is_in_any_file(place: Path) -> None:
    """The words begin with letters of their own: the index keeps only what differs from the word
    before."""
    async with open_replica(place / "a.db") as replica:
        chat, other = replica.context("a/b"), replica.context("c")
        filler = "much more is said here than anybody wants to know"
        ids = await chat.append([f"{filler} {chr(97 + i % 26)}qx{i:04}secret" for i in range(400)])
        (kept,) = await other.append("stays")
        await chat.note("plan").append("zwhispered zplan")
        await chat.search("secret OR stays OR zwhispered")
        await other.search("stays")
        with closing(sqlite3.connect(replica.path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        gone = [3, 77, 150, 399]
        words = [f"{chr(97 + i % 26)}qx{i:04}secret" for i in gone]
        for word in words:
            assert len(await chat.search(word)) == 1
        await chat.erase(events=[ids[i] for i in gone], reason="private")
        for i, word in zip(gone, words, strict=True):
            # Nor what would be left of it where the word before begins the same.
            assert not files_with(place, word.encode()), word
            assert not files_with(place, f"qx{i:04}secret".encode()), word
            assert await chat.search(word) == []
        left = await chat.search(filler, limit=1000)
        assert len(left) == 400 - len(gone)
        await chat.erase(note="plan", reason="private")
        assert await chat.search("zwhispered") == []
        assert not files_with(place, b"zwhispered")
        assert not files_with(place, b"whispered")
        await chat.erase(everything=True, reason="private")
        assert await chat.search(filler) == []
        assert not files_with(place, b"0001secret")
        assert [hit.id for hit in await other.search("stays")] == [kept]
    assert_sound(place / "a.db")


async def test_the_index_did_hold_the_words(place: Path) -> None:
    """So that the test above says something."""
    async with open_replica(place / "a.db") as replica:
        await replica.context("a").append("QXSECRET")
        await replica.context("a").search("x")
    assert files_with(place, b"qxsecret"), "folded, so it is not the record that holds it"


async def test_what_was_erased_meanwhile_is_not_written_down(place: Path) -> None:
    """A step that was read before an erasure, and comes to be written behind it."""
    async with open_replica(place / "a.db") as replica:
        chat = replica.context("a")
        await chat.append("start")
        await chat.search("start")
        (id_,) = await chat.append("QXSECRET told")
        await chat.append("kept told")
        generation = await replica.searching._indexing._generation()
        found = await replica.searching._indexing.next_batch(chat.name, generation)
        assert found is not None
        assert any("QXSECRET" in entry.text for entry in found[0].entries)
        await chat.erase(event=id_, reason="private")
        assert not await replica.journal.write(
            lambda connection: SearchTables(connection).save([found[0]])
        )
        assert texts(await chat.search("told")) == ["kept told"]
    assert not files_with(place, b"qxsecret")
    assert not files_with(place, b"QXSECRET")


async def test_what_stays_is_found_once_when_a_shard_is_made_anew(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_tables, "SEARCH_SHARD_ENTRIES", 2)
    async with open_replica(place / "a.db") as replica:
        chat = replica.context("a")
        ids = [(await chat.append(f"needle {number}"))[0] for number in range(10)]
        assert len(await chat.search("needle")) == 10
        for gone in (1, 4, 9):
            await chat.erase(event=ids[gone], reason="private")
            hits = await chat.search("needle")
            assert len(hits) == len({hit.id for hit in hits}), "each once"
        assert {hit.id for hit in hits} == {ids[i] for i in (0, 2, 3, 5, 6, 7, 8)}


async def test_what_another_replica_erases_goes_from_the_index(place: Path) -> None:
    for name in "ab":
        (place / name).mkdir()
    async with (
        open_replica(place / "a" / "a.db") as a,
        open_replica(place / "b" / "b.db", seed=1) as b,
        linked(a, b) as link,
    ):
        (id_,) = await a.context("x").append("QXSECRET told")
        await a.context("x").append("kept told")
        await link.settled()
        assert len(await b.context("x").search("told")) == 2
        await a.context("x").erase(event=id_, reason="private")
        await link.settled()
        assert not files_with(place, b"qxsecret")
        assert texts(await b.context("x").search("told")) == ["kept told"]


async def test_a_reader_forgets_what_the_writer_erases(place: Path) -> None:
    async with open_replica(place / "a.db") as writer:
        chat = writer.context("a")
        (id_, *_) = await chat.append(["secret told", "kept told"])
        async with open_replica(place / "a.db", readonly=True) as reader:
            assert len(await reader.context("a").search("told")) == 2
            await chat.erase(event=id_, reason="private")
            assert texts(await reader.context("a").search("told")) == ["kept told"]
            assert await reader.context("a").search("secret") == []


async def test_a_reader_searches_while_an_erasure_is_not_done(place: Path) -> None:
    """The writer died before the work was done: nobody changes that while the reader looks."""
    async with open_replica(place / "a.db") as writer:
        chat = writer.context("a")
        (id_, *_) = await chat.append(["secret told", "kept told"])
        await chat.erase(event=id_, reason="private")
    with main_of(place / "a.db") as connection:
        connection.execute("UPDATE erasures SET is_done = 0")
    async with open_replica(place / "a.db", readonly=True) as reader:
        async with asyncio.timeout(20):
            assert texts(await reader.context("a").search("told")) == ["kept told"]
            assert texts(await reader.context("a").search("told")) == ["kept told"]


# ---- a cache in a file ----------------------------------------------------------------------


async def filled(path: Path) -> set[str]:
    async with open_replica(path) as replica:
        await replica.context("a").append([f"needle {number}" for number in range(30)])
        await replica.context("a").note("n").append("needle note")
        await replica.context("b").append("needle b")
        return {hit.snippet for hit in await replica.searching.find("needle", limit=100)}


async def found(replica: Replica) -> set[str]:
    hits = await replica.searching.find("needle", limit=100)
    assert len(hits) == len({hit.snippet for hit in hits}), "each once"
    return {hit.snippet for hit in hits}


@pytest.mark.parametrize("table", [None, "search_state", "search_contexts", "search_entries"])
async def test_without_its_tables_it_is_made_anew(place: Path, table: str | None) -> None:
    path = place / "a.db"
    before = await filled(path)
    with main_of(path) as connection:
        if table is None:
            search_tables.clear(connection, "main")
        else:
            connection.execute("UPDATE search_state SET words = 'of another python'")
    async with open_replica(path, readonly=True) as reader:
        assert await found(reader) == before
    async with open_replica(path, seed=1) as replica:
        assert await found(replica) == before
    assert_sound(path)


async def test_erasing_takes_an_index_of_another_definition_with_it(place: Path) -> None:
    async with open_replica(place / "a.db") as replica:
        (id_,) = await replica.context("a").append("QXSECRET")
        await replica.context("a").search("x")
    with main_of(place / "a.db") as connection:
        connection.execute("UPDATE search_state SET words = 'of another python'")
    assert files_with(place, b"qxsecret")
    async with open_replica(place / "a.db", seed=1) as replica:
        await replica.context("a").erase(event=id_, reason="private")
        assert not files_with(place, b"qxsecret")


async def test_copies_and_repairs_do_without_it(place: Path) -> None:
    path = place / "a.db"
    before = await filled(path)
    random = open_replica(place / "r.db").random
    back_up(path, place / "backup.db", now_ms=1, random=random, check=None)
    assert search_tables_of(place / "backup.db") == []
    restore(
        place / "backup.db",
        place / "restored.db",
        replace=False,
        now_ms=2,
        random=random,
        progress=lambda *_: None,
    )
    repair(path, now_ms=3, random=random, progress=lambda *_: None)
    assert search_tables_of(path) == []
    for each in (path, place / "restored.db"):
        async with open_replica(each, seed=2) as replica:
            assert await found(replica) == before
        assert_sound(each)


async def test_a_reader_completes_what_the_store_has(place: Path) -> None:
    path = place / "a.db"
    before = await filled(path)
    async with open_replica(path, seed=1) as writer:
        await writer.context("a").append("needle late")
        await writer.context("a").note("n").append(" more")
        await writer.context("c").append("needle c")
        async with open_replica(path, readonly=True) as reader:
            expected = before - {"needle note"} | {"needle late", "needle c", "needle note more"}
            assert await found(reader) == expected
            assert await found(writer) == expected, "and the writer takes over"
            assert await found(reader) == expected
            await writer.context("c").append("needle d")
            assert await found(reader) == expected | {"needle d"}
    assert_sound(path)


async def test_a_python_without_fts5_says_so(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(connection: sqlite3.Connection) -> None:
        row = connection.execute("SELECT 1 FROM pragma_module_list WHERE name = 'x'").fetchone()
        assert row is None
        raise StoreError("search needs FTS5")

    path = place / "a.db"
    await filled(path)
    monkeypatch.setattr(search_tables, "check_available", missing)
    async with open_replica(place / "b.db") as replica:
        await replica.context("a").append("x")
        with pytest.raises(StoreError, match="FTS5"):
            await replica.context("a").search("x")
        await replica.context("a").append("and all else works")

    def troubled(*_: object) -> None:
        raise AssertionError("where others commit, it is too late to fail")

    monkeypatch.setattr(erasing, "step", troubled)
    async with open_replica(path, seed=1) as replica:
        (first, *_) = [said async for said in replica.context("a").history()]
        with pytest.raises(StoreError, match="FTS5"):
            # Its words would stay in the index.
            await replica.context("a").erase(event=first.id, reason="x")


# ---- hostile --------------------------------------------------------------------------------


async def test_any_text_can_be_found(place: Path) -> None:
    async with open_replica(place / "a.db") as replica:
        chat = replica.context("a")
        sayings = [
            "nul\x00byte",
            "\u202eright to left\u202c שלום עולם",
            "👩‍👩‍👧 family",
            "'; DROP TABLE records; --",
            '"unbalanced quote',
            "a" * 100_000,
            "\U0010ffff \ufffe",
        ]
        ids = await chat.append(sayings)
        for query, index in (
            ("nul byte", 0),
            ("שלום", 1),
            ("👧", 2),
            ("drop table", 3),
            ('"unbalanced quote', 4),
            ("a" * 100, 5),
        ):
            assert [hit.id for hit in await chat.search(query)] == [ids[index]], query


async def test_the_largest_message(place: Path) -> None:
    async with open_replica(place / "a.db") as replica:
        chat = replica.context("a")
        text = ("word " * (EVENT_BYTES_MAX // 5))[: EVENT_BYTES_MAX - 20_000] + " needle"
        (id_,) = await chat.append(text)
        (hit,) = await chat.search("needle")
        assert hit.id == id_
        assert hit.snippet.endswith("needle")
        assert len(hit.snippet) < 300


async def test_many_contexts(place: Path) -> None:
    async with open_replica(place / "a.db") as replica:
        for number in range(150):
            await replica.context(f"{'even' if number % 2 == 0 else 'odd'}/{number}").append("word")
        assert len(await replica.searching.find("word", limit=1000)) == 150
        odd = await replica.searching.find("word", prefix="odd/", limit=1000)
        assert len(odd) == 75
        assert all(hit.context.startswith("odd/") for hit in odd)
        one = await replica.searching.find("word", context=ContextName("odd/7"))
        assert [hit.context for hit in one] == ["odd/7"]


# ---- branches -----------------------------------------------------------------------------------


async def test_main_finds_every_branch_and_a_branch_what_it_shows(place: Path) -> None:
    async with open_replica(place / "a.db") as replica:
        chat = replica.context("acme/a")
        await chat.append("needle shared")
        fact = await chat.fact("shared", "needle")
        branch = await chat.branch("b")
        other = await chat.branch("other")
        (on_main,) = await chat.append("needle of main")
        await chat.fact("main", "needle")
        await branch.append("needle of the branch")
        await branch.fact("own", "needle")
        (below_id,) = await (await branch.branch("below")).append("needle below")
        await chat.note("plan").append("needle note")

        hits = await chat.search("needle")
        assert len(hits) == 8
        assert {hit.branch for hit in hits if hit.id == below_id} != {None}
        assert [hit.branch for hit in hits if hit.id == on_main] == [None]
        on_branch = await branch.search("needle", order="newest")
        assert texts([hit for hit in on_branch if hit.kind == "message"]) == [
            "needle of the branch",
            "needle shared",
        ]
        assert len([hit for hit in on_branch if hit.kind == "fact"]) == 2
        assert [hit.note for hit in on_branch if hit.kind == "note"] == ["plan"]
        assert {hit.branch for hit in on_branch if hit.kind != "note"} == {None, branch.branch_id}
        assert [hit.id for hit in await other.search("needle", kind="fact")] == [fact]
        pages = [
            await branch.search("needle", order="newest", limit=2, offset=n) for n in (0, 2, 4)
        ]
        assert [hit for page in pages for hit in page] == on_branch
        with pytest.raises(NotFound):
            await chat.on(on_main).search("needle")
        async with open_replica(place / "a.db", readonly=True) as reader:
            again = reader.context("acme/a").on(branch.branch_id)
            assert await again.search("needle", order="newest") == on_branch


async def test_a_branch_finds_its_few_among_many(place: Path) -> None:
    async with open_replica(place / "a.db") as replica:
        chat = replica.context("acme/a")
        await chat.append("hay")
        branch = await chat.branch("b")
        await branch.append("needle of the branch")
        await chat.append([f"needle {n}" for n in range(300)])
        assert texts(await branch.search("needle", order="newest")) == ["needle of the branch"]
        assert len(await chat.search("needle", limit=1000)) == 301


async def test_an_import_on_two_branches_is_found_on_each(place: Path) -> None:
    said = import_conversation(Conversation("f", ('{"role": "user", "content": "needle"}',)))
    async with open_replica(place / "a.db") as replica:
        chat = replica.context("acme/a")
        (first,) = await chat.append("hay")
        branch = await chat.branch("b", at=first)
        await chat.import_messages(said)
        await branch.import_messages(said)
        assert {hit.branch for hit in await chat.search("needle")} == {None, branch.branch_id}
        assert [hit.branch for hit in await branch.search("needle")] == [branch.branch_id]
        # Where both are one message, it is found once.
        whole = await chat.branch("whole")
        await write(chat, Event("user", said[0], branch=whole.branch_id))
        assert len(await whole.search("needle")) == 1
