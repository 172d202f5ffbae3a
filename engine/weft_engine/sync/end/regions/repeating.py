"""Comparing again, now and then, what two regions hold, while the link between them lives.

What was sent and acknowledged is the same at both ends, as far as either can know. Whether it is
so shows when both have had nothing to do for a while: then one tells the root of its tree, the
other its own. If they are equal, that is all. If they differ twice in a row, something was lost in
silence: the link is ended, and the next one begins with the comparison that finds it. When it is
time and something moves, what rests is compared instead (`end.regions.resting`).

Roots say nothing while something is on its way. So an end tells or compares one only when it has
been *still*: all that its journal holds is durable at the peer, all that the peer announced is
here, and no record has come from anywhere for STILL_MS. A journal that moves while its tree is read
has not been still. What crosses all the same differs once, not twice.

Invariant: at most one tree is read for the peer's, whatever it sends; and who can't be brought to
agree is linked anew ever more rarely (`Doubts`).

Must never know: frames' bytes, the store, what is different.
"""

from __future__ import annotations

from weft_engine.limits import (
    REPEAT_AGAIN_MS,
    REPEAT_LONGEST_MS,
    REPEAT_MS,
    REPEAT_PEERS_MAX,
    STILL_MS,
)
from weft_engine.names import Position
from weft_engine.sync.end.regions.resting import Resting
from weft_engine.sync.end.regions.tree_questions import ReadTree, TreeRead
from weft_engine.sync.framing.messages import Branches, Tree
from weft_engine.sync.interest import EVERYTHING, Interest
from weft_engine.sync.tree import root_digest

_DIFFERENT_TWICE = 2


class Doubts:
    """How often a store was found to differ from a peer on a live link, since they were last found
    equal. One for each store, for it outlives links."""

    def __init__(self) -> None:
        self._found: dict[bytes, int] = {}

    def pause_ms(self, peer: bytes) -> int:
        """For how long a link with this store lives before its roots are compared."""
        return min(REPEAT_MS << min(self._found.get(peer, 0), 16), REPEAT_LONGEST_MS)

    def equal(self, peer: bytes) -> None:
        self._found.pop(peer, None)

    def differ(self, peer: bytes) -> None:
        before = self._found.pop(peer, 0)
        if len(self._found) >= REPEAT_PEERS_MAX:
            del self._found[next(iter(self._found))]
        self._found[peer] = before + 1


class Repeating:
    """One end's share. `salt`: 8 random bytes."""

    def __init__(self, doubts: Doubts, salt: bytes, resting: Resting) -> None:
        self._doubts = doubts
        self._resting = resting
        self._salt = salt
        self._peer = b""
        self._interest: Interest | None = None
        """What is compared; None: nothing is."""
        self._head: Position | None = None
        self._still_since_ms: int | None = None
        self._is_still = False
        self._due_ms: int | None = None
        self._now_ms = 0
        self._asked: Position | None = None
        """Where the journal ended when our tree was asked for, which has not come."""
        self._is_wanted = False
        """Our tree is to be read."""
        self._theirs: Tree | None = None
        """The peer's, that ours is read for."""
        self._told: tuple[Position, bytes] | None = None
        """Where our journal ended when we told our root without knowing the peer's, and it."""
        self._quiet_until_ms = 0
        """We have told our root just now."""
        self._differed = 0
        """How often in a row."""

    def greeted(self, peer: bytes, interest: Interest) -> None:
        """The peer's store, and what the link is about. A tree over less than everything is not
        kept, and made of all contexts: too dear to be made again and again."""
        self._peer = peer
        self._interest = interest if interest == EVERYTHING else None

    @property
    def is_different(self) -> bool:
        """Both ends hold different things and do not know which."""
        return self._differed >= _DIFFERENT_TWICE or self._resting.is_different

    def tick(self, now_ms: int, *, head: Position, is_compared: bool, is_idle: bool) -> None:
        """By any clock that never steps back. `head`: where our journal ends. `is_idle`: compared,
        nothing is left to be sent, acknowledged or waited for."""
        self._now_ms = now_ms
        if not is_idle or head != self._head or self._still_since_ms is None:
            self._still_since_ms = now_ms if is_idle else None
        self._head = head
        since_ms = self._still_since_ms
        self._is_still = since_ms is not None and now_ms - since_ms >= STILL_MS
        if self._interest is None or not is_compared:
            return
        if self._due_ms is None:
            self._due_ms = now_ms + self._pause_ms()
        is_due = now_ms >= self._due_ms
        if is_due and self._is_still:
            self._theirs = self._told = None
            self._is_wanted = True
        elif self._is_still or not self._resting.tick(now_ms, is_due=is_due):
            return
        self._due_ms = now_ms + self._pause_ms()

    def receive(self, message: Tree, *, head: Position) -> None:
        """The peer has been still, and tells its root. Passed over if we have not."""
        told, self._told = self._told, None
        if told is not None:
            if told[0] == head:
                self._compare(told[1], message)
        elif self._now_ms < self._quiet_until_ms:
            pass  # An answer that was not waited for any more: it would be answered for ever.
        elif self._interest is not None and self._is_still and head == self._head:
            self._theirs = message
            self._is_wanted = True

    def rested(self, message: Branches) -> None:
        """The peer tells what rests there. ProtocolViolation if it does not."""
        self._resting.receive(message, now_ms=self._now_ms)

    def next_question(self, *, head: Position) -> ReadTree | None:
        if self._interest is None:
            return None
        if not self._is_wanted:
            return self._resting.next_question()
        self._is_wanted = False
        self._asked = head
        return ReadTree(self._interest)

    @property
    def is_asking(self) -> bool:
        """The tree that is being read is for this."""
        return self._asked is not None or self._resting.is_asking

    def supply(self, answer: TreeRead, *, head: Position, is_idle: bool) -> Tree | Branches | None:
        """Our tree. What to tell the peer, if nothing has moved since it was asked for, or of what
        rests."""
        if self._asked is None:
            told = self._resting.supply(answer)
            if self._resting.is_different:
                self._doubts.differ(self._peer)
            elif self._resting.has_suspects and self._due_ms is not None:
                self._due_ms = min(self._due_ms, self._now_ms + REPEAT_AGAIN_MS)
            return told
        asked, self._asked = self._asked, None
        theirs, self._theirs = self._theirs, None
        if not is_idle or asked != head:
            return None
        self._quiet_until_ms = self._now_ms + REPEAT_AGAIN_MS // 2
        root = answer.tree.value()
        if theirs is None:
            self._told = (head, root)
        else:
            self._compare(root, theirs)
        return Tree(answer.tree.count, self._salt, root_digest(root, self._salt))

    def _compare(self, root: bytes, theirs: Tree) -> None:
        if root_digest(root, theirs.salt) == theirs.digest:
            self._differed = 0
            self._doubts.equal(self._peer)
            self._due_ms = self._now_ms + self._pause_ms()
            return
        self._differed += 1
        self._due_ms = self._now_ms + REPEAT_AGAIN_MS
        if self.is_different:
            self._doubts.differ(self._peer)

    def _pause_ms(self) -> int:
        """Up to half as much again: not all links of a store at once, nor both ends of one."""
        pause_ms = self._doubts.pause_ms(self._peer)
        return pause_ms + pause_ms * int.from_bytes(self._salt[:2], "big") // (2 * 65536)
