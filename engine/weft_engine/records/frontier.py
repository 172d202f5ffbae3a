"""Frontiers: the maximal records of a context, which commit to its whole past.

A frontier is a version. It is kept as an ascending tuple of hashes; a context without records has
the empty one.
"""

from __future__ import annotations

from collections.abc import Iterable

from weft_engine.names import RecordHash
from weft_engine.records.digest import fingerprint_digest

Frontier = tuple[RecordHash, ...]
EMPTY: Frontier = ()


def advance(frontier: Frontier, parents: Iterable[RecordHash], new: RecordHash) -> Frontier:
    """The frontier after a record whose `parents` are all held."""
    if len(frontier) == 1 and frontier[0] in (parents := tuple(parents)):
        return (new,)
    left = set(frontier).difference(parents)
    left.add(new)
    return tuple(sorted(left))


def fingerprint(frontier: Frontier) -> bytes:
    """32 bytes; two contexts with equal fingerprints hold the same records."""
    return fingerprint_digest(b"".join(frontier))


def pack(frontier: Frontier) -> bytes:
    return b"".join(frontier)


def unpack(data: bytes) -> Frontier:
    return tuple(RecordHash(data[i : i + 32]) for i in range(0, len(data), 32))
