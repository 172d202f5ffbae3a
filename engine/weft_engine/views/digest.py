"""The fingerprint of a view: BLAKE2b-256 of the RFC 8785 JSON of {messages, spec}.

Most views begin as the one before them, so the hash of that beginning is kept and goes on from
there. Must never know: what is hashed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from weft_engine.views.unit import Unit

PERSON: Final = b"weft-view"
_KEPT_MAX: Final = 4


def fingerprint(messages: bytes, spec: bytes) -> str:
    """Of `messages`, which are a JSON value."""
    digest = hashlib.blake2b(digest_size=32, person=PERSON)
    digest.update(b'{"messages":%b,"spec":%b}' % (messages, spec))
    return digest.hexdigest()


class Digest:
    """Of views in a format that writes messages one by one in an array."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: list[tuple[int, bool, hashlib.blake2b]] = []
        """How many units a hash is of, whether any of them said something, and the hash."""

    def of(self, units: Sequence[Unit], unchanged: int, spec: bytes) -> str:
        """The fingerprint of a view of `units`; the first `unchanged` are as they were."""
        while self._kept and self._kept[-1][0] > unchanged:
            self._kept.pop()
        if self._kept:
            count, is_begun, before = self._kept[-1]
            digest = before.copy()
        else:
            count, is_begun = 0, False
            digest = hashlib.blake2b(b'{"messages":[', digest_size=32, person=PERSON)
        new = [said for unit in units[count:] for piece in unit.pieces if (said := piece.sent())]
        if new:
            digest.update(b"," * is_begun + b",".join(new))
            is_begun = True
        if not self._kept or count < len(units):
            self._kept.append((len(units), is_begun, digest.copy()))
            del self._kept[:-_KEPT_MAX]
        digest.update(b'],"spec":%b}' % spec)
        return digest.hexdigest()
