"""One link's share in who holds what: what its peer states, says and holds, and what it is told.

Must never know: tasks, frames' bytes, the store.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable

from weft_engine.limits import LIVE_REGIONS_MAX, REACH_PAIRS_MAX
from weft_engine.names import Position
from weft_engine.sync.end.outgoing import Outgoing
from weft_engine.sync.end.progress import Progress
from weft_engine.sync.faults import LimitBroken, ProtocolViolation
from weft_engine.sync.framing.messages import Hello, Reach
from weft_engine.sync.interest import NOTHING, Interest
from weft_engine.sync.reach import Reach as Board


class Pairs:
    """How our journal stood when so much of a peer's was here: (p, j), both ascending. Of many,
    some of the older ones are forgotten: what was between counts when the next one does."""

    __slots__ = ("_heads", "_upto")

    def __init__(self) -> None:
        self._upto = array("q")
        self._heads = array("q")

    def add(self, upto: Position, head: Position, *, told: Position) -> None:
        """`told`: what is known everywhere of the peer's journal."""
        if self._heads and self._heads[-1] == head:
            self._upto[-1] = upto
            return
        self._upto.append(upto)
        self._heads.append(head)
        past = max(bisect_right(self._upto, told) - 1, 0)
        for ones in (self._upto, self._heads):
            del ones[:past]
            if len(ones) > REACH_PAIRS_MAX:
                # The newest stays.
                del ones[len(ones) % 2 :: 2]

    def of(self, head: Position) -> Position:
        """Up to where of the peer's journal everything is in ours up to `head`."""
        index = bisect_right(self._heads, head) - 1
        return Position(self._upto[index] if index >= 0 else 0)

    def are_all_before(self, head: Position) -> bool:
        return not self._heads or self._heads[-1] <= head

    def clear(self) -> None:
        del self._upto[:]
        del self._heads[:]

    def __len__(self) -> int:
        return len(self._heads)


class Reaching:
    """Between a session and the board of its replica. `due` is called whenever `next` has something
    again, `soon` runs what it is given after REACH_GATHER_S."""

    def __init__(
        self, board: Board, *, due: Callable[[], None], soon: Callable[[Callable[[], None]], None]
    ) -> None:
        self._board = board
        self._due = due
        self.soon = soon
        self.interest = NOTHING
        self.region: str | None = None
        self.tells = False
        self.own = Position(0)
        self.heard: dict[str, Position] = {}
        self.has_heard = False
        """The peer has said of which regions it knows."""
        self._ours: str | None = None
        self._outgoing: Outgoing | None = None
        self._progress: Progress | None = None
        self._pairs = Pairs()
        self._told: dict[str, Position] = {}
        self._news: dict[str, Position] = {}
        self._is_first = False

    # ---- what the session tells ---------------------------------------------------------------

    def greeted(
        self, ours: Hello, peer: Hello, interest: Interest, outgoing: Outgoing, progress: Progress
    ) -> None:
        if ours.region is None and peer.region is None:
            return
        self._ours, self.region, self.interest = ours.region, peer.region, interest
        self._outgoing, self._progress = outgoing, progress
        self.tells = self._is_first = ours.region is not None
        self._board.join(self, peer.store)

    def restart(self, interest: Interest) -> None:
        """The link is about something else from now on: nothing is known of that."""
        self.interest = interest
        self._pairs.clear()
        self.own = Position(0)
        self.heard = dict.fromkeys(self.heard, Position(0))
        self._told = dict.fromkeys(self._told, Position(0))
        self._news = dict.fromkeys(self._news, Position(0))

    def stated(self, upto: Position) -> None:
        """Everything of the peer's journal up to there is durable here."""
        if self.tells and self._outgoing is not None:
            told = min(self._told.values(), default=upto)
            self._pairs.add(upto, self._outgoing.journaled, told=told)
            self._board.stated(self)

    def acknowledged(self) -> None:
        if self.tells and self.region is not None:
            self._board.acknowledged(self)

    def receive(self, message: Reach, *, counts: bool) -> None:
        """What the peer says. `counts`: it is about the present interest. PeerError."""
        if self.region is None or self._outgoing is None:
            raise ProtocolViolation("a reach came from an end without a region")
        self.has_heard = True
        more: list[str] = []
        less: list[str] = []
        for region, position in message.regions:
            if region in (self._ours, self.region):
                raise ProtocolViolation(f"a reach names region {region}, an end of this link")
            if position > self._outgoing.journaled:
                raise ProtocolViolation(
                    f"region {region} holds position {position} of our journal, which ends at"
                    f" {self._outgoing.journaled}"
                )
            upto = position if counts else Position(0)
            former = self.heard.get(region)
            if former is None or upto > former:
                more.append(region)
            elif upto < former:
                less.append(region)
            self.heard[region] = upto
        if len(self.heard) > LIVE_REGIONS_MAX:
            raise LimitBroken(f"more than {LIVE_REGIONS_MAX} regions were named")
        self._board.heard(self, more, less)

    def lost(self) -> None:
        """The peer is an older state of its store, or a copy."""
        if self.region is not None:
            self._board.lost(self.region)

    def tick(self, now_ms: int) -> None:
        if self.tells and self.region is not None:
            self._board.tick(self, now_ms)

    def end(self) -> None:
        """The link is over. What an end without a region knew stays."""
        self.look()
        self._board.leave(self, is_kept=not self.tells)
        self._news.clear()
        self._is_first = False

    def next(self) -> Reach | None:
        """What to tell the peer now, if there is anything."""
        if not self._news and not self._is_first:
            return None
        self._is_first = False
        news, self._news = self._news, {}
        return Reach(tuple(news.items()))

    # ---- what the board tells (`sync.reach.Party`) ---------------------------------------------

    def look(self) -> bool:
        outgoing, progress = self._outgoing, self._progress
        if self.region is None or outgoing is None or progress is None:
            return False
        # While much is to be sent nothing is said cheaply.
        durable = None if outgoing.stated() is None else progress.durable_upto()
        if durable is None or durable <= self.own:
            return False
        self.own = durable
        return True

    def named(self, region: str, *, is_sure: bool) -> None:
        # What was told is not forgotten at the other end: so the others find room there.
        has_room = len(self._told) < (LIVE_REGIONS_MAX if is_sure else LIVE_REGIONS_MAX // 2)
        if has_room and region not in (self._ours, self.region) and region not in self._told:
            self._tell(region, Position(0))

    def reached(self, region: str, upto: Position) -> bool:
        if region in self._told:
            position = self._pairs.of(upto)
            if position > self._told[region]:
                self._tell(region, position)
        return self._pairs.are_all_before(upto)

    def taken_back(self, region: str) -> None:
        if self._told.get(region):
            self._tell(region, Position(0))

    def _tell(self, region: str, position: Position) -> None:
        self._told[region] = self._news[region] = position
        self._due()
