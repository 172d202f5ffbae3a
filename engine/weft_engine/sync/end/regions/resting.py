"""Comparing what rests, on a link between two regions on which something always moves.

Roots of trees say nothing there. But most contexts rest at any moment: so an end tells the digests
of those ranges of its tree in which nothing has changed for REST_MS and of which all is durable at
the peer. The peer compares those that rest there, too. What crosses all the same, or is late by
more than that, differs once; a range that differs twice in a row in which it was compared was told
of wrongly, or something got lost in silence.

What changes is seen by the tree itself: it is *marked*, and brought up when it is read again, so a
commit costs nothing here. Of a range that never rests nothing is compared: what was lost there is
missed by what comes behind it, which names it as its parent.

Must never know: frames' bytes, the store, what is different.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from weft_engine.limits import REST_MS, TREE_DIGEST_BYTES, TREE_LEVELS_MAX
from weft_engine.names import ContextName
from weft_engine.sync.end.regions.tree_questions import ReadTree, TreeRead
from weft_engine.sync.faults import ProtocolViolation
from weft_engine.sync.framing.messages import Branches
from weft_engine.sync.interest import EVERYTHING
from weft_engine.sync.tree import ROOT, Path, Salted, Tree, key_of_name, path_above

_NOTHING = bytes(TREE_DIGEST_BYTES)
"""Said of a range that does not rest, or has no context."""


@dataclass(frozen=True, slots=True)
class _Mark:
    tree: weakref.ref[Tree]
    changes: int
    at_ms: int


class Resting:
    """One end's share. `salted`: as of the comparison, once it is over; `moving`: contexts of which
    not everything is durable at the peer."""

    def __init__(
        self, salted: Callable[[], Salted | None], moving: Callable[[], Iterable[ContextName]]
    ) -> None:
        self._salted = salted
        self._moving = moving
        self._now_ms = 0
        self._marks: list[_Mark] = []
        """The last two."""
        self._wants_mark = False
        self._is_due = False
        self._deaf_until_ms = 0
        self._theirs: bytes | None = None
        """What the peer told, and was not compared."""
        self._suspects: set[Path] = set()
        """Ranges that differed when they were compared last."""
        self.is_asking = False
        self.is_different = False
        """Something differed twice."""

    @property
    def has_suspects(self) -> bool:
        return bool(self._suspects)

    def tick(self, now_ms: int, *, is_due: bool) -> bool:
        """While something moves. `is_due`: it is time to tell the peer; whether that is done."""
        self._now_ms = now_ms
        self._wants_mark = not self._marks or now_ms - self._marks[-1].at_ms >= REST_MS
        self._is_due = is_due and self._base() is not None
        return self._is_due

    def receive(self, message: Branches, *, now_ms: int) -> None:
        """What rests at the peer. Passed over if that came just now, so that it takes us no more
        than it may. ProtocolViolation if it is not that."""
        opened = message.opened[0] if len(message.opened) == 1 else None
        if opened is None or opened[0] != ROOT or message.leaves or message.lacking or message.more:
            raise ProtocolViolation("branches came out of turn")
        if now_ms >= self._deaf_until_ms:
            self._deaf_until_ms = now_ms + REST_MS // 2
            self._theirs = opened[2]

    def next_question(self) -> ReadTree | None:
        if not (self._wants_mark or self._is_due or self._theirs):
            return None
        self.is_asking = True
        return ReadTree(EVERYTHING)

    def supply(self, answer: TreeRead) -> Branches | None:
        """Our tree. What to tell the peer."""
        self.is_asking = False
        tree, base, salted = answer.tree, self._base(), self._salted()
        theirs, self._theirs = self._theirs, None
        is_due, self._is_due = self._is_due, False
        told: Branches | None = None
        if salted is not None and base is not None and base.tree() is tree:
            if theirs is not None:
                levels = (len(theirs) // TREE_DIGEST_BYTES).bit_length() - 1
                self._compare(self._rested(tree, base, levels, salted), levels, theirs)
            if is_due:
                # About one context in each, as long as there are so many ranges.
                levels = min(TREE_LEVELS_MAX, max(1, tree.count.bit_length()))
                digests = b"".join(
                    one or _NOTHING for one in self._rested(tree, base, levels, salted)
                )
                told = Branches(((ROOT, levels, digests),), (), ())
        if self._wants_mark:
            self._wants_mark = False
            mark = _Mark(weakref.ref(tree), tree.mark(), self._now_ms)
            self._marks = [*self._marks[-1:], mark]
        return told

    # ---- inside -------------------------------------------------------------------------------

    def _base(self) -> _Mark | None:
        """The newest mark that is old enough."""
        old = [one for one in self._marks if self._now_ms - one.at_ms >= REST_MS]
        return old[-1] if old else None

    def _rested(self, tree: Tree, base: _Mark, levels: int, salted: Salted) -> list[bytes | None]:
        """Digests of all ranges; None: something moves there."""
        joined, size = salted.nodes(tree.values(ROOT, levels)), TREE_DIGEST_BYTES
        rests = tree.rests(base.changes, levels)
        for context in self._moving():
            rests[path_above(key_of_name(context), levels) ^ 1 << levels] = False
        return [
            joined[at * size : at * size + size] if is_resting else None
            for at, is_resting in enumerate(rests)
        ]

    def _compare(self, ours: list[bytes | None], levels: int, theirs: bytes) -> None:
        size = TREE_DIGEST_BYTES
        equal: set[Path] = set()
        differ: set[Path] = set()
        for index, our in enumerate(ours):
            their = theirs[index * size : index * size + size]
            if our is not None and their != _NOTHING:
                (equal if our == their else differ).add(1 << levels | index)
        self._suspects -= equal
        self.is_different = self.is_different or not self._suspects.isdisjoint(differ)
        self._suspects |= differ
