"""What only two regions say to each other, beside their comparison: with whom they are live, what
they need not send, what of a context each holds, what its index says, and what time it is.

Must never know: frames' bytes, the store, what time it is.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import TypeAlias

from weft_engine.limits import WANTED_PER_FRAME_MAX
from weft_engine.names import RecordHash
from weft_engine.sync.end.following import Following
from weft_engine.sync.end.incoming import Incoming
from weft_engine.sync.end.pulse import Pulse
from weft_engine.sync.end.regions.checking import Checking, Entry
from weft_engine.sync.end.regions.neighbour import Neighbour
from weft_engine.sync.end.regions.timing import Timing
from weft_engine.sync.end.sending import Sending
from weft_engine.sync.end.subject import Subject
from weft_engine.sync.faults import ProtocolViolation
from weft_engine.sync.framing.messages import Check, Clock, Live, Sample, Tips, Want, Zoom, Zooms

RegionMessage: TypeAlias = Tips | Live | Zoom | Zooms | Sample | Check | Clock


class BetweenRegions:
    """One end's share; at any other link it has nothing to do. `recent` is what
    was journaled last."""

    def __init__(
        self,
        subject: Subject,
        sending: Sending,
        incoming: Incoming,
        following: Following,
        pulse: Pulse,
        recent: Container[RecordHash],
    ) -> None:
        self._subject = subject
        self._sending = sending
        self._incoming = incoming
        self._following = following
        self._pulse = pulse
        self._recent = recent
        self._is_over = False
        self.timing = Timing()
        """Of the peer."""
        self.checking = Checking()
        """What the peer's event indexes say."""

    @property
    def neighbour(self) -> Neighbour | None:
        """The peer, if both ends are regions; None before that is known."""
        return self._sending.neighbour

    @property
    def live_with(self) -> str | None:
        """The region with which this link is live: compared, and heard of lately."""
        neighbour = self._sending.neighbour
        if neighbour is None or self._is_over or self._pulse.is_quiet:
            return None
        return neighbour.region if self._subject.is_compared else None

    # ---- what is said -------------------------------------------------------------------------

    def tell_live(self, regions: Iterable[str]) -> bool:
        """This store is live with these now. Whether that was news."""
        neighbour = self._sending.neighbour
        if self._is_over or neighbour is None:
            return False
        others = neighbour.to_tell(regions)
        if others is not None:
            self._sending.outbox.put(Live(others))
        return others is not None

    def announce(self) -> None:
        """Call TIPS_GATHER_S after something was spared (`Following.spare`)."""
        if not self._is_over:
            self._sending.announce()

    def want(self, hashes: Iterable[RecordHash]) -> None:
        """Ask the peer for records that it holds."""
        if self._is_over:
            return
        some = sorted(hashes)
        for start in range(0, len(some), WANTED_PER_FRAME_MAX):
            want = Want(tuple(some[start : start + WANTED_PER_FRAME_MAX]))
            self._sending.outbox.put_first(want)

    def ask_time(self, mark_us: int) -> None:
        """Ask the other region for its time. `mark_us`: as `Timing.ask`."""
        if not self._is_over and self._sending.neighbour is not None:
            self._sending.outbox.put_first(self.timing.ask(mark_us))

    def settle_time(self, mark_us: int, now_ms: int) -> None:
        """As `Timing.settle`, where it has news."""
        answer = self.timing.settle(mark_us, now_ms)
        if answer is not None and not self._is_over:
            self._sending.outbox.put_first(answer)

    def tell_check(self, entries: Iterable[Entry]) -> None:
        """Tell the other region what the event indexes of these contexts say here."""
        some = tuple(entries)
        if some and not self._is_over and self._sending.neighbour is not None:
            self._sending.outbox.put(Check(some))

    # ---- what comes, time, and the end --------------------------------------------------------

    def receive(self, message: RegionMessage) -> None:
        neighbour, zooming = self._sending.neighbour, self._subject.zooming
        match message:
            case Tips():
                if neighbour is None:
                    raise ProtocolViolation("tips came where none are due")
                self._incoming.receive_tips(message, self._recent)
                for hash_ in message.hashes:
                    if hash_ in self._recent:
                        neighbour.holds(hash_)
                self._following.answered()
            case Live(regions):
                if neighbour is None:
                    raise ProtocolViolation("a live came where none is due")
                neighbour.live = frozenset(regions)
            case Zoom() | Zooms() | Sample():
                if zooming is None:
                    raise ProtocolViolation("a zoom or sample came, and only regions say them")
                if isinstance(message, Sample):
                    zooming.sampled(message)
                else:
                    for zoom in (message,) if isinstance(message, Zoom) else message.entries:
                        zooming.zoomed(zoom)
            case Check():
                if neighbour is None:
                    raise ProtocolViolation("a check came where none is due")
                self.checking.receive(message)
            case Clock():
                if neighbour is None:
                    raise ProtocolViolation("a clock came where none is due")
                self.timing.receive(message)

    def progressed(self) -> None:
        """Records came."""
        if self._subject.zooming is not None:
            self._subject.zooming.progressed()

    def tick(self, now_ms: int) -> None:
        """By any clock that never steps back."""
        if self._sending.neighbour is not None:
            self._sending.neighbour.tick(now_ms)
        if self._subject.zooming is not None:
            self._subject.zooming.tick(now_ms)

    def end(self) -> None:
        """The link is over."""
        self._is_over = True
        if self._subject.zooming is not None:
            self._subject.zooming.end()
        if self._sending.neighbour is not None:
            self._sending.neighbour.end()
