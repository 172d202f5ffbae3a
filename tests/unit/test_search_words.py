"""Words of search: the one definition, and that the index takes it as it is."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft_engine.storage.search_words import WORD_CHARS_MAX, indexed, spans, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, World!", "hello world"),
        ("get_user_42 failed", "get user 42 failed"),
        ("src/app.py:12", "src app py 12"),
        ("naïve Été ÜBER", "naive ete uber"),
        ("e\u0301te\u0301", "ete"),
        ("Straße", "strasse"),
        ("İstanbul", "istanbul"),
        ("ﬁne ＡＢＣ", "fine abc"),
        ("Ελλάδα ΌΣΟΣ όσος", "ελλαδα οσοσ οσοσ"),
        ("Москва ёж", "москва еж"),
        ("日本語abc", "日 本 語 abc"),
        ("が", "が"),
        ("か\u3099", "が"),
        ("ｶﾞｽ", "ガ ス"),
        ("한국어", "한 국 어"),
        ("한", "한"),
        ("ภาษา", "ภ า ษ า"),
        ("हिन्दी", "हिन्दी"),
        ("שָׁלוֹם", "שלום"),
        ("مُحَمَّد كـــتاب", "محمد كتاب"),
        ("ok 👍🏽🎉!", "ok 👍 🎉"),
        ("❤️", "❤"),
        ("a\x00b\u200fc\u202ed", "a b c d"),
        ("\U00020000\U00020001", "\U00020000 \U00020001"),
        ("\ud800x", "x"),
        ("x" * 100, "x" * WORD_CHARS_MAX),
        ("é" * 100, "e" * WORD_CHARS_MAX),
        ("“quoted” — dash… ½", "quoted dash 1 2"),
        ("", ""),
        (" \n_-", ""),
    ],
)
def test_words(text: str, expected: str) -> None:
    assert words(text) == expected.split()


@given(st.text() | st.text(st.characters(max_codepoint=0x3FF)) | st.text("aZ9é_\0 \n日ガ🎉"))
def test_the_index_has_the_words_and_only_them(text: str) -> None:
    """What SQLite finds in what it is given is what the definition says."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE VIRTUAL TABLE f USING fts5(text, content='', tokenize='ascii')")
        connection.execute("CREATE VIRTUAL TABLE v USING fts5vocab(f, 'instance')")
        connection.execute("INSERT INTO f (rowid, text) VALUES (1, ?)", (indexed(text),))
        found = connection.execute("SELECT term FROM v ORDER BY offset").fetchall()
    assert [row[0] for row in found] == words(text)


@given(st.text() | st.text("aZ9é_\0 \n日か\u3099\u0301ﬁ🎉"))
def test_spans_are_where_the_words_are(text: str) -> None:
    found = list(spans(text))
    assert [word for word, _, _ in found] == words(text)
    last = 0
    for _, start, end in found:
        assert last <= end
        assert start < end <= len(text)
        last = start


@given(st.text())
def test_words_of_words_are_themselves(text: str) -> None:
    said = words(text)
    again = words(" ".join(said))
    assert again == said
