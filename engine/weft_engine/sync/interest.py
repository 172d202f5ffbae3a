"""Interests: which contexts a link is about, named one by one or by the beginnings of their names.

What a link carries is the intersection of what both ends say in their hello. Must never know:
tokens, links, stores.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import msgpack

from weft_engine.errors import InvalidName, LimitExceeded
from weft_engine.limits import (
    INTEREST_BYTES_MAX,
    INTEREST_CONTEXTS_MAX,
    INTEREST_PREFIXES_MAX,
)
from weft_engine.names import ContextName, context_name
from weft_engine.records.digest import interest_digest


@dataclass(frozen=True, slots=True)
class Interest:
    """Made by `Interest.of`, which brings it into its one form: what a prefix covers is not named
    again, prefixes ascend. Equal interests are equal values."""

    contexts: frozenset[ContextName]
    prefixes: tuple[str, ...]
    """Plain beginnings of names, so ``acme/`` with its slash; the empty one covers everything."""

    @classmethod
    def of(cls, *, contexts: Iterable[str] = (), prefixes: Iterable[str] = ()) -> Self:
        """InvalidName for what is no name or beginning of one, LimitExceeded for too many."""
        names = {context_name(name) for name in contexts}
        made = cls._reduced(names, {_prefix(prefix) for prefix in prefixes})
        size = sum(len(name.encode()) for name in (*made.contexts, *made.prefixes))
        for count, limit, what in (
            (len(made.contexts), INTEREST_CONTEXTS_MAX, "contexts"),
            (len(made.prefixes), INTEREST_PREFIXES_MAX, "prefixes"),
            (size, INTEREST_BYTES_MAX, "bytes of names"),
        ):
            if count > limit:
                raise LimitExceeded(
                    f"an interest of {count} {what} exceeds {limit}",
                    hint="name a common prefix instead",
                )
        return made

    @classmethod
    def _reduced(cls, names: Iterable[ContextName], prefixes: Iterable[str]) -> Self:
        kept: list[str] = []
        for prefix in sorted(prefixes):
            # Sorted, a prefix comes before everything it covers.
            if not kept or not prefix.startswith(kept[-1]):
                kept.append(prefix)
        begins = tuple(kept)
        return cls(frozenset(name for name in names if not name.startswith(begins)), begins)

    def covers(self, context: str) -> bool:
        return context in self.contexts or context.startswith(self.prefixes)

    def intersection(self, other: Interest) -> Interest:
        """What both cover."""
        contexts = {name for name in self.contexts if other.covers(name)}
        contexts.update(name for name in other.contexts if self.covers(name))
        # Of two prefixes the longer one, if the shorter is its beginning.
        prefixes = {prefix for prefix in self.prefixes if prefix.startswith(other.prefixes)}
        prefixes.update(prefix for prefix in other.prefixes if prefix.startswith(self.prefixes))
        return Interest.of(contexts=contexts, prefixes=prefixes)

    def union(self, other: Interest) -> Interest:
        """What either covers; it may be beyond the limits of what can be asked for."""
        return Interest._reduced(self.contexts | other.contexts, {*self.prefixes, *other.prefixes})

    def beyond(self, other: Interest) -> Interest:
        """What names it that `other` does not cover as a whole: all that only this one covers, and
        perhaps more."""
        return Interest(
            frozenset(name for name in self.contexts if not other.covers(name)),
            tuple(prefix for prefix in self.prefixes if not prefix.startswith(other.prefixes)),
        )

    @property
    def digest(self) -> bytes:
        """16 bytes; equal for equal interests."""
        return interest_digest(msgpack.packb((sorted(self.contexts), self.prefixes)))

    @property
    def is_empty(self) -> bool:
        return not self.contexts and not self.prefixes


def _prefix(text: str) -> str:
    if not text:
        return text
    try:
        context_name(text.removesuffix("/"))
    except InvalidName as error:
        raise InvalidName(f"{text!r} begins no context name: {error.message}") from None
    return text


EVERYTHING = Interest(frozenset(), ("",))
NOTHING = Interest(frozenset(), ())
