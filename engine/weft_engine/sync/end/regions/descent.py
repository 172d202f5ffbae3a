"""How two ends find where their trees differ: down from the root, in turns.

One end begins. It opens the root: the digests of the nodes some bits below it. The other compares
them with its own and answers for each that differs: it opens that one, or, where only some leaves
are left, tells the digests of them all. Who is told of leaves knows which of its own the other
lacks, and answers which of the other's it lacks itself. So after each path both know which of their
own contexts differ; those they announce. The turns are over when nothing is left to be answered.

Both trees may grow meanwhile. What is found equal was equal at the two moments at which it was
read, and what came later is sent as it comes; what is found different by then is announced, which
costs bytes only.

Invariant: a node or leaf list that comes answers a digest that was told, each at most once. So a
peer can't have more looked at than it was told of.

Must never know: frames' bytes, the store, contexts' names.
"""

from __future__ import annotations

from array import array
from collections import deque
from dataclasses import dataclass
from math import log2

from weft_engine.limits import (
    TREE_DEPTH_MAX,
    TREE_DIGEST_BYTES,
    TREE_DIGESTS_PER_MESSAGE,
    TREE_LEVELS_MAX,
)
from weft_engine.sync.faults import ProtocolViolation
from weft_engine.sync.framing.messages import Branches
from weft_engine.sync.tree import ROOT, Entry, Path, Salted, Tree, depth_of, key_of, row_of

_NODE_BYTES = 9
"""What a node takes in a message beside its digests."""
_NEAR_BYTES, _FAR_BYTES = 450, 1600
"""What may be spent on digests altogether, and on each of many nodes, so that there are fewer
turns: little where a turn takes no time."""
_EACH_BYTES = 60
_DENSE = 0.5
"""Where more of the nodes than this differ, most of those below will, too."""
_NO_DIGEST = bytes(TREE_DIGEST_BYTES)


@dataclass(slots=True)
class _Told:
    """A node that was opened to the peer: `levels` deep; a bit for each node that it answered."""

    levels: int
    answered: int = 0


