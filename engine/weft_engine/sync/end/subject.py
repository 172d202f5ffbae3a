"""What a link is about: what both ends agree on, and how they find out what is different there.

It begins where an earlier link ended, or with lists, or between two regions with trees; and begins
again, for what it was not about before, when the end without a region asks for something else.

Must never know: records, frames, the store.
"""

from __future__ import annotations

from weft_engine.names import ContextName
from weft_engine.storage.cursors import Place
from weft_engine.sync.end.comparison import Comparison
from weft_engine.sync.end.departed import Departed
from weft_engine.sync.end.outbox import Outbox
from weft_engine.sync.end.outgoing import Outgoing
from weft_engine.sync.end.questions import ListContexts, Listed
from weft_engine.sync.end.regions.cost import Cost
from weft_engine.sync.end.regions.reconciling import Reconciling
from weft_engine.sync.end.regions.repeating import Doubts, Repeating
from weft_engine.sync.end.regions.resting import Resting
from weft_engine.sync.end.regions.tree_questions import NamesRead, ReadTree, TreeRead
from weft_engine.sync.end.regions.zooming import Zooming
from weft_engine.sync.end.resuming import Resuming
from weft_engine.sync.end.rounds import Rounds
from weft_engine.sync.faults import ProtocolViolation
from weft_engine.sync.framing.messages import (
    Branches,
    Compared,
    Contexts,
    Hello,
    Message,
    Subscribe,
    Tree,
)
from weft_engine.sync.interest import NOTHING, Interest


