"""The records that a store has journaled last, by hash: what others announce is mostly among them.

Must never know: links, the store.
"""

from __future__ import annotations

from collections.abc import Iterable

from weft_engine.limits import RECENT_HASHES
from weft_engine.names import RecordHash


class Recent:
    """Bounded: what was added first goes first."""

    def __init__(self, *, hashes_max: int = RECENT_HASHES) -> None:
        self._hashes_max = hashes_max
        self._new: set[RecordHash] = set()
        self._old: set[RecordHash] = set()

    def __contains__(self, hash_: object) -> bool:
        return hash_ in self._new or hash_ in self._old

    def add(self, hashes: Iterable[RecordHash]) -> None:
        """They are journaled."""
        self._new.update(hashes)
        if 2 * len(self._new) >= self._hashes_max:
            self._old, self._new = self._new, set()

    def clear(self) -> None:
        self._new, self._old = set(), set()
