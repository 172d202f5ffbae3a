"""When two imported messages are one: the class of a message.

The same file imported on two devices gives two events for each message; equal digests tell that
they are one message with two ids. Must never know: ids of events beyond what calls name, orders.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Final

from weft_engine.canonical import canonical_json
from weft_engine.events.event import ImportedFrom, Message
from weft_engine.events.part import CallRef, Result
from weft_engine.events.part_codec import write_parts

CLASS_DIGEST_BYTES: Final = 16
_PERSON: Final = b"weft-class"


def class_digest(
    message: Message, target_ext: Callable[[CallRef], ImportedFrom | None]
) -> bytes | None:
    """What members of one class have in common, in 16 bytes; None for a message that was not
    imported and so is in no class.

    BLAKE2b over the canonical JSON of ext, kind, role, name and parts. The call a result names is
    read as the `ext` of the message that holds it, which `target_ext` finds, for that message has
    another id on another device; a target without `ext` stands by its id.
    """
    if message.ext is None:
        return None
    parts = write_parts(message.parts, "$.parts")
    for part, written in zip(message.parts, parts, strict=True):
        if isinstance(part, Result) and part.call is not None and isinstance(written, dict):
            target = target_ext(part.call)
            if target is not None:
                written["call"] = [target.source, target.index, part.call.part]
    identity = {
        "ext": {"source": message.ext.source, "index": message.ext.index},
        "kind": "message",
        "role": message.role,
        "name": message.name,
        "parts": parts,
    }
    return blake2b(
        canonical_json(identity), digest_size=CLASS_DIGEST_BYTES, person=_PERSON
    ).digest()
