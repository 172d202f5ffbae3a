"""Messages larger than a frame: cut into fragments, put together again within limits.

One message at a time is under way in each direction, its fragments come in order, and all but the
last have the same size; other frames may come in between. So what a peer can make us hold is one
message, and it has to send those bytes first.

Must never know: connections, what messages say.
"""

from __future__ import annotations

from collections.abc import Iterator
from mmap import mmap
from typing import Final

from weft_engine.errors import MalformedFrame
from weft_engine.limits import FRAME_BYTES_MAX, MESSAGE_BYTES_MAX
from weft_engine.sync.faults import ProtocolViolation
from weft_engine.sync.framing.frames import decode_message, encode
from weft_engine.sync.framing.messages import Fragment, Hello, Message

FRAGMENT_BYTES: Final = FRAME_BYTES_MAX - 64
"""Message bytes in each fragment but the last."""
FRAGMENTS_MAX: Final = -(-MESSAGE_BYTES_MAX // FRAGMENT_BYTES)
_BLOCK_FRAGMENTS: Final = 4


def cut(message: bytes, *, id_: int) -> Iterator[bytes]:
    """The frames that carry an encoded message: itself if it fits, else its fragments."""
    if len(message) <= FRAME_BYTES_MAX:
        yield message
        return
    assert len(message) <= MESSAGE_BYTES_MAX, "whoever composes messages keeps the limit"
    count = -(-len(message) // FRAGMENT_BYTES)
    for index in range(count):
        start = index * FRAGMENT_BYTES
        yield encode(Fragment(id_, index, count, message[start : start + FRAGMENT_BYTES]))


class Reassembly:
    """One direction's open message."""

    __slots__ = ("_blocks", "_came", "_count", "_id", "_pieces", "_size")

    def __init__(self) -> None:
        self._id = 0
        self._clear()

    def _clear(self) -> None:
        self._count = 0
        """Fragments of the message that is open; 0 while none is."""
        self._came = 0
        """Of these."""
        self._size = 0
        self._blocks: list[mmap] = []
        """What came first, in memory that is the system's again as soon as it is let go: among what
        comes and goes in the heap, fragments that stay a while leave holes of as much again."""
        self._pieces: list[bytes] = []
        """What came behind."""

    @property
    def held_bytes(self) -> int:
        """Of the message that is open."""
        return self._size

    def message(self, fragment: Fragment) -> Message | None:
        """What the fragments carry, once the last is there; None before, and if it says nothing.
        PeerError if it may not come in fragments, or is none."""
        whole = self.add(fragment)
        message = None if whole is None else decode_message(whole)
        if isinstance(message, (Fragment, Hello)):
            raise ProtocolViolation(f"a {type(message).__name__.lower()} came in fragments")
        return message

    def add(self, fragment: Fragment) -> bytes | None:
        """The whole message, once its last fragment is there."""
        if not self._count:
            if fragment.index != 0:
                raise MalformedFrame(f"a message begins with fragment {fragment.index}, not 0")
            if not 2 <= fragment.count <= FRAGMENTS_MAX:
                raise MalformedFrame(
                    f"a message of {fragment.count} fragments; it may have 2 to {FRAGMENTS_MAX}"
                )
            self._id, self._count = fragment.id, fragment.count
        expected = (self._id, self._came, self._count)
        if (fragment.id, fragment.index, fragment.count) != expected:
            raise MalformedFrame(
                f"fragment {fragment.index} of {fragment.count} of message {fragment.id} came"
                f" where fragment {expected[1]} of {expected[2]} of message {expected[0]} is due"
            )
        is_last = fragment.index == self._count - 1
        if not is_last and len(fragment.data) != FRAGMENT_BYTES:
            raise MalformedFrame(
                f"a fragment of {len(fragment.data)} bytes; all but the last have {FRAGMENT_BYTES}"
            )
        self._size += len(fragment.data)
        if self._size > MESSAGE_BYTES_MAX:
            raise MalformedFrame(f"a message of {self._size} bytes exceeds {MESSAGE_BYTES_MAX}")
        self._came += 1
        self._pieces.append(fragment.data)
        if is_last:
            message = b"".join([*self._blocks, *self._pieces])
            self._clear()
            return message
        if len(self._pieces) == _BLOCK_FRAGMENTS:
            block = mmap(-1, _BLOCK_FRAGMENTS * FRAGMENT_BYTES)
            for piece in self._pieces:
                block.write(piece)
            self._blocks.append(block)
            self._pieces = []
        return None
