"""How far the peer is, in time, and how far its clock is from ours: asked again and again.

Two regions ask each other. The answer comes at once, with the question's mark, which only who asked
can read, and the time of who answers; half of what both ways took has passed since. Must never
know: what time it is.
"""

from __future__ import annotations

from weft_engine.limits import CLOCK_ASKED_MS
from weft_engine.sync.framing.messages import Clock


class Timing:
    """`rtt_ms`: what a question and its answer took last. `offset_ms`: by how much the peer's clock
    is ahead of ours. None before the first answer."""

    def __init__(self) -> None:
        self.rtt_ms: float | None = None
        self.offset_ms: int | None = None
        self._asked: int | None = None
        """The mark of the question that is open."""
        self._asked_at_ms: int | None = None
        self._to_answer: int | None = None
        self._answer: Clock | None = None

    @property
    def has_news(self) -> bool:
        """Something came: call `settle`."""
        return self._to_answer is not None or self._answer is not None

    def is_due(self, tick_ms: int) -> bool:
        """Whether to ask again; by any clock that never steps back."""
        at = self._asked_at_ms
        if at is not None and tick_ms - at < CLOCK_ASKED_MS:
            return False
        self._asked_at_ms = tick_ms
        return True

    def ask(self, mark_us: int) -> Clock:
        """A question. `mark_us`: microseconds of any clock that never steps back."""
        self._asked = mark_us
        return Clock(mark_us, None)

    def receive(self, message: Clock) -> None:
        """Of several questions that come together, the last is answered."""
        if message.now_ms is None:
            self._to_answer = message.mark
        elif message.mark == self._asked:
            self._asked = None
            self._answer = message

    def settle(self, mark_us: int, now_ms: int) -> Clock | None:
        """Take what came, at this mark of the clock that questions are marked by, and at this time
        of the wall clock. The answer to the peer's question, if it has asked."""
        answer, self._answer = self._answer, None
        if answer is not None and answer.now_ms is not None:
            self.rtt_ms = max(0, mark_us - answer.mark) / 1000
            self.offset_ms = round(answer.now_ms + self.rtt_ms / 2) - now_ms
        mark, self._to_answer = self._to_answer, None
        return None if mark is None else Clock(mark, now_ms)
