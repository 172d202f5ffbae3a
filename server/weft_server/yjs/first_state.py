"""The whole of a document as it is sent to those who have nothing of it: built once for all.

A document that is edited while many come would have to be encoded for each of them. So all are sent
the same for a while, and each what has changed since. Must never know: transports.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from weft_engine.limits import YJS_FRAGMENT_BYTES
from weft_server.yjs import wire
from weft_server.yjs.framing import fragments
from weft_server.yjs.member import Member


@dataclass(slots=True, eq=False)
class FirstState:
    """`version` and `state_vector` are those of the document that it was made from."""

    version: int
    state_vector: bytes
    size: int
    as_step2: list[bytes]
    as_update: list[bytes]
    """The same bytes but for the first piece."""
    readers: set[Member] = field(default_factory=set)
    """Who is being sent it now."""

    @classmethod
    def of(cls, version: int, state_vector: bytes, update: bytes) -> Self:
        message = wire.step2(update)
        pieces = fragments(message)
        first = pieces[0]
        at = len(first) - min(len(message), YJS_FRAGMENT_BYTES) + 1
        renamed = first[:at] + wire.edited(b"")[1:2] + first[at + 1 :]
        return cls(version, state_vector, len(update), pieces, [renamed, *pieces[1:]])
