"""Reading what only two regions say to each other: frames of the types 18 and up, in this order.

Reading one raises MalformedFrame, which names what is wrong. Must never know: whether a message
makes sense where it comes, how trees are compared.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Final

from weft_engine.errors import MalformedFrame
from weft_engine.limits import (
    CHECKED_CONTEXTS_MAX,
    CONTEXTS_PER_QUESTION,
    FRONTIER_HASHES_MAX,
    INTEGER_MAX,
    LIVE_REGIONS_MAX,
    SAMPLE_ENDS_MAX,
    SAMPLE_FLOOR_MAX,
    TREE_DEPTH_MAX,
    TREE_DIGEST_BYTES,
    TREE_DIGESTS_PER_MESSAGE_MAX,
    TREE_LEVELS_MAX,
    TREE_ROOT_BYTES,
    TREE_SALT_BYTES,
    WANTED_PER_FRAME_MAX,
    ZOOM_BYTES_MAX,
)
from weft_engine.names import ContextName
from weft_engine.sync.framing.fields import (
    POSITION_MAX,
    read_context,
    read_now_ms,
    read_position,
    read_positions,
    read_region,
    read_serial,
)
from weft_engine.sync.framing.messages import (
    Branches,
    Check,
    Clock,
    Compared,
    Frontier,
    Frontiers,
    Live,
    Message,
    Reach,
    Sample,
    Tips,
    Tree,
    Zoom,
    Zooms,
)
from weft_engine.sync.framing.wire import Reader

_FRONTIER_BYTES: Final = 38
_ZOOM_BYTES: Final = 7
"""What one of them takes at least."""


def _tree(reader: Reader) -> Tree:
    count = reader.uint("count", most=INTEGER_MAX)
    salt = reader.blob("salt", size_min=TREE_SALT_BYTES, size_max=TREE_SALT_BYTES)
    digest = reader.blob("digest", size_min=TREE_ROOT_BYTES, size_max=TREE_ROOT_BYTES)
    return Tree(count, salt, digest)


def _branches(reader: Reader) -> Branches:
    digests = 0
    opened: list[tuple[int, int, bytes]] = []
    for _ in range(_nodes(reader, "opened nodes")):
        reader.array("an opened node", count_min=3, count_max=3)
        path = _path(reader)
        levels = reader.uint("levels", least=1, most=TREE_LEVELS_MAX)
        if path.bit_length() - 1 + levels > TREE_DEPTH_MAX:
            raise MalformedFrame(f"a node is opened below {TREE_DEPTH_MAX} bits")
        size = TREE_DIGEST_BYTES << levels
        opened.append((path, levels, reader.blob("digests", size_min=size, size_max=size)))
        digests += 1 << levels
    leaves, lacking = _leaves(reader, "leaves"), _leaves(reader, "lacking")
    digests += sum(1 + len(some) // TREE_DIGEST_BYTES for _, some in (*leaves, *lacking))
    if digests > TREE_DIGESTS_PER_MESSAGE_MAX:
        raise MalformedFrame(
            f"{digests} nodes and digests in a message exceed {TREE_DIGESTS_PER_MESSAGE_MAX}"
        )
    return Branches(tuple(opened), leaves, lacking, reader.flag("more"))


def _nodes(reader: Reader, what: str) -> int:
    return reader.array(what, count_max=TREE_DIGESTS_PER_MESSAGE_MAX, item_bytes=3)


def _leaves(reader: Reader, what: str) -> tuple[tuple[int, bytes], ...]:
    found: list[tuple[int, bytes]] = []
    for _ in range(_nodes(reader, what)):
        reader.array(f"one of {what}", count_min=2, count_max=2)
        path = _path(reader)
        size_max = TREE_DIGESTS_PER_MESSAGE_MAX * TREE_DIGEST_BYTES
        digests = reader.blob("digests", size_max=size_max)
        if len(digests) % TREE_DIGEST_BYTES:
            raise MalformedFrame(f"digests of {TREE_DIGEST_BYTES} bytes take {len(digests)} bytes")
        found.append((path, digests))
    return tuple(found)


def _path(reader: Reader) -> int:
    return reader.uint("path", least=1, most=(2 << TREE_DEPTH_MAX) - 1)


def _compared(reader: Reader) -> Compared:
    return Compared(reader.uint("count", most=INTEGER_MAX))


def _tips(reader: Reader) -> Tips:
    serial = read_serial(reader)
    upto = None if reader.nil() else read_position(reader)
    hashes = reader.hashes("tips", count_min=1, count_max=WANTED_PER_FRAME_MAX, ascending=True)
    return Tips(serial, upto, hashes)


def _live(reader: Reader) -> Live:
    count = reader.array("regions", count_max=LIVE_REGIONS_MAX)
    regions = tuple(read_region(reader) for _ in range(count))
    if any(former >= latter for former, latter in pairwise(regions)):
        raise MalformedFrame("the regions do not ascend")
    return Live(regions)


def _reach(reader: Reader) -> Reach:
    return Reach(read_positions(reader))


def _zoom(reader: Reader) -> Zoom:
    context = read_context(reader)
    round_ = reader.uint("round", least=1, most=INTEGER_MAX)
    held = reader.blob("held", size_max=ZOOM_BYTES_MAX)
    return Zoom(context, round_, held, reader.flag("asks"))


def _sample(reader: Reader) -> Sample:
    context = read_context(reader)
    ends = reader.hashes("ends", count_max=SAMPLE_ENDS_MAX, ascending=False)
    return Sample(context, ends, reader.hashes("floor", count_max=SAMPLE_FLOOR_MAX, ascending=True))


def _check(reader: Reader) -> Check:
    entries: list[tuple[ContextName, bytes, bytes]] = []
    for _ in range(
        reader.array("entries", count_min=1, count_max=CHECKED_CONTEXTS_MAX, item_bytes=70)
    ):
        reader.array("an entry", count_min=3, count_max=3)
        context = read_context(reader)
        fingerprint = reader.blob("fingerprint", size_min=32, size_max=32)
        entries.append((context, fingerprint, reader.blob("digest", size_min=32, size_max=32)))
    return Check(tuple(entries))


def _clock(reader: Reader) -> Clock:
    mark = reader.uint("mark", most=POSITION_MAX)
    return Clock(mark, None if reader.nil() else read_now_ms(reader))


def _frontiers(reader: Reader) -> Frontiers:
    count = reader.array(
        "frontiers", count_min=1, count_max=CONTEXTS_PER_QUESTION, item_bytes=_FRONTIER_BYTES
    )
    found: list[Frontier] = []
    for _ in range(count):
        reader.array("one of frontiers", count_min=2, count_max=2)
        context = read_context(reader)
        most = FRONTIER_HASHES_MAX
        hashes = reader.hashes("frontier", count_min=1, count_max=most, ascending=True)
        found.append(Frontier(context, hashes, ()))
    return Frontiers(tuple(found))


def _zooms(reader: Reader) -> Zooms:
    count = reader.array(
        "zooms", count_min=1, count_max=CONTEXTS_PER_QUESTION, item_bytes=_ZOOM_BYTES
    )
    found: list[Zoom] = []
    for _ in range(count):
        reader.array("one of zooms", count_min=4, count_max=4)
        found.append(_zoom(reader))
    return Zooms(tuple(found))


READERS: Final[tuple[tuple[str, int, Callable[[Reader], Message]], ...]] = (
    ("tree", 3, _tree),
    ("branches", 4, _branches),
    ("compared", 1, _compared),
    ("tips", 3, _tips),
    ("live", 1, _live),
    ("reach", 1, _reach),
    ("zoom", 4, _zoom),
    ("sample", 3, _sample),
    ("check", 1, _check),
    ("clock", 2, _clock),
    ("frontiers", 1, _frontiers),
    ("zooms", 1, _zooms),
)
"""Of each: name, number of fields, what reads them; in the order of their types."""
