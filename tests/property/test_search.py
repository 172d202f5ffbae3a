"""Searches of generated chats find what a plain look at what was said finds, on a store that is
written, beside it read only, and after erasing; whatever the index is made of."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.stores import folder, open_replica
from weft_engine.names import EventId
from weft_engine.replica.replica import Replica
from weft_engine.replica.search_hit import Hit
from weft_engine.storage import search_finding, search_steps, search_tables

SURFACES = {
    "Refund": "refund",
    "REFUNDS": "refunds",
    "naïve": "naive",
    "get_user_42": "get user 42",
    "src/app.py": "src app py",
    "日本語": "日 本 語",
    "本": "本",
    "Straße": "strasse",
    "🎉🎉": "🎉 🎉",
    "user": "user",
    "e\u0301té": "ete",
    "한국어": "한 국 어",
    "ＡＢ": "ab",
    "a": "a",
}
"""What is written, and its words; the definition of words is tested elsewhere."""
CONTEXTS = ("acme/a", "acme/b", "other")

saying = st.lists(st.sampled_from(sorted(SURFACES)), min_size=1, max_size=6)
some_words = st.sampled_from(sorted({w for said in SURFACES.values() for w in said.split()}))


@dataclass(frozen=True)
class Term:
    """One or several phrases, of which one must be there."""

    phrases: tuple[tuple[tuple[str, ...], bool], ...]

    def matches(self, said: Sequence[str]) -> bool:
        return any(_stands(phrase, is_prefix, said) for phrase, is_prefix in self.phrases)

    def __str__(self) -> str:
        return " OR ".join(
            (f'"{" ".join(phrase)}"' if len(phrase) > 1 else phrase[0]) + "*" * is_prefix
            for phrase, is_prefix in self.phrases
        )


def _stands(phrase: tuple[str, ...], is_prefix: bool, said: Sequence[str]) -> bool:
    for start in range(len(said) - len(phrase) + 1):
        *firsts, last = said[start : start + len(phrase)]
        fits = last.startswith(phrase[-1]) if is_prefix else last == phrase[-1]
        if fits and tuple(firsts) == phrase[:-1]:
            return True
    return False


@st.composite
def phrases(draw: st.DrawFn) -> tuple[tuple[str, ...], bool]:
    if draw(st.booleans()):
        # What is likely to stand somewhere.
        said = " ".join(SURFACES[one] for one in draw(saying)).split()
        start = draw(st.integers(0, len(said) - 1))
        found = tuple(said[start : start + draw(st.integers(1, 3))])
    else:
        found = tuple(draw(st.lists(some_words, min_size=1, max_size=2)))
    if draw(st.booleans()):
        return found, False
    last = found[-1]
    return (*found[:-1], last[: draw(st.integers(1, len(last)))]), True


terms = st.builds(Term, st.lists(phrases(), min_size=1, max_size=2).map(tuple))
queries = st.tuples(
    st.lists(terms, min_size=1, max_size=3),
    st.lists(st.builds(lambda phrase: Term((phrase,)), phrases()), max_size=1),
)
Asked = tuple[list[Term], list[Term]]
Step = tuple[str, object]
steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("say"), st.tuples(st.sampled_from(CONTEXTS), st.lists(saying, max_size=5))
        ),
        st.tuples(st.just("search"), queries),
        st.tuples(st.just("read"), queries),
        st.tuples(st.just("erase"), st.integers(0, 100)),
        st.tuples(st.just("note"), st.tuples(st.sampled_from(CONTEXTS), saying)),
    ),
    min_size=1,
    max_size=14,
)


class Story:
    """What is there, told plainly."""

    def __init__(self, writer: Replica, reader: Replica) -> None:
        self.writer = writer
        self.reader = reader
        self.said: dict[EventId, tuple[str, list[str]]] = {}
        self.notes: dict[str, list[str]] = {}

    async def play(self, step: Step) -> None:
        match step:
            case "say", (str() as name, list() as sayings):
                texts = [" ".join(one) for one in sayings]
                if texts:
                    ids = await self.writer.context(name).append(texts)
                    for id_, one in zip(ids, sayings, strict=True):
                        self.said[id_] = name, [w for s in one for w in SURFACES[s].split()]
            case "note", (str() as name, list() as one):
                await self.writer.context(name).note("n").append(" ".join(one) + " ")
                self.notes.setdefault(name, []).extend(w for s in one for w in SURFACES[s].split())
            case "erase", int() as number:
                if self.said:
                    id_ = sorted(self.said)[number % len(self.said)]
                    name, _ = self.said.pop(id_)
                    await self.writer.context(name).erase(event=id_, reason="test")
            case ("search" | "read") as how, (list() as wanted, list() as without):
                replica = self.writer if how == "search" else self.reader
                await self.check(replica, (wanted, without))

    async def check(self, replica: Replica, asked: Asked) -> None:
        wanted, without = asked
        text = " ".join([*map(str, wanted), *(f"-{term}" for term in without)])

        def fits(said: list[str]) -> bool:
            return all(term.matches(said) for term in wanted) and not any(
                term.matches(said) for term in without
            )

        for scope in ({}, {"prefix": "acme/"}, {"context": "other"}):
            hits = await replica.searching.find(text, limit=1000, **scope)  # type: ignore[arg-type]
            names = {
                name
                for name in CONTEXTS
                if name.startswith(scope.get("prefix", "")) and name == scope.get("context", name)
            }
            expected = {i for i, (name, said) in self.said.items() if name in names and fits(said)}
            assert {hit.id for hit in hits if hit.id} == expected, text
            assert {hit.context for hit in hits if hit.note} == {
                name for name, said in self.notes.items() if name in names and fits(said)
            }, text
            assert len(hits) == len({(hit.context, hit.id) for hit in hits}), "each once"
            await self.check_order(replica, text, scope, hits)

    async def check_order(
        self, replica: Replica, text: str, scope: dict[str, str], hits: list[Hit]
    ) -> None:
        scores = [hit.score for hit in hits]
        assert scores == sorted(scores, reverse=True)
        newest = await replica.searching.find(text, limit=1000, order="newest", **scope)  # type: ignore[arg-type]
        times = [hit.time_ms for hit in newest]
        assert times == sorted(times, reverse=True)
        assert {(h.context, h.id) for h in newest} == {(h.context, h.id) for h in hits}
        for order, all_of_them in (("relevance", hits), ("newest", newest)):
            pages = [
                hit
                for offset in range(0, len(hits) + 1, 2)
                for hit in await replica.searching.find(
                    text,
                    limit=2,
                    offset=offset,
                    order=order,
                    **scope,  # type: ignore[arg-type]
                )
            ]
            assert pages == all_of_them
        for hit in hits:
            assert hit.marks, "what matches is shown"


@settings(deadline=None, max_examples=60)
@given(steps, st.integers(1, 5), st.integers(1, 4), st.integers(1, 3))
def test_search_finds_what_a_plain_look_finds(
    told: list[Step], shard: int, step: int, first: int
) -> None:
    async def run() -> None:
        with folder() as place:
            async with open_replica(place / "a.db") as writer:
                await writer.context("acme/a").append("…")
                async with open_replica(place / "a.db", readonly=True) as reader:
                    story = Story(writer, reader)
                    for one in told:
                        await story.play(one)
                    letters = sorted(
                        {word[0] for said in SURFACES.values() for word in said.split()}
                    )
                    everything: Asked = ([Term(tuple(((one,), True) for one in letters))], [])
                    await story.check(writer, everything)
                    await story.check(reader, everything)

    with (
        patch.object(search_tables, "SEARCH_SHARD_ENTRIES", shard),
        patch.object(search_tables, "_STALE_CHARS", 20),
        patch.object(search_steps, "SEARCH_STEP_RECORDS", step),
        patch.object(search_finding, "_FIRST", first),
    ):
        asyncio.run(run())