class Subject:
    """`contexts_max`: more than this a link with lists may not be about. `salt`: random bytes for
    trees, of an end with a region; and how it finds out there what both hold is `zooming`.
    `doubts` outlive the link."""

    def __init__(
        self,
        hello: Hello,
        outgoing: Outgoing,
        outbox: Outbox,
        *,
        contexts_max: int,
        salt: bytes | None = None,
        zooming: Zooming | None = None,
        doubts: Doubts | None = None,
    ) -> None:
        self._hello = hello
        self._outgoing = outgoing
        self._outbox = outbox
        self._salt = salt
        self._zooming = zooming
        self._doubts = doubts or Doubts()
        self.zooming: Zooming | None = None
        """Between two regions."""
        self.repeating: Repeating | None = None
        """There, too."""
        self._contexts_max = contexts_max
        self.interest = NOTHING
        """What both ends agree on."""
        self.accepts = NOTHING
        """What the peer may send records of: of what was dropped some may be under way."""
        self.before = NOTHING
        """What it was about before, which the present comparison leaves out."""
        self.departed = Departed()
        self.comparison: Comparison | Reconciling | None = None
        """None before the peer's hello."""
        self.listing: ListContexts | ReadTree | None = None
        """The next page of our own contexts to read, or the tree over them."""
        self.cost = Cost()
        self._is_far = True
        self.resuming = Resuming(outgoing)
        self.rounds = Rounds(hello)

    @property
    def was_listed(self) -> bool:
        """Both lists were complete once."""
        return self.comparison is not None and self.comparison.was_listed

    @property
    def is_listed(self) -> bool:
        """Both lists are complete."""
        return self.comparison is not None and self.comparison.is_listed

    @property
    def is_compared(self) -> bool:
        """Every difference was looked at, in both directions."""
        return self.comparison is not None and self.comparison.is_done

    def is_held(self, context: ContextName) -> bool:
        """Whether it is being compared for the first time, and not to be sent before that."""
        if isinstance(self.comparison, Reconciling):
            return self.comparison.is_held(context)
        return self.was_listed and not self.is_listed and not self.before.covers(context)

    def moves(self, context: ContextName) -> bool:
        """There is something new of it; whether it `is_held`."""
        if isinstance(self.comparison, Reconciling):
            return self.comparison.hasten(context)
        return self.is_held(context)

    # ---- beginning ----------------------------------------------------------------------------

    def greeted(self, peer: Hello) -> None:
        self.interest = self.accepts = peer.interest.intersection(self._hello.interest)
        if self._salt is not None and self._zooming is not None and peer.region is not None:
            self.zooming = self._zooming
            comparison = self.comparison = Reconciling(
                self.interest,
                self._outgoing,
                ours=self._hello,
                peer=peer,
                salt=self._salt,
                say=self.say,
                zooming=self._zooming,
            )
            resting = Resting(lambda: comparison.salted, self._outgoing.moving)
            self.repeating = Repeating(self._doubts, self._salt, resting)
            self.repeating.greeted(peer.store, self.interest)
        else:
            self._zooming = None
            self.comparison = Comparison(
                self.interest, self._outgoing, contexts_max=self._contexts_max
            )
        self.resuming.greeted(self._hello, peer, self.interest)

    def begin(self) -> Place | None:
        """Resume or compare, once it is known which. Where it resumes, at an end that keeps
        cursors."""
        comparison = self.comparison
        if comparison is None or comparison.was_listed or not self.resuming.is_settled:
            return None
        if isinstance(comparison, Reconciling):
            self.listing = self.listing or ReadTree(self.interest)
            return None
        if self.resuming.is_resumed:
            comparison.skip()
            return self.resuming.place
        self.listing = self.listing or ListContexts(self.interest, 0, "")
        return None

    def say(self, message: Message) -> None:
        """Put a part of the comparison on its way."""
        self.cost.sent(self._outbox.put(message))

    def tree_read(self, answer: TreeRead) -> None:
        """The tree over our own contexts, at the beginning."""
        assert isinstance(self.comparison, Reconciling), "a tree was asked for"
        self.listing = None
        self.comparison.is_far = self._is_far
        self.comparison.read(answer)

    def is_near(self) -> None:
        """Messages take next to no time to the peer."""
        self._is_far = False
        if isinstance(self.comparison, Reconciling):
            self.comparison.is_far = False

    def named(self, answer: NamesRead) -> None:
        """Some of the contexts in which the trees differ."""
        assert isinstance(self.comparison, Reconciling), "names were asked for"
        self.cost.contexts += len(answer.contexts)
        self.comparison.named(answer)

    def receive_tree(self, message: Tree | Branches | Compared) -> None:
        """PeerError if it has no place here."""
        if not isinstance(self.comparison, Reconciling):
            raise ProtocolViolation("a part of a tree came, and only regions compare trees")
        repeating = self.repeating
        assert repeating is not None, "there is one where trees are compared"
        if isinstance(message, Tree) and self.comparison.was_listed:
            repeating.receive(message, head=self._outgoing.head)
        elif isinstance(message, Branches) and self.comparison.was_listed:
            repeating.rested(message)
        else:
            self.comparison.receive(message)

    def listed(self, answer: Listed) -> list[Contexts]:
        """A page of our own contexts was read; how the peer hears of it. LimitBroken if there are
        too many."""
        assert isinstance(self.comparison, Comparison), "a list was asked for"
        if self.before.is_empty:
            # Later rounds leave out what goes on: of that more may be committed than was told of,
            # and a cursor says that all up to `head` was sent.
            self._outgoing.head = answer.position
        self.listing = answer.next
        return self.comparison.listed(answer.entries, last=answer.next is None)

    def receive_list(self, message: Contexts) -> None:
        """PeerError if it has no place here."""
        if not isinstance(self.comparison, Comparison):
            raise ProtocolViolation("contexts came, and regions compare trees")
        if not self.resuming.is_settled:
            raise ProtocolViolation("contexts came before it was said whether to resume")
        self.comparison.receive_list(message)
        if message.last:
            self.accepts = self.interest

    # ---- rounds -------------------------------------------------------------------------------

    def next_round(self, peer: Hello) -> Subscribe | None:
        """Begin a round, if one is due and the one before is over: what the peer is told."""
        if not self.rounds.is_due or not self.is_compared:
            return None
        subscribe = self.rounds.begin()
        self._begin_round(subscribe.interest.intersection(peer.interest))
        return subscribe

    def receive_round(self, message: Subscribe, peer: Hello) -> None:
        """The peer begins a round. ProtocolViolation if that has no place here."""
        self.rounds.receive(message, peer)
        self._begin_round(message.interest.intersection(self._hello.interest))
        self.accepts = self.interest

    def _begin_round(self, interest: Interest) -> None:
        assert isinstance(self.comparison, Comparison), "rounds are begun by clients only"
        before = self.interest
        self.comparison.begin(interest, before)
        self.interest = interest
        self.before = before
        self.accepts = before.union(interest)
        durable = self._outgoing.durable_upto()
        if durable is not None:
            self.departed.leave(before.beyond(interest), durable)
        self._outgoing.narrow(interest)
        self.listing = ListContexts(interest.beyond(before), 0, "", before)
