"""An audience: whose interest covers a context, found without asking everybody.

A look-up costs one step for each length that a prefix has, however many members there are. Must
never know: what members do.
"""

from __future__ import annotations

from collections import Counter
from typing import Generic, TypeVar

from weft_engine.names import ContextName
from weft_engine.sync.interest import Interest

T = TypeVar("T")


class Audience(Generic[T]):
    """Members are told apart by hash and equality; each has one interest."""

    def __init__(self) -> None:
        self._interests: dict[T, Interest] = {}
        # Dicts for sets: members come in the order in which they joined, so that runs repeat.
        self._named: dict[ContextName, dict[T, None]] = {}
        self._prefixed: dict[str, dict[T, None]] = {}
        self._lengths: Counter[int] = Counter()
        """How many prefixes have this length, in characters."""

    def join(self, member: T, interest: Interest) -> None:
        """From now on `member` has this interest, and no other."""
        self.leave(member)
        self._interests[member] = interest
        for name in interest.contexts:
            self._named.setdefault(name, {})[member] = None
        for prefix in interest.prefixes:
            if prefix not in self._prefixed:
                self._prefixed[prefix] = {}
                self._lengths[len(prefix)] += 1
            self._prefixed[prefix][member] = None

    def leave(self, member: T) -> None:
        """Harmless if it is no member."""
        interest = self._interests.pop(member, None)
        if interest is None:
            return
        for name in interest.contexts:
            del self._named[name][member]
            if not self._named[name]:
                del self._named[name]
        for prefix in interest.prefixes:
            del self._prefixed[prefix][member]
            if not self._prefixed[prefix]:
                del self._prefixed[prefix]
                self._lengths[len(prefix)] -= 1
                if not self._lengths[len(prefix)]:
                    del self._lengths[len(prefix)]

    def of(self, context: ContextName) -> list[T]:
        """Who has an interest in this context, each once: of a member's prefixes none begins with
        another, and none covers what it names."""
        found = list(self._named.get(context, ()))
        for length in self._lengths:
            if length <= len(context):
                found += self._prefixed.get(context[:length], ())
        return found
