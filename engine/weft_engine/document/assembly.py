"""Putting a context's document together from its records, whatever they do to it.

Three things are left out of a document that stand in the journal: structs in types nested too deep
or in no type at all, records that point to what no record brings, and records at which pycrdt
panics. For the first and the last, GC structs take the clocks, so that what builds on them finds
its place. What was left out is listed under `problems`.

Invariant: as long as nothing panics, the document follows from the set of the records. It is that
of the records in the order of their journal, and that order is no matter, because what others
outweigh (`claims`) is left out, and the others say the same. Once one has panicked, or gives other
words to clocks that were given, or something waits where some outweigh others, it is made anew from
all records in an order that follows from the records alone; who says something first in it is right
and the culprits are those at which that panics. If nothing of this is so, that order makes the same
document, so it may be taken at any time. After a panic what comes last in it is applied as it
comes, or one culprit would have every word of anybody walk through the whole context. Must never
know: storage, tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final, Generic, Protocol, TypeVar

from weft_engine.document.claims import Claims
from weft_engine.document.own_order import in_own_order
from weft_engine.document.replay import Replay
from weft_engine.document.waiting import Waiting, WaitingRoom
from weft_engine.errors import MalformedUpdate, StoreError
from weft_engine.limits import COMPARED_PER_STRUCT, COMPARED_STRUCTS
from weft_engine.names import ClientId, Incarnation, RecordHash
from weft_engine.records.envelope import UPDATES, Record
from weft_engine.yjs.levels import Levels, stand_in
from weft_engine.yjs.reader import read_update
from weft_engine.yjs.stand_in import Anatomy
from weft_engine.yjs.subdocuments import subdocuments
from weft_engine.yjs.update import Id, Update
from weft_engine.yjs.update import Kind as StructKind
from weft_engine.yjs.words import Words

MISPLACED: Final = "types nest too deep, or it stands in no type: left out of the document"
WAITS: Final = "it points to what is not in the context: left out of the document"
PANICKED: Final = "the document failed at it: left out of the document"


class Appliable(Protocol):
    """A document; what it raises poisons it."""

    def apply(self, update: bytes, /) -> None: ...

    def expect(self, subdocuments: Sequence[Id], /) -> None: ...

    @property
    def has_subdocuments(self) -> bool: ...

    def clocks(self) -> dict[ClientId, int]: ...

    def since(self, client: ClientId, clock: int, /) -> bytes: ...


D = TypeVar("D", bound=Appliable)
T = TypeVar("T")


class Assembly(Generic[D]):
    """`make` gives an empty document; `is_panic` tells a document's failure from ours."""

    def __init__(self, make: Callable[[], D], is_panic: Callable[[BaseException], bool]) -> None:
        self._make = make
        self._is_panic = is_panic
        self.document = make()
        self.tips: dict[Incarnation, RecordHash] = {}
        """The end of each chain in it."""
        self._problems: dict[RecordHash, str] = {}
        self.is_whole_only = False
        """It holds an equivocation or a culprit: what comes next can reach back, and then it has to
        be made anew."""
        self._replay: Replay | None = None
        """Tells what of an equivocation holds; None if it was not made from all at once."""
        self._levels = Levels()
        self._room = WaitingRoom()
        self._claims = Claims()
        self._goes_by_claims = True
        """Else weights count for nothing."""
        self._goes_by_order = False
        """Who says something first in the records' own order is right."""
        self._is_told_twice = False
        """It was told other words for clocks that it had."""
        self._to_compare = COMPARED_STRUCTS
        """So many structs of the document may be read to find that out."""
        self._restored: dict[ClientId, int] = {}
        """Where the clocks end of which a checkpoint does not say who gave them."""
        self._ends: set[RecordHash] | None = None
        """After a failure: the records that no other one stands behind."""

    @property
    def problems(self) -> dict[RecordHash, str]:
        """The records that are left out, or of which something is, and why."""
        waits = {waiting.record.hash: WAITS for waiting in self._room.waiting.values()}
        return self._problems | waits

    def is_left_out(self, record: RecordHash) -> bool:
        """Whether the document lacks some of what a record says that it was given."""
        return record in self._problems

    @property
    def clocks(self) -> dict[ClientId, int]:
        """The next Yjs clock of each client, by the records that were applied."""
        return self._room.known

    @property
    def is_plain(self) -> bool:
        """It is the document of all its records, and nothing has to be known beside it."""
        is_flat = self._levels.is_flat and not self.document.has_subdocuments
        return is_flat and not self.is_whole_only and not self.problems

    def take(self, records: Iterable[Record]) -> bool:
        """Apply records that continue their chains. False if one of them is a side of an
        equivocation, outweighs what came before, or makes the document fail: then make it anew,
        with `take_all`."""
        return all(self.take_one(record) for record in records)

    def take_one(self, record: Record, update: Update | None = None) -> bool:
        """The same for one, whose payload has been read already if `update` is given."""
        if record.envelope.kind in UPDATES and update is None:
            update = read_update(record.payload)
        if not self._goes_on(record, update):
            return False
        waiting = len(self._room.waiting)
        is_taken = self._try(record, update=update) is None and not self._is_told_twice
        if not is_taken or self._waits_in_vain or self._frees(waiting):
            self._give_up()
            return False
        return True

    def lacks(self, update: Update) -> bool:
        """Whether an update begins behind, points to or deletes what has not come."""
        return self._room.lacks(update)

    def offer(self, data: bytes, update: Update, apply: Callable[[bytes], T]) -> T:
        """Take in an update that lacks nothing and that no record holds yet: what `apply` answers,
        which is given the bytes as the document may have them. Whatever it raises, or if the update
        is not journaled then, the document is ahead of the journal and must be made anew."""
        self.document.expect(subdocuments(update))
        answer = apply(self._levels.flattened(data, update))
        waiting = len(self._room.waiting)
        for free in self._room.bring(update):
            self._apply(free)
        if self._is_told_twice or self._frees(waiting):
            self._give_up()
        return answer

    def pass_over(self, record: Record, update: Update | None = None) -> bool:
        """A record continues its chain, and its update was offered. False if it does not, outweighs
        what came before, or gives other words to clocks that others gave."""
        if record.envelope.kind not in UPDATES:
            return self._goes_on(record, None)
        update = update or read_update(record.payload)
        is_again = self._claims.meets(update)
        if not self._goes_on(record, update):
            return False
        if is_again and self._tells_apart(record, update, self._room.known):
            self._give_up()
            return False
        return True

    def take_all(self, records: Sequence[Record]) -> None:
        """Make it anew from a whole context, equivocations, culprits and all."""
        replay = Replay()
        for _ in self.taking_all(records, replay, replay.begin(records)):
            pass

    def taking_all(
        self, records: Sequence[Record], replay: Replay, held: Sequence[Record]
    ) -> Iterator[None]:
        """As `take_all`, a record a step; `held` is what `replay` began with. Until the last step
        it is no document of anything."""
        self._give_up()
        self._restored = {}
        self._ends = None
        self._claims = Claims()
        self._goes_by_claims, self._goes_by_order = True, False
        has_panicked = not (yield from self._in_turn(held))
        is_told_twice = self._is_told_twice
        if not has_panicked and not is_told_twice and not self._waits_in_vain:
            self._replay = replay
            return
        wanted = {record.hash for record in held}
        ordered = [record for record in in_own_order(records) if record.hash in wanted]
        self._is_told_twice = self._goes_by_order = True  # Nobody has to look any more.
        is_done = False
        if is_told_twice or (has_panicked and self._claims.is_contested):
            is_done = yield from self._run(ordered)
            has_panicked = has_panicked or not is_done
            is_done = is_done and not self._waits_in_vain
        culprits: set[RecordHash] = set()
        while not is_done:
            self._goes_by_claims = False
            is_done = yield from self._run(ordered, culprits)
        self._is_told_twice = False
        self._replay = replay
        if has_panicked or culprits:
            named = {parent for record in records for parent in record.envelope.parents}
            self._ends = {record.hash for record in records} - named

    def restore(self, state: bytes, tips: dict[Incarnation, RecordHash]) -> bool:
        """Begin with what a checkpoint says. False if that fails; then begin with another."""
        try:
            self.document.apply(state)
        except BaseException as error:
            if not self._is_panic(error):
                raise
            return False
        self.tips = tips
        self._restored = self.document.clocks()
        self._room = WaitingRoom(dict(self._restored))
        return True

    # ---- inside -------------------------------------------------------------------------------

    def _begin(self) -> None:
        self.document = self._make()
        self._to_compare = COMPARED_STRUCTS
        self._problems = {}
        self._levels = Levels()
        self._room = WaitingRoom()

    def _give_up(self) -> None:
        self.is_whole_only = True
        self._replay = None

    def _goes_on(self, record: Record, update: Update | None) -> bool:
        """A record continues its chain and outweighs nothing: count it in."""
        if self._replay is not None:
            if not self._replay.holds(record):
                self._replay = None
                return False
        elif self.is_whole_only or record.envelope.prev != self.tips.get(record.envelope.origin):
            self.is_whole_only = True
            return False
        if update is not None and (
            _gives_below(update, self._restored) or self._reaches_back(record, update)
        ):
            self._give_up()
            return False
        if self._ends is not None and not self._comes_last(record, self._ends):
            self._give_up()
            return False
        self.tips[record.envelope.origin] = record.hash
        return True

    def _in_turn(self, held: Sequence[Record]) -> Generator[None, None, bool]:
        """Apply records in the order of the journal, once all is known that outweighs what came
        before. False if the document fails; it ends there, or where the same is told twice."""
        self._begin()
        self._is_told_twice = is_late = has_failed = False
        for record in held:
            update = read_update(record.payload)
            is_late = self._claims.add(record, update) or is_late
            if not (is_late or has_failed or self._is_told_twice):
                has_failed = self._try(record, update=update) is not None
            yield
        if not is_late:
            return not has_failed
        self._begin()
        self._is_told_twice = False
        for record in held:
            if self._try(record) is not None:
                return False
            if self._is_told_twice:
                break
            yield
        return True

    def _run(
        self, ordered: Sequence[Record], culprits: set[RecordHash] | None = None
    ) -> Generator[None, None, bool]:
        """Apply records in this order. False if the document fails at one; it is a culprit now."""
        self._begin()
        for record in ordered:
            culprit = self._try(record, culprits or ())
            if culprit is not None:
                if culprits is not None:
                    culprits.add(culprit)
                return False
            yield
        return True

    def _comes_last(self, record: Record, ends: set[RecordHash]) -> bool:
        """Note a record, which stands behind some of `ends`. Whether it stands behind all of them
        and so at the end of the records' own order, or says nothing to a document: then nothing
        that was tried before is tried in another document because of it."""
        ends.difference_update(record.envelope.parents)
        is_last = not ends or record.envelope.kind not in UPDATES
        ends.add(record.hash)
        return is_last

    @property
    def _waits_in_vain(self) -> bool:
        """Something waits, and that may be because what it waits for was outweighed."""
        is_judged = self._goes_by_claims and (self._claims.is_contested or bool(self._restored))
        return is_judged and bool(self._room.waiting)

    def _frees(self, waiting: int) -> bool:
        """So many were waiting, and one of them does not wait any more whose place is another one
        in the records' own order."""
        return self._goes_by_order and len(self._room.waiting) < waiting

    def _reaches_back(self, record: Record, update: Update) -> bool:
        """Count a record in. Whether what was there before means something else by it."""
        is_again = self._goes_by_order and self._claims.meets(update)
        return self._claims.add(record, update) or is_again

    def _enter(self, record: Record, update: Update) -> list[Waiting]:
        outweighed = self._claims.outweighed(record, update) if self._goes_by_claims else None
        if outweighed is None:
            return self._room.enter(record, update)
        if outweighed.hollow:
            record = replace(record, payload=Anatomy.of(record.payload).skipping(outweighed.hollow))
            update = read_update(record.payload)
        return self._room.enter(record, update, behind=outweighed.words)

    def _try(
        self,
        record: Record,
        culprits: Container[RecordHash] = (),
        *,
        update: Update | None = None,
    ) -> RecordHash | None:
        """Apply a record and what waited for it; the one that the document fails at."""
        if record.envelope.kind not in UPDATES:
            return None
        for free in self._enter(record, update or read_update(record.payload)):
            hash_ = free.record.hash
            if hash_ in culprits:
                self._problems[hash_] = PANICKED
                self._stand_in(free.record)
                continue
            try:
                self._apply(free)
            except BaseException as error:
                if not self._is_panic(error):
                    raise
                return hash_
        return None

    def _apply(self, free: Waiting) -> None:
        record, update = free.record, free.update
        self._to_compare += COMPARED_PER_STRUCT * len(update.structs)
        if free.again and not self._is_told_twice:
            self._is_told_twice = self._tells_apart(record, update, free.again)
        data = self._levels.flattened(record.payload, update)
        if data is not record.payload:
            self._problems[record.hash] = MISPLACED
        self.document.expect(subdocuments(update))
        self.document.apply(data)

    def _tells_apart(self, record: Record, update: Update, known: Mapping[ClientId, int]) -> bool:
        """Whether a record that was counted in says something else than the document of clocks
        below `known`. If that is much to read, yes: in the records' own order nobody asks."""
        words = Words.of(record.payload)
        for client, spans in self._claims.counted(record, update).items():
            end = known.get(client, 0)
            said = [(first, min(stop, end)) for first, stop in spans if first < end]
            if not said:
                continue
            data = self.document.since(client, said[0][0])
            try:
                held = Words.of(data, end=said[-1][1], pieces_max=self._to_compare)
            except MalformedUpdate:
                return True  # What pycrdt has made of it can't be compared.
            self._to_compare -= held.size
            if held.differ(words, client, said, self._levels.has_type):
                return True
        return False

    def _stand_in(self, record: Record) -> None:
        try:
            self.document.apply(stand_in(record.payload))
        except BaseException as error:
            if not self._is_panic(error):
                raise
            # It gives out clocks and says nothing: no such failure is known.
            raise StoreError(
                f"the document of context {record.envelope.context!r} can't be made:"
                f" it fails even without record {record.hash.hex()[:16]}",
                hint="events and views of the context are not touched by this",
            ) from None


def _gives_below(update: Update, ends: Mapping[ClientId, int]) -> bool:
    """Whether it gives clocks again that end there."""
    return bool(ends) and any(
        struct.clock < ends.get(struct.client, 0) and struct.kind is not StructKind.SKIP
        for struct in update.structs
    )
