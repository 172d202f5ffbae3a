"""What a link is about, as it changes: rounds, each begun by the end without a region.

In each round both ends compare what is covered from then on and was not before, while everything
else goes on. One round at a time; what is asked for meanwhile is the next one, the latest instead
of those before.

Must never know: lists, records.
"""

from __future__ import annotations

from weft_engine.errors import CallerError
from weft_engine.sync.faults import ProtocolViolation
from weft_engine.sync.framing.messages import Hello, Subscribe
from weft_engine.sync.interest import Interest


class Rounds:
    def __init__(self, hello: Hello) -> None:
        self._has_region = hello.region is not None
        self._asked = hello.interest
        self._next: Interest | None = None
        self._round = 0

    @property
    def is_due(self) -> bool:
        """Something was asked for of which the peer has not been told."""
        return self._next is not None

    def ask(self, interest: Interest) -> None:
        """CallerError at an end with a region: it carries what others ask for."""
        if self._has_region:
            raise CallerError(
                "a relay asks for nothing on a link that is open",
                hint="end the link, and make one with another interest",
            )
        self._next = None if interest == self._asked else interest

    def begin(self) -> Subscribe:
        """Tell the peer."""
        assert self._next is not None, "a round is due"
        self._asked, self._next = self._next, None
        self._round += 1
        return Subscribe(self._round, self._asked)

    def receive(self, message: Subscribe, peer: Hello) -> None:
        """ProtocolViolation if it has no place here."""
        if peer.region is not None or not self._has_region:
            raise ProtocolViolation("a subscribe came, and only a client tells a relay so")
        if message.round != self._round + 1:
            raise ProtocolViolation(
                f"a subscribe of round {message.round} came where {self._round + 1} is due"
            )
        self._round = message.round