class Descent:
    """`salts`: those of both ends, joined, the one that `leads` first. `is_far`: a turn takes more
    time than some hundred bytes do."""

    def __init__(self, tree: Tree, salts: bytes, *, leads: bool, is_far: bool) -> None:
        self._tree = tree
        self._salted = Salted(salts)
        self.is_far = is_far
        self._is_ours = leads
        """It is our turn."""
        self._peer_has_more = False
        self._todo: deque[Path] = deque([ROOT] if leads else [])
        """Nodes that differ and are to be answered."""
        self._lacking: list[tuple[Path, bytes]] = []
        self._told: dict[Path, _Told] = {} if leads else {ROOT: _Told(0)}
        self._leaves: dict[Path, dict[bytes, Entry]] = {}
        """The leaves that the peer was told of below a path, by digests."""
        self._dense = False
        self.is_over = False
        self.nodes: list[Path] = []
        """The peer has nothing below these: all that we have there differs."""
        self.rows = array("I")
        """Contexts that differ, by where our store has them,"""
        self.keys = array("Q")
        """and their keys."""

    # ---- what comes ---------------------------------------------------------------------------

    def receive(self, message: Branches) -> None:
        """ProtocolViolation if it answers nothing that was told."""
        if self._is_ours or self.is_over:
            raise ProtocolViolation("branches came out of turn")
        self._is_ours = True
        self._peer_has_more = message.more
        differ = seen = 0
        for path, levels, digests in message.opened:
            self._answered(path)
            differ += self._compare(path, levels, digests)
            seen += 1 << levels
        for path, digests in message.leaves:
            self._answered(path)
            self._compare_leaves(path, digests)
        for path, digests in message.lacking:
            leaves = self._leaves.pop(path, None)
            if leaves is None:
                raise ProtocolViolation("leaves are lacking that were not told")
            for one in _split(digests):
                leaf = leaves.pop(one, None)
                if leaf is None:
                    raise ProtocolViolation("a leaf is lacking that was not told")
                self._differs(leaf)
        self._dense = differ > _DENSE * seen
        if not message.more:
            # All that we told was looked at.
            self._told.clear()
            self._leaves.clear()

    def ended(self) -> None:
        """The peer has begun to announce. ProtocolViolation if it should have answered more."""
        if self.is_over:
            return
        if self._is_ours or self._todo or self._peer_has_more:
            raise ProtocolViolation("the comparison of trees was left before its end")
        self.is_over = True

    def forget(self) -> None:
        """All that was found is taken: let go of it, and of the tree."""
        self._tree = Tree()
        self.nodes, self.rows, self.keys = [], array("I"), array("Q")

    def _answered(self, path: Path) -> None:
        for levels in range(TREE_LEVELS_MAX + 1):
            told = self._told.get(path >> levels)
            if told is not None and told.levels == levels:
                bit = 1 << (path & ((1 << levels) - 1))
                if told.answered & bit:
                    break
                told.answered |= bit
                return
        raise ProtocolViolation(f"a node of a tree came that answers nothing: {path:#x}")

    def _compare(self, path: Path, levels: int, theirs: bytes) -> int:
        ours = self._salted.nodes(self._tree.values(path, levels))
        if ours == theirs:
            return 0
        differ = 0
        first = path << levels
        for index, (our, their) in enumerate(zip(_split(ours), _split(theirs), strict=True)):
            if our == their:
                continue
            differ += 1
            if their == _NO_DIGEST:
                self.nodes.append(first + index)
            else:
                self._todo.append(first + index)
        return differ

    def _compare_leaves(self, path: Path, digests: bytes) -> None:
        theirs = dict.fromkeys(_split(digests))
        for one in self._tree.entries(path):
            our = self._salted.leaf(one)
            if our in theirs:
                del theirs[our]
            else:
                self._differs(one)
        if theirs:
            self._lacking.append((path, b"".join(theirs)))

    def _differs(self, leaf: Entry) -> None:
        self.keys.append(key_of(leaf))
        self.rows.append(row_of(leaf))

    # ---- what is said -------------------------------------------------------------------------

    def next(self) -> Branches | None:
        """What to say when it is our turn; None if that is nothing."""
        if not self._is_ours or self.is_over:
            return None
        opened: list[tuple[Path, int, bytes]] = []
        leaves: list[tuple[Path, bytes]] = []
        lacking, self._lacking = self._lacking, []
        left, nodes = TREE_DIGESTS_PER_MESSAGE, len(self._todo)
        while self._todo and left > 0:
            path = self._todo.popleft()
            count = self._tree.count_below(path)
            levels = 0
            if count:
                levels = levels_to_open(
                    count, depth=depth_of(path), nodes=nodes, dense=self._dense, far=self.is_far
                )
            if levels:
                opened.append((path, levels, self._open(path, levels)))
                left -= 1 << levels
            else:
                leaves.append((path, self._list(path)))
                left -= 1 + count
        if not (opened or leaves or self._peer_has_more):
            self.is_over = True
            if not lacking:
                return None
        self._is_ours = False
        return Branches(tuple(opened), tuple(leaves), tuple(lacking), bool(self._todo))

    def _open(self, path: Path, levels: int) -> bytes:
        self._told[path] = _Told(levels)
        return self._salted.nodes(self._tree.values(path, levels))

    def _list(self, path: Path) -> bytes:
        entries = self._tree.entries(path)
        found = {self._salted.leaf(one): one for one in entries}
        self._leaves[path] = found
        return b"".join(sorted(found))


def levels_to_open(count: int, *, depth: int, nodes: int, dense: bool, far: bool) -> int:
    """By how many bits to open a node with `count` leaves, one of `nodes` that differ; 0: tell its
    leaves. Where most nodes differ (`dense`), as far down as one message reaches. Otherwise one or
    few leaves are different in it: so few turns that their digests take no more than may be spent,
    or so many that they take least."""
    limit = min(TREE_LEVELS_MAX, TREE_DEPTH_MAX - depth)
    if limit <= 0 or count <= 2:
        return 0
    bits = log2(count)
    if dense:
        room = int(log2(max(1, TREE_DIGESTS_PER_MESSAGE // nodes)))
        return 0 if bits < 3 else min(limit, max(2, min(room, int(bits) - 1, 7 if far else 4)))
    may_spend = (_FAR_BYTES if far else _NEAR_BYTES) / nodes + _EACH_BYTES
    best, least = 1, float("inf")
    for turns in range(1, 21):
        cost = turns * (TREE_DIGEST_BYTES * 2 ** (bits / turns) + _NODE_BYTES)
        if cost < least:
            best, least = turns, cost
        if cost <= may_spend:
            break
    return 0 if best == 1 else max(1, min(limit, round(bits / best)))


def _split(digests: bytes) -> list[bytes]:
    return [digests[i : i + TREE_DIGEST_BYTES] for i in range(0, len(digests), TREE_DIGEST_BYTES)]
