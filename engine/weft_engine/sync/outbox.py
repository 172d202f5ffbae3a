"""Messages on their way out: in order, in frames, acknowledgements first.

Must never know: what the messages mean.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from weft_engine.sync.fragments import cut
from weft_engine.sync.frames import encode
from weft_engine.sync.messages import Message


class Outbox:
    def __init__(self) -> None:
        self.size = 0
        """Bytes that have not begun to leave, those that overtake left out: they are small."""
        self._urgent: deque[bytes] = deque()
        self._ordered: deque[bytes] = deque()
        self._cutting: Iterator[bytes] = iter(())
        self._message_id = 0

    def put(self, message: Message) -> None:
        data = encode(message)
        self._ordered.append(data)
        self.size += len(data)

    def put_first(self, message: Message) -> None:
        """Behind other urgent ones, before everything else, even between two fragments."""
        self._urgent.append(encode(message))

    def clear(self) -> None:
        self._urgent.clear()
        self._ordered.clear()
        self._cutting = iter(())
        self.size = 0

    def take(self, *, bytes_max: int) -> list[bytes]:
        """The next frames, about so many bytes of them."""
        frames: list[bytes] = []
        size = 0
        while size < bytes_max and (frame := self._next()) is not None:
            frames.append(frame)
            size += len(frame)
        return frames

    def _next(self) -> bytes | None:
        if self._urgent:
            return self._urgent.popleft()
        frame = next(self._cutting, None)
        if frame is None and self._ordered:
            message = self._ordered.popleft()
            self.size -= len(message)
            self._message_id += 1
            self._cutting = cut(message, id_=self._message_id)
            frame = next(self._cutting)
        return frame
