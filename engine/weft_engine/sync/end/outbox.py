"""Messages on their way out: in order, in frames, acknowledgements first.

Must never know: what the messages mean.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from weft_engine.limits import FRAME_BYTES_MAX
from weft_engine.sync.framing.fragments import cut
from weft_engine.sync.framing.frames import encode
from weft_engine.sync.framing.messages import Message

Pieces = tuple[bytes, ...]
"""The bytes of one message or frame, one behind the other: what several links send is one object in
memory."""


class Outbox:
    def __init__(self) -> None:
        self.size = 0
        """Bytes that have not begun to leave, those that overtake left out: they are small."""
        self.is_empty = True
        """Nothing is left to be taken."""
        self._urgent: list[bytes] = []
        self._ordered: deque[Pieces] | None = None  # An empty one takes 600 bytes.
        self._cutting: Iterator[bytes] | None = None
        self._message_id = 0

    @property
    def held_bytes(self) -> int:
        """Of all that waits to leave."""
        return self.size + sum(map(len, self._urgent))

    def put(self, message: Message) -> int:
        """Returns its bytes."""
        encoded = encode(message)
        self.put_encoded(encoded)
        return len(encoded)

    def put_encoded(self, *message: bytes) -> None:
        """One in several pieces fits in a frame."""
        if self._ordered is None:
            self._ordered = deque()
        self._ordered.append(message)
        self.is_empty = False
        self.size += sum(map(len, message))

    def put_first(self, message: Message) -> None:
        """Behind other urgent ones, before everything else, even between two fragments."""
        self._urgent.append(encode(message))
        self.is_empty = False

    def clear(self) -> None:
        self._urgent.clear()
        self._ordered = None
        self._cutting = None
        self.size = 0
        self.is_empty = True

    def take(self, *, bytes_max: int) -> list[Pieces]:
        """The next frames, about so many bytes of them, urgent ones aside."""
        frames: list[Pieces] = [(frame,) for frame in self._urgent]
        self._urgent = []
        size = 0
        while size < bytes_max and (frame := self._next()) is not None:
            frames.append(frame)
            size += sum(map(len, frame))
        self.is_empty = self._ordered is None and self._cutting is None
        return frames

    def _next(self) -> Pieces | None:
        if self._cutting is not None:
            frame = next(self._cutting, None)
            if frame is not None:
                return (frame,)
            self._cutting = None
        if self._ordered is None:
            return None
        message = self._ordered.popleft()
        size = sum(map(len, message))
        self.size -= size
        if not self._ordered:
            self._ordered = None
        if size <= FRAME_BYTES_MAX:
            return message
        self._message_id += 1
        self._cutting = cut(b"".join(message), id_=self._message_id)
        return (next(self._cutting),)
