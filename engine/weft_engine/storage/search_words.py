"""What counts as a word in search: the one definition for the index, queries and snippets.

* A word is a run of letters, digits and marks, folded: compatibility forms, accents and case are
  gone (``Été`` = ``ete``, full-width ``Ａ`` = ``a``). Its first `WORD_CHARS_MAX` characters count.
* ``get_user_42`` and ``src/app.py`` are words side by side, which a query joins into a phrase.
* In scripts that put no spaces between words (Chinese, Japanese, Korean, Thai, Lao, Khmer,
  Burmese), and among symbols such as emoji, every character is a word. Phrases of them find
  substrings.

SQLite's tokenizers are not asked: they differ between its versions and know no such scripts. The
index is given words that its plainest one, ``ascii``, takes as they are. Must never know: SQL.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from typing import Final

WORD_CHARS_MAX: Final = 64
VERSION: Final = f"1-{unicodedata.unidata_version}"
"""An index that was made by another definition is made anew."""

_ASCII_WORDS: Final = re.compile(r"[A-Za-z0-9]+")
_ASCII_LONG: Final = re.compile(rf"[A-Za-z0-9]{{{WORD_CHARS_MAX + 1}}}|\0")
_UNSPACED: Final = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Burmese
    (0x1100, 0x11FF),  # Hangul in letters
    (0x1780, 0x17FF),  # Khmer
    (0x2E80, 0x312F),  # radicals, kana, bopomofo
    (0x3130, 0x31FF),
    (0x3400, 0x9FFF),  # Han
    (0xA960, 0xA97F),
    (0xAC00, 0xD7FF),  # Hangul
    (0xF900, 0xFAFF),
    (0xFF66, 0xFFDC),  # halfwidth kana and Hangul
    (0x1B000, 0x1B16F),
    (0x1F200, 0x1F2FF),
    (0x20000, 0x3FFFF),
)
_PLANES_END: Final = 0x20000
"""Behind it there are only Han, and marks that are dropped."""


def words(text: str) -> list[str]:
    """The words of a text, in its order."""
    if text.isascii():
        return [word[:WORD_CHARS_MAX] for word in _ASCII_WORDS.findall(text.lower())]
    return [word for piece in _pieces().finditer(text) for word in _folded(piece[0])]


def spans(text: str, start: int = 0) -> Iterator[tuple[str, int, int]]:
    """The words of a text from the character `start` on, each with where it begins and ends."""
    for piece in _pieces().finditer(text, start):
        found = _folded(piece[0])
        at, end = piece.span()
        if piece.lastgroup == "single" and len(found) == end - at:
            yield from ((word, at + index, at + index + 1) for index, word in enumerate(found))
        else:
            yield from ((word, at, end) for word in found)


def indexed(text: str) -> str:
    """`text` as the index is given it: SQLite's tokenizer ``ascii`` finds `words` in it."""
    if text.isascii() and _ASCII_LONG.search(text) is None:
        return text
    return " ".join(words(text))


def _folded(piece: str) -> list[str]:
    """The words of one piece; none if nothing of it counts."""
    if piece.isascii():
        return [piece.lower()[:WORD_CHARS_MAX]]
    # Folding case can undo the decomposition, so twice.
    open_form = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", piece).casefold())
    kept = "".join([c for c in open_form if not _is_dropped(c)])
    found: list[str] = []
    for part in _pieces().finditer(unicodedata.normalize("NFC", kept).lower()):
        if part.lastgroup == "single":
            found.extend(part[0])
        else:
            found.append(part[0][:WORD_CHARS_MAX])
    return found


def _is_dropped(character: str) -> bool:
    """Accents, points and overlays; but not what makes another letter of one: the marks of kana
    and of Indian scripts, tones in Thai."""
    rank = unicodedata.combining(character)
    return (
        rank == 1
        or 10 <= rank <= 36
        or rank >= 200
        or character == "\u0640"
        or "\ufe00" <= character <= "\ufe0f"
        or "\U000e0100" <= character <= "\U000e01ef"
    )


@cache
def _pieces() -> re.Pattern[str]:
    """Finds runs of what makes words, and runs of what are words one by one."""
    of_words: list[tuple[int, int]] = []
    singly: list[tuple[int, int]] = [(0x20000, 0x3FFFF)]
    for code in range(0x80, _PLANES_END):
        category = unicodedata.category(chr(code))
        if category == "So" or (
            category[0] in "LNM" and any(first <= code <= last for first, last in _UNSPACED)
        ):
            _add(singly, code)
        elif category[0] in "LNM":
            _add(of_words, code)
    return re.compile(f"(?P<word>[A-Za-z0-9{_class(of_words)}]+)|(?P<single>[{_class(singly)}]+)")


def _add(ranges: list[tuple[int, int]], code: int) -> None:
    if ranges and ranges[-1][1] == code - 1:
        ranges[-1] = (ranges[-1][0], code)
    else:
        ranges.append((code, code))


def _class(ranges: list[tuple[int, int]]) -> str:
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in ranges)
