"""What came from a peer and is not durable here yet, and what the peer has announced.

A Records message is open from its arrival until each of its records is journaled, whoever brought
the last of them; then it is acknowledged. A parked record keeps its message open. So is a Tips
message, until each record that it names is journaled.

Between regions nothing is asked for at once: what others announced, or what parked records wait
for, is handed over (`take_absent`), for it is mostly on its way. And there what answers wants has a
window of its own: what waits in the other one may wait for that.

Must never know: frames' bytes, the store.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Container, Iterable, Sequence
from dataclasses import dataclass, field

from weft_engine.limits import (
    ANNOUNCED_HASHES_MAX,
    HELD_HASH_BYTES,
    MESSAGE_BYTES_MAX,
    TIPS_OPEN_HASHES_MAX,
    WAITING_RECORDS_MAX,
    WANTED_HASHES_MAX,
    WANTED_PER_FRAME_MAX,
)
from weft_engine.names import ContextName, Position, RecordHash
from weft_engine.records.envelope import Record
from weft_engine.records.gate import Outcome
from weft_engine.records.identity import SignatureItem
from weft_engine.sync.end.regions.held_questions import ReadHeld
from weft_engine.sync.faults import LimitBroken, ProtocolViolation
from weft_engine.sync.framing.messages import Ack, Records, Tips, Want, Window
from weft_engine.sync.interest import Interest


@dataclass(frozen=True, slots=True)
class Admission:
    """A Records message for the shell to check and to pass through the gate."""

    serial: int
    records: tuple[tuple[bytes, bytes], ...]
    """Envelopes and payloads, not read yet."""
    items: tuple[SignatureItem, ...]
    """Not verified yet."""
    interest: Interest
    """What the link was about when it came."""
    erasers: tuple[tuple[bytes, bytes, SignatureItem], ...] = ()
    """Envelopes, payloads and signatures, not read yet."""


@dataclass(slots=True)
class _Open:
    size: int
    upto: Position | None
    left: set[RecordHash] = field(default_factory=set)
    is_admitted: bool = False


class Incoming:
    def __init__(self, region: str | None, window: Window) -> None:
        self._region = region
        self._window = window
        self._last_serial = 0
        self._open: dict[int, _Open] = {}
        self._open_bytes = 0
        self._offered: dict[RecordHash, set[int]] = {}
        # Lists: they are as long as a window at most, and an empty deque takes 760 bytes.
        self._admissions: list[tuple[Records, Interest]] = []
        self._stated: list[tuple[int, Position]] = []
        self._upto: Position | None = None
        self.on_stated: Callable[[Position], None] = _nobody
        """Told of up to where everything of the peer's journal is durable here, each time that has
        moved."""
        self._announced: dict[RecordHash, ContextName] = {}
        self._awaited: Counter[ContextName] = Counter()
        """How many of these, of each context."""
        self.arrived: Callable[[ContextName], None] | None = None
        """Called when all that was announced of a context is journaled here."""
        self._contexts = 0
        """Of which frontiers were announced."""
        self._wanted: set[RecordHash] = set()
        self._tips: dict[RecordHash, set[int]] = {}
        """Announced by the peer as held and not known to be journaled here, with the messages."""
        self._unknown: dict[RecordHash, None] = {}
        """Of these, what is still to be looked up."""
        self._absent: dict[RecordHash, None] = {}
        """Not journaled, and not handed over."""
        self._is_between_regions = False
        self.records_received = 0
        """Records that came, whether they were new or not."""
        self._has_ended = False

    def greeted(self, *, is_between_regions: bool) -> None:
        self._is_between_regions = is_between_regions

    @property
    def offered(self) -> Collection[RecordHash]:
        """Records that the peer offered just now, or that are parked."""
        return self._offered.keys()

    @property
    def awaited(self) -> int:
        """How many records the peer has announced or sent that are not durable here. (Of what a
        frontier announces, only its hashes count.)"""
        return len(self._announced) + sum(hash_ not in self._announced for hash_ in self._offered)

    @property
    def awaits_names(self) -> bool:
        """Records that were announced, or asked for, have not come."""
        return bool(self._announced or self._wanted or self._tips)

    @property
    def has_admissions(self) -> bool:
        """Whether there is a `next_admission`."""
        return bool(self._admissions) and not self._has_ended

    @property
    def is_taking(self) -> bool:
        """Records came that the gate has not answered yet."""
        return any(not opened.is_admitted for opened in self._open.values())

    def end(self) -> None:
        """The link has ended: nothing more goes to the gate."""
        self._has_ended = True

    @property
    def held_bytes(self) -> int:
        """Of messages that are not durable, and about what the hashes take that are awaited."""
        hashes = len(self._announced) + len(self._wanted) + len(self._offered) + len(self._tips)
        return self._open_bytes + HELD_HASH_BYTES * hashes

    @property
    def idle(self) -> bool:
        """Everything that came is durable, and everything that was announced has come."""
        return not self._open and not self._announced

    # ---- announced ----------------------------------------------------------------------------

    def announce(self, context: ContextName, hashes: Iterable[RecordHash]) -> None:
        for hash_ in hashes:
            if hash_ not in self._announced:
                self._announced[hash_] = context
                self._awaited[context] += 1
        self._contexts += 1
        if len(self._announced) > ANNOUNCED_HASHES_MAX + self._contexts:
            raise LimitBroken(
                f"more than {ANNOUNCED_HASHES_MAX} frontier hashes were announced, one for each"
                " context aside"
            )

    def held(self, hashes: Iterable[RecordHash]) -> None:
        """These are journaled here, as was read; we may not have been told of their commit, so it
        says nothing of what the peer has stated."""
        for hash_ in hashes:
            self._came(hash_)

    def is_awaited(self, context: ContextName) -> bool:
        """Something of it was announced and is not journaled here."""
        return context in self._awaited

    # ---- tips ---------------------------------------------------------------------------------

    def receive_tips(self, message: Tips, recent: Container[RecordHash]) -> None:
        """`recent` are journaled. PeerError if the message is out of turn, beyond the window or
        more than the limits."""
        self._receive(message.serial)
        left = {hash_ for hash_ in message.hashes if hash_ not in recent}
        self._open[message.serial] = _Open(0, message.upto, left, is_admitted=True)
        for hash_ in left:
            if hash_ not in self._tips:
                self._unknown[hash_] = None
            self._tips.setdefault(hash_, set()).add(message.serial)
        if len(self._tips) > TIPS_OPEN_HASHES_MAX:
            raise LimitBroken(
                f"more than {TIPS_OPEN_HASHES_MAX} records were announced that have not come"
            )

    def next_held(self) -> ReadHeld | None:
        """Which of the announced records to look up."""
        if not self._unknown:
            return None
        question = ReadHeld(tuple(self._unknown))
        self._unknown = {}
        return question

    def looked_up(self, hashes: Iterable[RecordHash], held: Container[RecordHash]) -> None:
        """Which of these are journaled here."""
        for hash_ in hashes:
            if hash_ in held:
                self._close_tip(hash_)
            elif hash_ in self._tips:
                self._absent[hash_] = None

    def take_absent(self) -> Collection[RecordHash]:
        """What the peer holds and we lack, each once."""
        absent, self._absent = self._absent, {}
        return absent.keys()

    def _close_tip(self, hash_: RecordHash) -> bool:
        serials = self._tips.pop(hash_, None)
        if serials is None:
            return False
        self._absent.pop(hash_, None)
        self._unknown.pop(hash_, None)
        for serial in serials:
            self._open[serial].left.discard(hash_)
        return True

    # ---- records ------------------------------------------------------------------------------

    @property
    def last_serial(self) -> int:
        """Of the Records messages that came."""
        return self._last_serial

    @property
    def oldest_open(self) -> int:
        """The first Records message that is not durable, or the next to come."""
        return next(iter(self._open), self._last_serial + 1)

    def restate(self, interest: Interest) -> None:
        """The link is about `interest` from now on: what else was announced may not come, and what
        the peer has stated was about another one."""
        self._announced = {
            hash_: context for hash_, context in self._announced.items() if interest.covers(context)
        }
        self._awaited = Counter(self._announced.values())
        self._contexts = len(self._awaited)
        self._stated.clear()
        self._upto = None
        for opened in self._open.values():
            opened.upto = None

    def receive(self, message: Records, interest: Interest) -> None:
        """PeerError if the message is out of turn or beyond the window."""
        self._receive(message.serial)
        self.records_received += len(message.records)
        size = sum(len(envelope) + len(payload) for envelope, payload in message.records)
        size += sum(len(envelope) + len(payload) for envelope, payload, _ in message.erasers)
        self._open[message.serial] = _Open(size, message.upto)
        self._open_bytes += size
        self._admissions.append((message, interest))

    def _receive(self, serial: int) -> None:
        if serial != self._last_serial + 1:
            raise ProtocolViolation(f"serial {serial} came where {self._last_serial + 1} is due")
        frames, bytes_ = self._window.frames, self._window.bytes
        if self._is_between_regions:
            # Both windows, and what the last message went beyond one of them.
            frames, bytes_ = 2 * frames, 2 * bytes_ + MESSAGE_BYTES_MAX
        if len(self._open) >= frames or self._open_bytes >= bytes_:
            raise LimitBroken(
                f"records came beyond the window of {frames} messages and {bytes_} bytes"
            )
        self._last_serial = serial

    def state(self, upto: Position) -> None:
        """The peer says, beside records: everything up to there was sent before, or is known
        here."""
        stated = self._stated
        if stated and stated[-1][0] == self._last_serial:
            upto = max(upto, stated.pop()[1])
        stated.append((self._last_serial, upto))
        self._settle_stated()

    def next_admission(self) -> Admission | None:
        """Records to check (`inspection.inspect`). Then tell the session that they are `refused`,
        or `offer` them, pass them through the gate, and tell it what they are `admitted` with.
        Messages enter the gate in this order."""
        if not self.has_admissions:
            return None
        message, interest = self._admissions.pop(0)
        return Admission(message.serial, message.records, message.items, interest, message.erasers)

    def offer(self, serial: int, records: Sequence[Record]) -> None:
        """The records of a message are sound and on their way to the gate."""
        opened = self._open[serial]
        opened.left = {record.hash for record in records}
        for hash_ in opened.left:
            self._offered.setdefault(hash_, set()).add(serial)

    def committed(self, hash_: RecordHash) -> bool:
        """A record was journaled. Whether the peer offered it, or said that it holds it."""
        self._came(hash_)
        self._wanted.discard(hash_)
        was_announced = self._close_tip(hash_)
        serials = self._offered.pop(hash_, None)
        if serials is None:
            return was_announced
        for serial in serials:
            self._open[serial].left.discard(hash_)
        return True

    def admitted(self, serial: int, outcome: Outcome) -> list[Want]:
        """What the gate said. PeerError if that ends the link."""
        for hash_, error in outcome.refused:
            # What another link had parked may fall in this moment: not this peer's doing.
            if hash_ in self._offered:
                raise error
        if outcome.dropped:
            raise LimitBroken(
                f"{len(outcome.dropped)} records wait for what did not come, and there is no room"
                f" for more than {WAITING_RECORDS_MAX}"
            )
        opened = self._open[serial]
        opened.is_admitted = True
        parked = set(outcome.parked)
        for hash_ in opened.left - parked:
            self._release(hash_, serial)
        opened.left &= parked
        missing = sorted(outcome.missing - self._wanted)
        self._wanted.update(missing)
        if len(self._wanted) > WANTED_HASHES_MAX:
            raise LimitBroken(
                f"records came without more than {WANTED_HASHES_MAX} others that they depend on"
            )
        if self._is_between_regions:
            self._absent.update(dict.fromkeys(missing))
            return []
        starts = range(0, len(missing), WANTED_PER_FRAME_MAX)
        return [Want(tuple(missing[i : i + WANTED_PER_FRAME_MAX])) for i in starts]

    @property
    def is_filling(self) -> bool:
        """A quarter of the window is taken."""
        return (
            4 * len(self._open) >= self._window.frames or 4 * self._open_bytes >= self._window.bytes
        )

    @property
    def has_acks(self) -> bool:
        """Acknowledgements are due."""
        return any(opened.is_admitted and not opened.left for opened in self._open.values())

    def acks(self) -> list[Ack]:
        """Acknowledgements that are due, one for each run of serials; closes their messages."""
        done = [s for s, opened in self._open.items() if opened.is_admitted and not opened.left]
        runs: list[list[int]] = []
        for serial in done:
            opened = self._open.pop(serial)
            self._open_bytes -= opened.size
            if opened.upto is not None:
                self._stated.append((serial, opened.upto))
            if runs and runs[-1][1] == serial - 1:
                runs[-1][1] = serial
            else:
                runs.append([serial, serial])
        if not runs:
            return []
        regions = self._regions()
        return [Ack(first, last, regions) for first, last in runs]

    def _regions(self) -> tuple[tuple[str, Position], ...]:
        """Our own region's position."""
        self._settle_stated()
        if self._region is None or self._upto is None:
            return ()
        return ((self._region, self._upto),)

    def _settle_stated(self) -> None:
        """A position counts once everything before it is durable too."""
        oldest, before = self.oldest_open, self._upto
        while self._stated and self._stated[0][0] < oldest:
            self._upto = max(self._upto or Position(0), self._stated.pop(0)[1])
        if self._upto is not None and self._upto != before:
            self.on_stated(self._upto)

    def _came(self, hash_: RecordHash) -> None:
        context = self._announced.pop(hash_, None)
        if context is None:
            return
        self._awaited[context] -= 1
        if not self._awaited[context]:
            del self._awaited[context]
            if self.arrived is not None:
                self.arrived(context)

    def _release(self, hash_: RecordHash, serial: int) -> None:
        serials = self._offered.get(hash_)
        if serials is not None:
            serials.discard(serial)
            if not serials:
                del self._offered[hash_]


def _nobody(upto: Position) -> None:
    """Nobody is told."""
