"""What is typed into a search, and what is cut out of what it finds."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft_engine.errors import CallerError, LimitExceeded
from weft_engine.limits import SEARCH_QUERY_CHARS_MAX, SEARCH_WORDS_MAX
from weft_engine.storage.search_query import Phrase, Query, parse
from weft_engine.storage.search_snippet import SNIPPET_CHARS, snippet
from weft_engine.storage.search_words import words


def phrase(text: str) -> Phrase:
    return Phrase(tuple(text.rstrip("*").split()), text.endswith("*"))


def query(*groups: str, without: tuple[str, ...] = ()) -> Query:
    return Query(
        tuple(tuple(phrase(one) for one in group.split("|")) for group in groups),
        tuple(phrase(one) for one in without),
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Credit card", query("credit", "card")),
        ('"Credit card" now', query("credit card", "now")),
        ("“Credit card” now", query("credit card", "now")),
        ('"credit card', query("credit card")),
        ("wor*", query("wor*")),
        ('"credit ca"*', query("credit ca*")),
        ("get_user_42", query("get user 42")),
        ("get_us*", query("get us*")),
        ("a OR b c", query("a|b", "c")),
        ("a b OR c OR d", query("a", "b|c|d")),
        ("OR a OR", query("a")),
        ("a or b", query("a", "or", "b")),
        ("a -b", query("a", without=("b",))),
        ('a -"b c" -d*', query("a", without=("b c", "d*"))),
        ("a --b", query("a", without=("b",))),
        ("a OR -b c", query("a", "c", without=("b",))),
        ("e-mail", query("e mail")),
        ("a AND (b) NEAR/2", query("a", "and", "b", "near 2")),
        ("text:foo ^bar {x}", query("text foo", "bar", "x")),
        ("日本", query("日 本")),
        ("*** - a", query("a")),
        ("'; DROP TABLE records; --", query("drop", "table", "records")),
    ],
)
def test_what_is_asked_for(text: str, expected: Query) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize("text", ["", " ", '"', '""', "*", "-", "OR", "\x00", "_-.,", "\u202e"])
def test_nothing_to_look_for(text: str) -> None:
    with pytest.raises(CallerError, match="no word to look for"):
        parse(text)


def test_only_exclusions() -> None:
    with pytest.raises(CallerError, match="only excludes"):
        parse("-a -b")


@pytest.mark.parametrize(
    "text",
    ["x" * (1 << 20), "a " * 10_000, "a " * (SEARCH_WORDS_MAX + 1), "日" * (SEARCH_WORDS_MAX + 1)],
)
def test_too_much_to_look_for(text: str) -> None:
    with pytest.raises(LimitExceeded, match="it may have"):
        parse(text)


def test_as_much_as_one_may_look_for() -> None:
    parse("a " * SEARCH_WORDS_MAX)
    parse("x" * SEARCH_QUERY_CHARS_MAX)


@given(st.text(max_size=60) | st.text("ab\"*- ()^:{}+'OR\n日", max_size=40))
def test_any_text_is_a_query_or_a_clear_error(text: str) -> None:
    try:
        parsed = parse(text)
    except CallerError:
        return
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(
            "CREATE VIRTUAL TABLE f USING fts5(labels, text, content='', tokenize='ascii')"
        )
        connection.execute(
            "SELECT rowid FROM f WHERE f MATCH ?", (f"text : ({parsed.expression})",)
        ).fetchall()


# ---- snippets -------------------------------------------------------------------------------


def shown(text: str, asked: str) -> str:
    cut, marks = snippet(text, parse(asked))
    for start, end in reversed(marks):
        cut = f"{cut[:start]}[{cut[start:end]}]{cut[end:]}"
    return cut


def test_a_short_text_is_shown_whole() -> None:
    assert shown("Naïve\tplans,\nplainly naive", "naive pla*") == (
        "[Naïve] [plans], [plainly] [naive]"
    )


def test_marks_of_phrases_and_parts() -> None:
    assert shown("call get_user_42 now", "get_user_42") == "call [get_user_42] now"
    assert shown("我喜欢日本料理", "日本") == "我喜欢[日本]料理"
    assert shown("a b a b", '"a b" OR "b a"') == "[a b a b]"


def test_a_long_text_is_cut_around_what_matches() -> None:
    text = f"{'before ' * 100}needle {'after ' * 100}"
    cut, marks = snippet(text, parse("needle"))
    assert cut.startswith("…before")
    assert cut.endswith("after…")
    assert len(cut) <= SNIPPET_CHARS + 2
    assert [cut[a:b] for a, b in marks] == ["needle"]


def test_a_match_in_the_midst_of_no_spaces() -> None:
    text = "日" * 1000 + "本" + "日" * 1000
    cut, marks = snippet(text, parse("本"))
    assert [cut[a:b] for a, b in marks] == ["本"]
    assert len(cut) <= SNIPPET_CHARS + 2


@pytest.mark.parametrize("filler", ["plain words ", "naïve Wörter ", "日本"])
@pytest.mark.parametrize("found", ["needle", "needle in hay", "nee*"])
def test_far_behind_in_a_long_text(filler: str, found: str) -> None:
    """Across the places where a long text is looked through piece by piece."""
    for size in (16_300, 16_384, 16_390, 40_000):
        text = (filler * size)[:size] + " needle in hay " + filler * 100
        cut, marks = snippet(text, parse(f'"{found}"' if " " in found else found))
        assert [cut[a:b] for a, b in marks] == [found if " " in found else "needle"]


@given(st.text(max_size=400), st.integers(0, 50))
def test_marks_are_in_the_snippet_and_match(text: str, at: int) -> None:
    said = words(text)
    if not said:
        return
    wanted = said[at % len(said)]
    cut, marks = snippet(text, Query(((Phrase((wanted,)),),)))
    assert marks, "what is in the text is shown"
    assert len(cut) <= SNIPPET_CHARS + 2
    last = -1
    for start, end in marks:
        assert last < start < end <= len(cut)
        last = end
        assert wanted in words(cut[start:end])
