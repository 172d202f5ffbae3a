"""A context of which two regions find out what both hold: what each has told of it, and how far
that is.

Must never know: other contexts, what is said next, the store.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from weft_engine.limits import SAMPLE_RECORDS_FIRST
from weft_engine.names import Position, RecordHash


@dataclass(frozen=True, slots=True)
class Told:
    """One that an end told. `floor`: where in it the floor begins."""

    hashes: tuple[RecordHash, ...]
    floor: int
    round: int


@dataclass(slots=True)
class Zoomed:
    """A context that differs."""

    ours: Told | None = None
    """Our last list; None before our frontier was told."""
    leads: bool = False
    """It was told when we had not heard the peer's."""
    theirs: Told | None = None
    frontier: tuple[RecordHash, ...] = ()
    """Ours, that was told."""
    announced: tuple[RecordHash, ...] = ()
    """The peer's, that came first."""
    reached: Position | None = None
    """How far back our lists have come."""
    records: int = SAMPLE_RECORDS_FIRST
    """How far back the next one looks."""
    shared: set[RecordHash] = field(default_factory=set)
    looking: int = 0
    """Lists of it that are not looked up."""
    contains: bool = False
    """All that the peer announced is here."""
    covers: bool = False
    """The floor of the peer's last list is here."""
    is_covered: bool = False
    """The floor of our last list is there."""
    is_answered: bool = True
    """Our last list is."""
    has_answered: bool = False
    """We have answered the peer's frontier,"""
    asks_later: bool = False
    """and have not asked for what is lacking here."""
    may_hear: bool = False
    """The peer may tell its next list."""
    is_asked: bool = False
    """The peer asks for what it lacks, or holds all that we announced."""
    is_put_off: bool = False
    """It has answered, and asks later."""
    has_newer: bool = False
    """It has told a newer frontier since."""
    is_contained: bool = False
    """All that we announced is there."""
    goes_on: bool = False
    """Our next list is due."""
    is_walking: bool = False
    """It is being read."""
    is_settled: bool = False
    """What the peer lacks was told."""

    def tell(self, hashes: tuple[RecordHash, ...], floor: int) -> None:
        """Our next list."""
        self.ours = Told(hashes, floor, 1 if self.ours is None else self.ours.round + 1)
        self.is_answered = False

    def hear(self, hashes: tuple[RecordHash, ...], floor: int) -> None:
        """The peer's next list."""
        self.theirs = Told(hashes, floor, 1 if self.theirs is None else self.theirs.round + 1)

    def may_announce(self, *, is_first: bool) -> bool:
        """Whether a frontier of the peer may come: its first, or a newer one."""
        if is_first:
            return self.ours is None or not self.is_answered
        return self.theirs is not None and self.is_put_off and not self.has_newer

    @property
    def hashes(self) -> int:
        """How many are kept, but for our own."""
        told = 0 if self.theirs is None else len(self.theirs.hashes)
        return len(self.announced) + told + len(self.shared)

    @property
    def can_be_settled(self) -> bool:
        """What the peer lacks can be told, and was not yet."""
        is_known = self.contains or self.is_contained or (self.covers and self.is_covered)
        return self.is_asked and self.is_answered and is_known and not self.is_settled

    @property
    def is_done(self) -> bool:
        """Nothing more is to be told or heard of it."""
        has_told = self.ours is None or (
            self.is_settled and self.is_answered and (self.is_covered or self.contains)
        )
        is_known = self.covers or self.is_contained or self.ours is None
        has_answered = self.has_answered and not self.asks_later
        has_heard = self.theirs is None or (has_answered and is_known)
        return has_told and has_heard and not (self.looking or self.is_walking)


def bits_of(hashes: Sequence[RecordHash], held: Collection[RecordHash] | None) -> bytes:
    """Nothing at all if nothing of the context is here."""
    if held is None:
        return b""
    if len(hashes) == 1:
        return b"\x01" if hashes[0] in held else b"\x00"
    bits = bytearray((len(hashes) + 7) // 8)
    for at, hash_ in enumerate(hashes):
        if hash_ in held:
            bits[at >> 3] |= 1 << (at & 7)
    return bytes(bits)


def named_by(hashes: Sequence[RecordHash], bits: bytes) -> list[RecordHash] | None:
    """Those of the hashes that the bits name; None if they are too many or too few bits."""
    if len(bits) != (len(hashes) + 7) // 8 or (bits and bits[-1] >> ((len(hashes) - 1) % 8 + 1)):
        return None
    return [hash_ for at, hash_ in enumerate(hashes) if bits[at >> 3] >> (at & 7) & 1]
