"""The comparison at the beginning of a link between two regions: of trees instead of lists, so that
it costs as much as what differs. (How it is repeated later: `end.regions.repeating`.)

Each end tells the root of its tree. If they are equal that is all. Otherwise both go down to where
their trees differ (`end.regions.descent`), announce the frontiers of the contexts that they have
there, and say when that was the last. Each frontier is answered (`end.regions.zooming`).

Must never know: records, the store.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TypeVar

from weft_engine.limits import (
    ANNOUNCED_AT_ONCE,
    CONTEXTS_PER_QUESTION,
    HELD_ENTRY_BYTES,
    TREE_CONTEXT_BYTES,
    TREE_SALT_BYTES,
)
from weft_engine.names import ContextName
from weft_engine.sync.end.outgoing import Outgoing
from weft_engine.sync.end.questions import ReadFrontiers, ReadLacking
from weft_engine.sync.end.regions.descent import Descent
from weft_engine.sync.end.regions.tree_questions import NamesRead, ReadNames, TreeRead
from weft_engine.sync.end.regions.unannounced import NOTHING_LEFT, Unannounced
from weft_engine.sync.end.regions.zooming import Zooming
from weft_engine.sync.faults import OutsideInterest, ProtocolViolation
from weft_engine.sync.framing.messages import Branches, Compared, Frontier, Hello, Message, Tree
from weft_engine.sync.interest import EVERYTHING, Interest
from weft_engine.sync.tree import ROOT, Salted, key_of_name, root_digest

T = TypeVar("T")
Say = Callable[[Message], None]
"""Puts a message on its way to the peer."""


class Reconciling:
    """`salt`: 8 random bytes."""

    def __init__(
        self, interest: Interest, outgoing: Outgoing, *, ours: Hello, peer: Hello, salt: bytes,
        say: Say, zooming: Zooming,
    ) -> None:  # fmt: skip
        assert len(salt) == TREE_SALT_BYTES, "so long is a salt"
        self._interest = interest
        self._outgoing = outgoing
        self._stores = (ours.store, peer.store)
        self._salt = salt
        self._say = say
        self._zooming = zooming
        self.is_far = True
        """Messages take their time to the peer, so there should be few of them."""
        self._read: TreeRead | None = None
        self._root = b""
        """Of our tree, when we told it."""
        self._ours: Tree | None = None
        self._theirs: Tree | None = None
        self.salted: Salted | None = None
        """What the wire has of nodes, once both have told their trees."""
        self._descent: Descent | None = None
        self._left: Unannounced | None = None
        """Once the trees are compared."""
        self._to_announce: deque[ContextName] = deque()
        self._is_released = False
        self._count = 0
        """Of contexts that we announce."""
        self._has_announced = False
        self._announced = 0
        """Contexts, by the peer."""
        self._peer_has_announced = False
        self._asked = 0

    # ---- how far it is ------------------------------------------------------------------------

    @property
    def held_bytes(self) -> int:
        """About what is kept of what differs."""
        held = HELD_ENTRY_BYTES * len(self._to_announce) + self._zooming.held_bytes
        if self._read is not None and self._interest != EVERYTHING:
            held += TREE_CONTEXT_BYTES * self._read.tree.count
        return held

    @property
    def was_listed(self) -> bool:
        """The trees are compared."""
        return self._descent is not None and self._descent.is_over

    @property
    def is_listed(self) -> bool:
        """It is known which of our contexts differ: what is not in comparison may be sent."""
        return self._left is not None and self._left.is_empty

    @property
    def is_done(self) -> bool:
        """Every difference was looked at, in both directions."""
        has_all = self.is_listed and self._has_announced and self._peer_has_announced
        return has_all and self._zooming.is_idle and not self._asked

    # ---- the trees ----------------------------------------------------------------------------

    def read(self, answer: TreeRead) -> None:
        """Our tree."""
        self._outgoing.head = answer.position
        self._read = answer
        self._root = answer.tree.value()
        self._ours = Tree(answer.tree.count, self._salt, root_digest(self._root, self._salt))
        self._say(self._ours)
        self._begin()

    def receive(self, message: Tree | Branches | Compared) -> None:
        """ProtocolViolation if it has no place here."""
        match message:
            case Tree():
                if self._theirs is not None:
                    raise ProtocolViolation("a second tree came")
                self._theirs = message
                self._begin()
            case Branches():
                self._descended().receive(message)
                self._go_on()
            case Compared(count):
                self._end_descent()
                if self._peer_has_announced or count != self._announced:
                    raise ProtocolViolation(
                        f"a compared of {count} contexts came where {self._announced} were"
                        " announced"
                    )
                self._peer_has_announced = True
                self._zooming.heard_all()

    def _begin(self) -> None:
        ours, theirs, read = self._ours, self._theirs, self._read
        if ours is None or theirs is None or read is None:
            return
        # Of what each has told, so that both see the same.
        is_equal = root_digest(self._root, theirs.salt) == theirs.digest
        leads = (self._stores[0], ours.salt) < (self._stores[1], theirs.salt)
        salts = ours.salt + theirs.salt if leads else theirs.salt + ours.salt
        self.salted = Salted(salts)
        self._descent = Descent(read.tree, salts, leads=leads, is_far=self.is_far)
        if is_equal:
            self._has_announced = self._peer_has_announced = True
        if is_equal or not (ours.count and theirs.count):
            self._descent.is_over = True
            if not is_equal and ours.count:
                self._descent.nodes.append(ROOT)
            self._collect(self._descent)
        else:
            self._go_on()

    def _go_on(self) -> None:
        """Say what is to be said next about the trees."""
        descent = self._descended()
        descent.is_far = self.is_far
        message = descent.next()
        if message is not None:
            self._say(message)
        if descent.is_over:
            self._collect(descent)

    def _end_descent(self) -> None:
        """The peer has begun to announce. ProtocolViolation if that comes too early."""
        descent = self._descended()
        if not descent.is_over:
            descent.ended()
            self._collect(descent)

    def _descended(self) -> Descent:
        if self._descent is None:
            raise ProtocolViolation("a part of a comparison came before its tree")
        return self._descent

    def _collect(self, descent: Descent) -> None:
        assert self._read is not None, "it was compared"
        self._left = Unannounced(self._read.tree, descent.nodes, descent.keys, descent.rows)
        descent.forget()
        # What has moved since the tree was read is to be sent, and nothing was sent yet.
        for context in self._outgoing.moving():
            self.hasten(context)
        self._found()

    # ---- what differs -------------------------------------------------------------------------

    def receive_frontier(self, message: Frontier) -> None:
        """PeerError if it has no place here."""
        self._end_descent()
        context = message.context
        if self._peer_has_announced or self._zooming.has_heard(context):
            self._zooming.heard(message, is_due=False)
            return
        if not self._interest.covers(context):
            raise OutsideInterest(f"context {context!r} was announced, outside the interest")
        self._announced += 1
        self.hasten(context)
        self._zooming.heard(message, is_due=True)

    def is_held(self, context: ContextName) -> bool:
        """Whether it differs, as far as is known, and is still to be announced."""
        left = self._left
        return left is not None and not left.is_empty and left.holds(key_of_name(context))

    def hasten(self, context: ContextName) -> bool:
        """It is announced next if it is still to be announced; whether it is."""
        left = self._left
        return left is not None and not left.is_empty and left.hasten(key_of_name(context))

    def to_announce(self) -> ReadNames | ReadFrontiers | None:
        """What to read next so that our frontiers can be announced. What is hastened goes before
        everything else, the rest when there is room for it."""
        if self._left is None:
            return None
        contexts = _take(self._to_announce)
        if contexts:
            self._asked += 1
            return ReadFrontiers(tuple(contexts), samples=False)
        has_room = self._zooming.led + CONTEXTS_PER_QUESTION <= ANNOUNCED_AT_ONCE
        rows = self._left.next(hastened_only=not has_room)
        if rows:
            return ReadNames(tuple(rows))
        self._found()
        return None

    def named(self, answer: NamesRead) -> None:
        """These contexts differ."""
        assert self._left is not None, "it was asked for their names"
        self._left.named()
        for context, position in answer.contexts:
            self._outgoing.differs(context, position)
            self._to_announce.append(context)
            self._count += 1
        self._found()

    def to_settle(self) -> ReadLacking | None:
        """Which of the peer's frontiers to compare with the journal next."""
        is_free = not self._outgoing.ready
        some = self._zooming.settled(CONTEXTS_PER_QUESTION, is_free=is_free)
        if not some:
            return None
        self._asked += 1
        return ReadLacking(tuple(some))

    def answered(self) -> None:
        """One of these two questions was answered, and our frontiers are on their way."""
        self._asked -= 1
        self._found()

    def _found(self) -> None:
        """Say that we have announced all, once that is so."""
        if not self.is_listed:
            return
        if not self._is_released:
            self._is_released = True
            self._outgoing.release()
            # A tree over less than everything is there for this link only, and goes now.
            self._read = None
            self._left = NOTHING_LEFT
        if not (self._has_announced or self._to_announce or self._asked):
            self._has_announced = True
            self._say(Compared(self._count))


def _take(queue: deque[T]) -> list[T]:
    return [queue.popleft() for _ in range(min(len(queue), CONTEXTS_PER_QUESTION))]
