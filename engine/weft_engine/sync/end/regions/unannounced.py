"""Which of our contexts differ from the peer's and were not announced yet.

They are what stands below some nodes of our tree, where the peer has nothing, and some leaves
beside them. Both are kept as numbers, for there can be as many as contexts: 12 bytes for a leaf,
a path for a node. They are named in the order of their keys, which is the same at both ends, some
at a time; one that moves here, or that the peer announces, is *hastened*: it is named next.

Invariant: each row is handed out once. What is handed out counts as unannounced until its name is
here (`named`).

Must never know: names, the store, how many may be announced at once.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Final

from weft_engine.limits import CONTEXTS_PER_QUESTION, TREE_DEPTH_MAX
from weft_engine.sync.tree import Path, Tree, depth_of, first_key, key_of, path_above, row_of


class Unannounced:
    """`tree`: ours. `keys` and `rows` of the leaves."""

    def __init__(
        self, tree: Tree, nodes: Iterable[Path], keys: Sequence[int], rows: Sequence[int]
    ) -> None:
        self._tree = tree
        self._nodes = sorted(nodes, key=_last_first)
        """The next one is the last."""
        order = sorted(range(len(keys)), key=keys.__getitem__)
        self._keys = array("Q", (keys[at] for at in order))
        self._rows = array("I", (rows[at] for at in order))
        self._at = 0
        """Those before are handed out."""
        self._hastened: dict[int, list[int]] = {}
        """Rows by their keys, to be named next."""
        self._early: set[int] = set()
        """Rows that were hastened, and are still among the leaves or below a node."""
        self._asked: set[int] = set()
        """The keys of what is being named."""

    @property
    def is_empty(self) -> bool:
        return not (self._asked or self._hastened or self._nodes or self._at < len(self._rows))

    def holds(self, key: int) -> bool:
        """Whether a context with this key is among them."""
        return key in self._asked or key in self._hastened or bool(self._left(key))

    def hasten(self, key: int) -> bool:
        """Name it next, if it is among them; whether it is."""
        if key in self._asked or key in self._hastened:
            return True
        rows = self._left(key)
        if rows:
            self._hastened[key] = rows
            self._early.update(rows)
        return bool(rows)

    def next(self, *, hastened_only: bool) -> list[int]:
        """Rows to name now."""
        assert not self._asked, "one question at a time"
        found: list[int] = []
        if self._hastened:
            for key, rows in self._hastened.items():
                self._asked.add(key)
                found += rows
            self._hastened = {}
            return found
        while not found and not hastened_only and (self._nodes or self._at < len(self._rows)):
            found = self._next_leaves() or self._next_below()
        return found

    def named(self) -> None:
        """The names of what was handed out are here."""
        self._asked.clear()

    # ---- inside -------------------------------------------------------------------------------

    def _next_leaves(self) -> list[int]:
        found: list[int] = []
        while self._at < len(self._rows) and len(found) < CONTEXTS_PER_QUESTION:
            self._take(self._keys[self._at], self._rows[self._at], found)
            self._at += 1
        return found

    def _next_below(self) -> list[int]:
        """Of at least one node, unless all of them below it were handed out before."""
        found: list[int] = []
        while self._nodes:
            path = self._nodes[-1]
            count = self._tree.count_below(path)
            if count > CONTEXTS_PER_QUESTION and depth_of(path) < TREE_DEPTH_MAX:
                self._nodes[-1:] = (2 * path + 1, 2 * path)
                continue
            if found and len(found) + count > CONTEXTS_PER_QUESTION:
                break
            self._nodes.pop()
            for one in self._tree.entries(path):
                self._take(key_of(one), row_of(one), found)
        return found

    def _take(self, key: int, row: int, found: list[int]) -> None:
        if row in self._early:
            self._early.discard(row)
        else:
            self._asked.add(key)
            found.append(row)

    def _left(self, key: int) -> list[int]:
        """The rows with this key that were not handed out."""
        at = bisect_left(self._keys, key, self._at)
        found: list[int] = []
        while at < len(self._keys) and self._keys[at] == key:
            found.append(self._rows[at])
            at += 1
        if self._is_below(key):
            some = self._tree.entries(path_above(key, TREE_DEPTH_MAX))
            found += [row_of(one) for one in some if key_of(one) == key]
        return [row for row in found if row not in self._early] if self._early else found

    def _is_below(self, key: int) -> bool:
        """Whether a node that is left stands above this key."""
        at = bisect_left(self._nodes, -key, key=_last_first)
        if at == len(self._nodes):
            return False
        path = self._nodes[at]
        return path_above(key, depth_of(path)) == path


def _last_first(path: Path) -> int:
    return -first_key(path)


NOTHING_LEFT: Final = Unannounced(Tree(), (), (), ())
