"""Cutting out of a text what a search has found in it, and marking where.

Must never know: where the text comes from, how it is shown.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Final

from weft_engine.storage.search_query import Phrase, Query
from weft_engine.storage.search_words import WORD_CHARS_MAX, spans, words

SNIPPET_CHARS: Final = 200
_BEFORE: Final = 50
_CUT: Final = "…"
_WORD_LOOKED_FOR: Final = 12
"""A cut is moved by so many characters at most to where a word begins."""
_LOOKED_THROUGH: Final = 16 * 1024
"""Characters that are looked through at a time."""


def snippet(text: str, query: Query) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Up to `SNIPPET_CHARS` characters around the first place that `query` looks for, line ends
    as spaces, with `…` where it is cut; and (start, end) of what matches in it, ascending."""
    phrases = query.phrases
    first = _first(text, phrases)
    start = max(0, first[0] - _BEFORE)
    if start > 0:
        gap = text.find(" ", start, min(start + _WORD_LOOKED_FOR, first[0]))
        start = gap + 1 if gap >= 0 else start
    end = min(len(text), start + SNIPPET_CHARS)
    if end < len(text):
        gap = text.rfind(" ", max(end - _WORD_LOOKED_FOR, first[1]), end)
        end = gap if gap > start else end
    before = _CUT if start > 0 else ""
    shift = len(before) - start
    marks = [
        (max(a, start) + shift, min(b, end) + shift)
        for a, b in _matches(text, phrases, start, end)
        if a < end
    ]
    cut = "".join(" " if c in "\r\n\t" else c for c in text[start:end])
    return before + cut + (_CUT if end < len(text) else ""), _joined(marks)


def _first(text: str, phrases: tuple[Phrase, ...]) -> tuple[int, int]:
    """Where the first match begins and ends; the beginning of the text if there is none."""
    start = 0
    while start < len(text):
        # Words without their places are found much faster, and most of a long text has none.
        end = start + _LOOKED_THROUGH
        gap = text.find(" ", end, end + WORD_CHARS_MAX)
        end = gap if gap >= 0 else end
        said = set(words(text[start:end]))
        if any(phrase.may_begin(said) for phrase in phrases):
            for match in _matches(text, phrases, start, end):
                return match
        start = end
    return 0, 0


def _matches(
    text: str, phrases: tuple[Phrase, ...], start: int, end: int
) -> Iterator[tuple[int, int]]:
    """Where phrases stand that begin between `start` and `end`; they may overlap."""
    longest = max(len(phrase.words) for phrase in phrases)
    coming = spans(text, start)
    window = deque(islice(coming, longest))
    while window and window[0][1] < end:
        first = window[0][0]
        for phrase in phrases:
            if phrase.may_begin((first,)) and phrase.matches([word for word, _, _ in window], 0):
                yield window[0][1], window[len(phrase.words) - 1][2]
        window.popleft()
        window.extend(islice(coming, 1))


def _joined(marks: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Ascending and apart."""
    found: list[tuple[int, int]] = []
    for start, end in sorted(marks):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return tuple(found)
