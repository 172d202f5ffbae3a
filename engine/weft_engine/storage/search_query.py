"""What people type into a search, understood: words, phrases, beginnings, choices, exclusions.

    plain words         all of them must be there
    "some words"        one behind the other; so are the parts of get_user_42 and src/app.py
    wor*                words that begin so; "some wor"* the same for the last of a phrase
    one OR two          at least one of them
    -word               not there

Any text is a query or gets a clear error: SQLite's own syntax is never reached. Must never know:
tables.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from weft_engine.errors import CallerError, LimitExceeded
from weft_engine.limits import SEARCH_QUERY_CHARS_MAX, SEARCH_WORDS_MAX
from weft_engine.storage.search_words import words

_TERM: Final = re.compile(r'(-?)(?:"([^"]*)(?:"|$)|([^\s"]+))(\*?)')
_QUOTES: Final = str.maketrans("“”„«»＂", '""""""')


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words one behind the other; with `is_prefix` the last may go on."""

    words: tuple[str, ...]
    is_prefix: bool = False

    def matches(self, said: Sequence[str], at: int) -> bool:
        """Whether it stands at this place among the words of a text."""
        size = len(self.words)
        if tuple(said[at : at + size - 1]) != self.words[:-1] or at + size > len(said):
            return False
        last = said[at + size - 1]
        return last.startswith(self.words[-1]) if self.is_prefix else last == self.words[-1]

    def may_begin(self, said: Collection[str]) -> bool:
        """Whether one of these words can be its first."""
        if self.is_prefix and len(self.words) == 1:
            return any(word.startswith(self.words[0]) for word in said)
        return self.words[0] in said

    @property
    def expression(self) -> str:
        """In the syntax of FTS5. Words hold no quotes."""
        return f'"{" ".join(self.words)}"' + ("*" if self.is_prefix else "")


@dataclass(frozen=True, slots=True)
class Query:
    """One of each of `groups` must be there, none of `excluded`."""

    groups: tuple[tuple[Phrase, ...], ...]
    excluded: tuple[Phrase, ...] = ()

    @property
    def phrases(self) -> tuple[Phrase, ...]:
        """What may be found, once each."""
        return tuple(dict.fromkeys(phrase for group in self.groups for phrase in group))

    @property
    def expression(self) -> str:
        """In the syntax of FTS5."""
        found = " AND ".join(
            "(" + " OR ".join(phrase.expression for phrase in group) + ")" for group in self.groups
        )
        if not self.excluded:
            return found
        return f"({found}) NOT ({' OR '.join(phrase.expression for phrase in self.excluded)})"


def parse(text: str) -> Query:
    """What `text` asks for. CallerError if it has nothing to look for, LimitExceeded if it is
    longer than a search may be."""
    if not isinstance(text, str):
        raise CallerError(f"{text!r} is no search", hint="give a text, such as credit card")
    if len(text) > SEARCH_QUERY_CHARS_MAX:
        raise LimitExceeded(
            f"the search has {len(text):,} characters, it may have {SEARCH_QUERY_CHARS_MAX:,}",
            hint="look for a few words of what you want to find",
        )
    groups: list[list[Phrase]] = []
    excluded: list[Phrase] = []
    joins = False
    count = 0
    for minus, quoted, bare, star in _TERM.findall(text.translate(_QUOTES)):
        if bare == "OR" and not minus:
            joins = bool(groups)
            continue
        # A bare word has taken its star with it.
        is_prefix = bool(star) or bare.endswith("*")
        found = tuple(words(quoted or bare))
        if not found:
            continue
        count += len(found)
        phrase = Phrase(found, is_prefix)
        if minus:
            excluded.append(phrase)
        elif joins:
            groups[-1].append(phrase)
        else:
            groups.append([phrase])
        joins = False
    if count > SEARCH_WORDS_MAX:
        raise LimitExceeded(
            f"the search has {count:,} words, it may have {SEARCH_WORDS_MAX}",
            hint="look for a few words of what you want to find",
        )
    if not groups:
        raise CallerError(
            "the search only excludes" if excluded else "the search has no word to look for",
            hint='give at least one word, such as refund, "credit card" or flig*',
        )
    return Query(tuple(map(tuple, groups)), tuple(excluded))
