"""What other regions hold and this store lacks: asked for when it has not come by itself in a
while, at one of those that hold it, and after another while at the next.

The while is longer where things come later than that by themselves: on a busy machine, and where
the way of an announcement is the shorter one. Who asks too soon is sent everything twice, so who
had to ask waits longer the next time; those that are asked send the rest by themselves.

One for all links of a store, so that of several that announced a record one is asked. Must never
know: frames, why something has not come.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from weft_engine.limits import LATE_HALF_S, WANT_AFTER_S, WANT_AFTER_S_MAX, WANT_GRACE_S
from weft_engine.names import RecordHash

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Lacking(Generic[T]):
    left: dict[T, None] = field(default_factory=dict)
    """Those that hold it and were not asked."""
    asked: dict[T, None] = field(default_factory=dict)
    is_due: bool = False
    """Its turn to be asked for comes."""
    since_s: float = 0.0


class Pulls(Generic[T]):
    """`ask` asks one of those that hold records for these. `is_coming` says whether one is on its
    way into the journal, so that nobody is asked for it."""

    def __init__(
        self,
        ask: Callable[[T, list[RecordHash]], None],
        *,
        is_coming: Callable[[RecordHash], bool],
    ) -> None:
        self._ask = ask
        self._is_coming = is_coming
        self._lacking: dict[RecordHash, _Lacking[T]] = {}
        self._queue: dict[RecordHash, float] = {}
        """When to ask for it, by the loop's clock, the first of all first."""
        self._timer: asyncio.TimerHandle | None = None
        self._late_s = 0.0
        """The longest that something took to come, or to be asked for,"""
        self._late_at_s = 0.0
        """and when that was."""

    def __len__(self) -> int:
        return len(self._lacking)

    def lack(self, who: T, hashes: Iterable[RecordHash]) -> None:
        """`who` holds these, and they are not journaled here."""
        for hash_ in hashes:
            one = self._lacking.get(hash_)
            if one is None:
                one = self._lacking[hash_] = _Lacking(since_s=asyncio.get_running_loop().time())
            if who not in one.asked:
                one.left[who] = None
                self._plan(hash_, one)

    def came(self, hash_: RecordHash) -> None:
        """It is journaled."""
        one = self._lacking.pop(hash_, None)
        if one is None:
            return
        self._queue.pop(hash_, None)
        if not one.asked:
            self._note_late(one)

    def leave(self, who: T) -> None:
        """There is nobody to be asked any more."""
        for hash_, one in list(self._lacking.items()):
            one.left.pop(who, None)
            one.asked.pop(who, None)
            if not one.left and not one.asked:
                del self._lacking[hash_]
                self._queue.pop(hash_, None)
        if not self._lacking and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # ---- inside -------------------------------------------------------------------------------

    def _plan(self, hash_: RecordHash, one: _Lacking[T]) -> None:
        if one.is_due:
            return
        one.is_due = True
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        after_s = min(WANT_AFTER_S_MAX, max(WANT_AFTER_S, 2 * self._late(now_s)))
        self._queue[hash_] = now_s + after_s
        if self._timer is None:
            self._timer = loop.call_at(now_s + after_s, self._soon)

    def _note_late(self, one: _Lacking[T]) -> None:
        now_s = asyncio.get_running_loop().time()
        if now_s - one.since_s >= self._late(now_s):
            self._late_s, self._late_at_s = now_s - one.since_s, now_s

    def _late(self, now_s: float) -> float:
        return float(self._late_s * 0.5 ** ((now_s - self._late_at_s) / LATE_HALF_S))

    def _soon(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(WANT_GRACE_S, self._look)

    def _look(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        asks: dict[T, list[RecordHash]] = {}
        while self._queue:
            hash_, due_s = next(iter(self._queue.items()))
            if due_s > now_s:
                self._timer = loop.call_at(due_s, self._soon)
                break
            del self._queue[hash_]
            one = self._lacking[hash_]
            one.is_due = False
            if not self._is_coming(hash_) and one.left:
                who = next(iter(one.left))
                del one.left[who]
                one.asked[who] = None
                self._note_late(one)
                asks.setdefault(who, []).append(hash_)
            if one.left:
                self._plan(hash_, one)
        for who, hashes in asks.items():
            self._ask(who, hashes)
