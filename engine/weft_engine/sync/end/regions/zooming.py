"""How two regions find out, of a context that differs, exactly what the other lacks.

Each end tells lists of hashes of its own records, the other answers each with a bit for every hash
(`Zoom`). The first list is the frontier. If one end holds all of the other's, the answer says so,
and who gets it has nothing to send; who gave it knows the other's past, and sends what is not in
it. If neither does, both have written: then each tells the ends of its newest chains and a floor,
below which the other, if it holds the floor, holds everything; as far back as that takes.

Invariants:

 1. `shared` has only records that are here and that the peer said it holds, by naming them or by a
    bit. So their past is there too, and whatever else is said wrongly, or not at all, costs bytes.
 2. If each end holds the floor of the other's last list, `shared` has the whole common past in its
    past, equivocations aside. For let r be a record of both, in the chain of a writer w. If r
    stands below our floor, it is in the floor's past. If not, we told the end of w's chain here.
    If the peer holds it, r is in its past. If not, the end of w's chain at the peer comes before
    ours, so it is here; the peer told it, or it is in the past of the peer's floor.
 3. A list is answered when it comes. An answer that does not hold all of a frontier asks for the
    rest, or says that somebody else is asked for it now (`claims`); then it is given again, behind
    a newer frontier, when our turn comes. Nothing is sent before it is asked for. So nobody waits
    but for records that somebody sends whatever else happens.

Must never know: frames' bytes, the store.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from weft_engine.limits import (
    CONTEXTS_PER_QUESTION,
    HELD_ENTRY_BYTES,
    HELD_HASH_BYTES,
    SAMPLE_RECORDS_FACTOR,
)
from weft_engine.names import ContextName, RecordHash
from weft_engine.sync.end.questions import FrontiersRead, ReadFrontiers, ZoomAnswer, ZoomQuestion
from weft_engine.sync.end.regions.claims import Claims
from weft_engine.sync.end.regions.patience import Arriving, Patience
from weft_engine.sync.end.regions.zoom_questions import (
    ChainsRead,
    ReadChains,
    ReadShared,
    SharedRead,
)
from weft_engine.sync.end.regions.zoomed import Told, Zoomed, bits_of, named_by
from weft_engine.sync.faults import ProtocolViolation
from weft_engine.sync.framing.messages import Frontier, Sample, Zoom


class Zooming:
    """`claims` are shared by the links of a store, `wake` is called when one of them makes way for
    us; `arriving` is what this link awaits."""

    def __init__(self, claims: Claims, arriving: Arriving, wake: Callable[[], None]) -> None:
        self._claims = claims
        self._arriving = arriving
        self._wake = wake
        self._contexts: dict[ContextName, Zoomed] = {}
        self._looks: deque[tuple[ContextName, tuple[RecordHash, ...]]] = deque()
        """Lists of the peer that are not looked up."""
        self._asks: deque[ContextName] = deque()
        """What is to be asked for when there is room for it."""
        self._late: deque[tuple[ContextName, bytes]] = deque()
        """What is asked for now, behind our newest frontier."""
        self._walks: deque[ContextName] = deque()
        self._settled: dict[ContextName, None] = {}
        self._rest: dict[ContextName, tuple[RecordHash, ...]] = {}
        """Of what is here now the peer was sent what it lacks; what comes from others it may have,
        as long as not all has come that it announced. With what it is known to have then."""
        self._again: dict[ContextName, None] = {}
        """Of these it has come."""
        self._messages: deque[Frontier | Zoom | Sample] = deque()
        self._has_heard_all = False
        self.led = 0
        """Contexts that we announced first and that are not found out."""
        self._patience = Patience(arriving)

    @property
    def is_idle(self) -> bool:
        """Nothing is left to find out, in either direction."""
        return not (self._contexts or self._rest or self._messages)

    @property
    def held_bytes(self) -> int:
        """About what this takes."""
        hashes = sum(one.hashes for one in self._contexts.values())
        return HELD_ENTRY_BYTES * len(self._contexts) + HELD_HASH_BYTES * hashes

    # ---- lists --------------------------------------------------------------------------------

    def announced(self, context: ContextName, frontier: tuple[RecordHash, ...]) -> None:
        """Our frontier is told now."""
        one = self._contexts.setdefault(context, Zoomed())
        if one.theirs is None:
            one.leads = True
            self.led += 1
            one.contains = one.contains or self._has_heard_all
        one.frontier = frontier
        one.tell(frontier, 0)

    def has_heard(self, context: ContextName) -> bool:
        """The peer has announced it, and it is not found out what is different."""
        one = self._contexts.get(context)
        return one is not None and one.theirs is not None

    def heard(self, message: Frontier, *, is_due: bool) -> None:
        """The peer's frontier came: the first (`is_due`), or a newer one of a context for which it
        asks only now. ProtocolViolation if it is neither."""
        self.progressed()
        one = self._contexts.get(message.context)
        if not (is_due if one is None else one.may_announce(is_first=is_due)):
            raise ProtocolViolation(f"no frontier of context {message.context!r} is due")
        if one is None:
            one = self._contexts[message.context] = Zoomed()
        if is_due:
            self._claims.join(self)
            one.announced = message.frontier
            one.hear(message.frontier, 0)
            self._look(message.context, one, message.frontier)
        else:
            one.has_newer = True
            self._look(message.context, one, message.frontier)

    def heard_all(self) -> None:
        """The peer has announced all that was different. What it says of any other context came
        there later, and is sent as what is new."""
        self._has_heard_all = True
        for context, one in list(self._contexts.items()):
            if one.theirs is None:
                one.contains = True  # All of nothing.
                self._advance(context, one)

    def sampled(self, message: Sample) -> None:
        """ProtocolViolation if it has no place here."""
        self.progressed()
        one = self._contexts.get(message.context)
        if one is None or not one.may_hear:
            raise ProtocolViolation(f"no sample of context {message.context!r} is due")
        one.may_hear = False
        hashes = (*message.ends, *message.floor)
        one.hear(hashes, len(message.ends))
        self._look(message.context, one, hashes)

    def zoomed(self, message: Zoom) -> None:
        """The answer to one of our lists. ProtocolViolation if it is to none."""
        self.progressed()
        context = message.context
        one = self._contexts.get(context)
        ours = None if one is None else one.ours
        is_late = one is not None and one.is_put_off and message.round == 1
        if (
            one is None
            or ours is None
            or not (is_late or (message.round == ours.round and not one.is_answered))
        ):
            raise ProtocolViolation(f"no zoom of context {context!r} is due")
        is_first = message.round == 1
        asked = Told(one.frontier, 0, 1) if is_first else ours
        held = named_by(asked.hashes, message.held)
        if held is None:
            if message.held or not is_first or one.theirs is not None:
                raise ProtocolViolation(
                    f"a zoom of context {context!r} has {len(message.held)} bytes for"
                    f" {len(asked.hashes)} hashes"
                )
            held = []  # Nothing of it is there.
        if one.theirs is None:
            one.contains = True  # Who answers does not announce it any more.
        one.shared.update(held)
        is_covered = one.shared.issuperset(asked.hashes[asked.floor :])
        if is_first:
            one.is_contained = is_covered
            one.is_asked = is_covered or message.asks
            if is_late and not one.is_asked:
                raise ProtocolViolation(f"context {context!r} was put off twice")
            one.is_put_off = not one.is_asked
        if not is_late:
            one.is_answered = True
            one.is_covered = is_covered
            one.goes_on = not is_covered
        self._advance(context, one)

    # ---- the store ----------------------------------------------------------------------------

    def next_question(self) -> ZoomQuestion | None:
        self._ask()
        if self._looks:
            count = min(len(self._looks), CONTEXTS_PER_QUESTION)
            return ReadShared(tuple(self._looks.popleft() for _ in range(count)))
        if self._walks:
            context = self._walks.popleft()
            one = self._contexts[context]
            question = ReadChains(context, one.frontier, one.records, one.reached)
            one.records *= SAMPLE_RECORDS_FACTOR
            return question
        if self._late:
            count = min(len(self._late), CONTEXTS_PER_QUESTION)
            some = [self._late[at][0] for at in range(count)]
            here = [name for name in some if self._contexts[name].ours is not None]
            if here:
                return ReadFrontiers(tuple(here), samples=False)
            self.supply(FrontiersRead(()))
        return None

    def supply(self, found: ZoomAnswer) -> None:
        match found:
            case SharedRead(question, held):
                for (context, hashes), some in zip(question.lists, held, strict=True):
                    one = self._contexts[context]
                    one.looking -= 1
                    self._looked(context, one, hashes, some)
                    self._advance(context, one)
            case ChainsRead(context, chains):
                one = self._contexts[context]
                one.is_walking = False
                one.reached = chains.reached
                one.tell((*chains.ends, *chains.floor), len(chains.ends))
                self._messages.append(Sample(context, chains.ends, chains.floor))
            case FrontiersRead(frontiers):
                fresh = {name: frontier for name, frontier, _ in frontiers}
                for _ in range(min(len(self._late), CONTEXTS_PER_QUESTION)):
                    context, bits = self._late.popleft()
                    one = self._contexts[context]
                    frontier = fresh.get(context, one.frontier)
                    if frontier != one.frontier:
                        self._messages.append(Frontier(context, frontier, ()))
                    self._ask_for(context, one, bits, asks=True)
                    self._forget_done(context, one)

    def messages(self) -> list[Frontier | Zoom | Sample]:
        """What is to be told now."""
        told = list(self._messages)
        self._messages.clear()
        return told

    def settled(
        self, count_max: int, *, is_free: bool
    ) -> list[tuple[ContextName, tuple[RecordHash, ...], tuple[RecordHash, ...]]]:
        """Contexts of which what the peer lacks can be computed now: what it announced, and what it
        is known to hold. `is_free`: all was sent that was said to be lacking."""
        some: list[tuple[ContextName, tuple[RecordHash, ...], tuple[RecordHash, ...]]] = []
        while self._settled and len(some) < count_max:
            context = next(iter(self._settled))
            del self._settled[context]
            one = self._contexts[context]
            some.append((context, one.announced, tuple(one.shared)))
            one.is_settled = True
            self._rest[context] = (*one.announced, *one.shared)
            self._forget_done(context, one)
        while self._again and is_free and len(some) < count_max:
            context = next(iter(self._again))
            del self._again[context]
            some.append((context, (), self._rest[context]))
        return some

    def lacks(
        self, context: ContextName, frontier: tuple[RecordHash, ...], *, is_all: bool
    ) -> None:
        """What the peer lacks was computed, when this was our frontier. `is_all`: all that it has
        announced was here."""
        if is_all:
            # It may have arrived while that was computed.
            self._rest.pop(context, None)
            self._again.pop(context, None)
            return
        self._rest[context] += frontier
        if not self._arriving.is_awaited(context):
            self._again[context] = None

    # ---- time, and other links ----------------------------------------------------------------

    def arrived(self, context: ContextName) -> None:
        """All that the peer announced of it is here."""
        self._patience.heard()
        self._claims.brought(context, self)
        if context in self._rest:
            self._again[context] = None
        if self._asks or self._again:
            self._wake()

    def progressed(self) -> None:
        """Something came of what the peer was asked for, or about it."""
        self._patience.heard()

    def came(self, context: ContextName, size: int) -> None:
        """Something new that the peer has brought is journaled."""
        if self._claims.came(context, self):
            self._patience.brought(size)

    def freed(self, context: ContextName, /) -> None:
        """As `Claimant.freed`: what came from others is looked up first."""
        self._look(context, self._contexts[context], self._contexts[context].announced)
        self._wake()

    def tick(self, now_ms: int) -> None:
        patience = self._patience
        passed_ms = patience.tick(now_ms)
        self._claims.tick(self, now_ms, passed_ms=passed_ms, is_slow=patience.is_slow)
        if patience.is_over():
            self._claims.give_way(self)
            if self._rest:
                self._again.update(dict.fromkeys(self._rest))
                self._wake()

    def end(self) -> None:
        """The link is over."""
        self._contexts.clear()
        self.led = 0
        for names in (self._settled, self._rest, self._again):
            names.clear()
        for queue in (self._looks, self._asks, self._late, self._walks, self._messages):
            queue.clear()
        self._claims.leave(self)

    # ---- inside -------------------------------------------------------------------------------

    def _look(self, context: ContextName, one: Zoomed, hashes: tuple[RecordHash, ...]) -> None:
        one.looking += 1
        self._looks.append((context, hashes))

    def _looked(
        self,
        context: ContextName,
        one: Zoomed,
        hashes: tuple[RecordHash, ...],
        held: frozenset[RecordHash] | None,
    ) -> None:
        theirs = one.theirs
        assert theirs is not None, "what is looked up was heard"
        if held is not None:
            one.shared.update(held)
            self._arriving.held(held)
        is_all = held is not None and held.issuperset(hashes)
        if hashes is one.announced and not is_all and not self._arriving.is_awaited(context):
            # It came while it was looked up: what is asked for now would come twice.
            self._look(context, one, hashes)
        elif hashes is one.announced:
            one.contains = is_all
            if one.asks_later:
                # Our turn has come.
                if is_all:
                    self._ask_for(context, one, bits_of(hashes, held), asks=False)
                else:
                    self._late.append((context, bits_of(hashes, held)))
                return
            has_room = self._claims.has_room(self)
            asks = not is_all and has_room and self._claims.take(context, self)
            one.asks_later = not (is_all or asks)
            if one.asks_later and not has_room:
                self._asks.append(context)  # Otherwise we are told when it is our turn.
            one.has_answered = True
            one.covers = is_all
            one.may_hear = not is_all
            self._messages.append(Zoom(context, 1, bits_of(hashes, held), asks))
        elif hashes is theirs.hashes:
            one.covers = held is not None and held.issuperset(hashes[theirs.floor :])
            one.may_hear = not one.covers
            self._messages.append(Zoom(context, theirs.round, bits_of(hashes, held), False))
        else:
            one.contains = one.contains or is_all  # A newer frontier: we know how far it is.

    def _ask(self) -> None:
        """Ask for what there was no room for, as far as others are not asked for it."""
        while self._asks and self._claims.has_room(self):
            context = self._asks.popleft()
            if self._claims.take(context, self):
                self._look(context, self._contexts[context], self._contexts[context].announced)

    def _ask_for(self, context: ContextName, one: Zoomed, bits: bytes, *, asks: bool) -> None:
        """What was put off is asked for now; or everything has come from others."""
        one.asks_later = False
        self._messages.append(Zoom(context, 1, bits, asks))
        if not self._arriving.is_awaited(context):
            self._claims.done(context, self)

    def _advance(self, context: ContextName, one: Zoomed) -> None:
        """Go on with what is known now."""
        if one.looking:
            return
        if one.goes_on:
            one.goes_on = False
            if not one.contains:
                one.is_walking = True
                self._walks.append(context)
        if one.can_be_settled:
            self._settled[context] = None
        self._forget_done(context, one)

    def _forget_done(self, context: ContextName, one: Zoomed) -> None:
        """Nothing more is to be told or heard of it."""
        if one.is_done:
            if self._contexts.pop(context, None) is not None:
                self.led -= one.leads
            if not self._contexts:
                self._claims.rest(self)
