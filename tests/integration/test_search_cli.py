"""``weft search`` as a user runs it."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command_line import conversation, weft
from tests.stores import folder, open_replica
from weft_server.cli.output import Output


@pytest.fixture
def store() -> Iterator[Path]:
    with folder() as place:
        file = place / "said.jsonl"
        file.write_text(
            "\n".join(
                (
                    conversation("acme/a", "I want a refund", "The refund is on its way"),
                    conversation("acme/b", "Refund\x1b[2J me\nnow", "No"),
                    conversation("other", "nothing of that"),
                )
            )
        )
        assert weft("import", "--store", place / "s.db", file).code == 0
        yield place / "s.db"


def test_hits_for_people(store: Path) -> None:
    run = weft("search", "refund", "--store", store)
    assert run.code == 0
    assert run.out.count("refund") + run.out.count("Refund") == 3
    assert "acme/a  user" in run.out
    assert "    The refund is on its way\n" in run.out
    assert "\x1b" not in run.out, "what was said steers no terminal"


def test_hits_for_programs(store: Path) -> None:
    hits = weft("search", "refund", "--store", store, "--json", "--context", "acme/b").lines()
    (hit,) = hits
    assert hit["context"] == "acme/b"
    assert hit["role"] == "user"
    (mark,) = hit["marks"]
    assert hit["snippet"][mark[0] : mark[1]] == "Refund"
    assert set(hit) == {
        "context", "kind", "id", "note", "role", "author", "branch", "time_ms", "snippet",
        "marks", "score",
    }  # fmt: skip


def test_filters(store: Path) -> None:
    def contexts(*words: str) -> list[str]:
        return [h["context"] for h in weft("search", *words, "--store", store, "--json").lines()]

    assert sorted(contexts("refund", "--role", "user")) == ["acme/a", "acme/b"]
    assert contexts("ref* OR nothing", "--prefix", "oth") == ["other"]
    assert contexts("refund", "--kind", "note") == []
    assert len(contexts("refund", "--limit", "1")) == 1
    assert contexts("refund -want", "--newest")[0] == "acme/b"


def test_errors_are_told(store: Path) -> None:
    assert weft("search", "zzz", "--store", store).err == "nothing matches\n"
    for words, told in (
        (("", "--store", store), "no word to look for"),
        (("x", "--store", store, "--context", "none"), "no context 'none'"),
        (("x", "--store", store, "--kind", "none"), "no kind 'none'"),
        (("x", "--store", store.with_name("none.db")), "there is no store"),
    ):
        run = weft("search", *words)
        assert (run.code, run.out) == (1, "")
        assert told in run.err
        assert "hint:" in run.err
    assert not store.with_name("none.db").exists()


def test_a_store_that_is_written_or_to_be_left_alone_is_read_only(store: Path) -> None:
    before = store.read_bytes()
    assert len(weft("search", "refund", "--store", store, "--json", "--readonly").lines()) == 3
    assert store.read_bytes() == before

    async def beside_a_writer() -> None:
        async with open_replica(store) as writer:
            await writer.context("other").append("a refund after all")
            run = await asyncio.to_thread(weft, "search", "refund", "--store", store, "--json")
            assert len(run.lines()) == 4

    asyncio.run(beside_a_writer())


def test_marks_are_bold_on_a_terminal() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    results = Terminal()
    output = Output(results=results, notes=io.StringIO())
    output.say_marked("one\x1b two\nthree", ((0, 3), (5, 8)), before="  ")
    assert results.getvalue() == "  \x1b[1mone\x1b[0m\\x1b \x1b[1mtwo\x1b[0m\\nthree\n"
