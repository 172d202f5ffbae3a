"""Cutting out of a text what a search has found in it, and marking where.

Must never know: where the text comes from, how it is shown.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Final

from weft_engine.storage.search_query import Phrase, Query
from weft_engine.storage.search_words import spans

SNIPPET_CHARS: Final = 200
_BEFORE: Final = 50
_CUT: Final = "…"
_WORD_LOOKED_FOR: Final = 12
"""A cut is moved by so many characters at most to where a word begins."""


def snippet(text: str, query: Query) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Up to `SNIPPET_CHARS` characters around the first place that `query` looks for, line ends
    as spaces, with `…` where it is cut; and (start, end) of what matches in it, ascending."""
    phrases = query.phrases
    first = next(_matches(text, phrases, 0, len(text)), (0, 0))
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


def _matches(
    text: str, phrases: tuple[Phrase, ...], start: int, end: int
) -> Iterator[tuple[int, int]]:
    """Where phrases stand that begin between `start` and `end`; they may overlap."""
    longest = max(len(phrase.words) for phrase in phrases)
    coming = spans(text, start)
    window = deque(islice(coming, longest))
    while window and window[0][1] < end:
        said = [word for word, _, _ in window]
        for phrase in phrases:
            if phrase.matches(said, 0):
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
