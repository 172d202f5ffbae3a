"""A tree over the contexts of a store, by which two stores find out where they differ.

A leaf is what one context amounts to: its key, 8 bytes of a hash of its name, and its value, 16
bytes of a hash of name and fingerprint. A node is what stands below a *path*, the first bits of the
keys; as a number: a 1 and then these bits, so that 1 is the root. Its value is a function of the
set of its leaves and of nothing else, so equal sets have equal values whatever the order in which
they came:

* of up to TREE_LEAVES_MAX leaves, the hash of their keys and values, ascending;
* of more of them, the hash of the values of the nodes at the next multiple of four bits, zeros
  where there is no leaf. Behind TREE_DEPTH_MAX there is none: then it is the first form.

In memory a node with few leaves is one `bytes` with all of them, any other has 16 children and
their values, which are computed when somebody asks. That is some 33 bytes for a context. No leaf is
ever taken out, for a store keeps its contexts.

Must never know: the store, links, whose tree it is compared with.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from struct import Struct
from typing import Final, TypeAlias

from weft_engine.limits import (
    TREE_DEPTH_MAX,
    TREE_DIGEST_BYTES,
    TREE_LEAVES_MAX,
    TREE_LEVELS_MAX,
    TREE_ROOT_BYTES,
    TREE_SALT_BYTES,
)

Path: TypeAlias = int
ROOT: Final[Path] = 1
EMPTY: Final = b""
"""The value of a node without leaves."""
_KEY_BYTES: Final = 8
_VALUE_BYTES: Final = 16
_LEAF_BYTES: Final = _KEY_BYTES + _VALUE_BYTES
_ROW_BYTES: Final = 4
_ENTRY_BYTES: Final = _LEAF_BYTES + _ROW_BYTES
_NIBBLES_MAX: Final = TREE_DEPTH_MAX // 4
_NO_VALUE: Final = bytes(_VALUE_BYTES)
_NO_DIGEST: Final = bytes(TREE_DIGEST_BYTES)
_LEAST_DIGEST: Final = bytes(TREE_DIGEST_BYTES - 1) + b"\x01"

Entry: TypeAlias = bytes
"""A leaf as it is kept: key, value, and four bytes by which this store finds the context."""


# Copied for each digest, which costs less than setting one up.
_NAME: Final = blake2b(digest_size=_KEY_BYTES, person=b"weft-tree-key")
_LEAF: Final = blake2b(digest_size=_VALUE_BYTES, person=b"weft-tree-leaf")
_FEW: Final = blake2b(digest_size=_VALUE_BYTES, person=b"weft-tree-few")
_MANY: Final = blake2b(digest_size=_VALUE_BYTES, person=b"weft-tree-many")
_KEYS: Final = tuple(
    Struct(">" + f"Q{_VALUE_BYTES}x" * count) for count in range(TREE_LEAVES_MAX + 1)
)
"""What reads the keys of so many leaves."""


def entry(name: str, fingerprint: bytes, row: int) -> Entry:
    """The leaf of a context; `row` below 2**32, not 0."""
    encoded = name.encode()
    key, value = _NAME.copy(), _LEAF.copy()
    key.update(encoded)
    value.update(encoded)
    value.update(fingerprint)
    return key.digest() + value.digest() + row.to_bytes(4, "big")


def entries_in(joined: bytes) -> list[Entry]:
    """Entries, one behind the other, apart."""
    return [joined[i : i + _ENTRY_BYTES] for i in range(0, len(joined), _ENTRY_BYTES)]


def row_of(one: Entry) -> int:
    return int.from_bytes(one[_LEAF_BYTES:], "big")


def key_of(one: Entry) -> int:
    return int.from_bytes(one[:_KEY_BYTES], "big")


def key_of_name(name: str) -> int:
    """Of the leaf of a context."""
    made = _NAME.copy()
    made.update(name.encode())
    return int.from_bytes(made.digest(), "big")


def first_key(path: Path) -> int:
    """The least key below it."""
    depth = depth_of(path)
    return (path ^ 1 << depth) << (8 * _KEY_BYTES - depth)


def path_above(key: int, depth: int) -> Path:
    """The node at this depth that the key is below."""
    return 1 << depth | key >> (8 * _KEY_BYTES - depth)


def depth_of(path: Path) -> int:
    """In bits."""
    return path.bit_length() - 1


class Salted:
    """What the wire has of nodes and leaves, under the salts of both ends, 16 bytes."""

    def __init__(self, salts: bytes) -> None:
        size = TREE_DIGEST_BYTES
        self._node = blake2b(digest_size=size, salt=salts, person=b"weft-tree-node")
        self._leaf = blake2b(digest_size=size, salt=salts, person=b"weft-tree-leaf")

    def nodes(self, values: Iterable[bytes]) -> bytes:
        """The digests of nodes by their values, joined."""
        found, copy = [], self._node.copy
        for value in values:
            if not value:
                found.append(_NO_DIGEST)
                continue
            made = copy()
            made.update(value)
            digest = made.digest()
            # Zeros say that there is no leaf.
            found.append(digest if digest != _NO_DIGEST else _LEAST_DIGEST)
        return b"".join(found)

    def leaf(self, one: Entry) -> bytes:
        made = self._leaf.copy()
        made.update(one[:_LEAF_BYTES])
        return made.digest()


def root_digest(value: bytes, salt: bytes) -> bytes:
    """What the wire has of the value of a root, under the salt of one end."""
    return blake2b(value, digest_size=TREE_ROOT_BYTES, salt=salt, person=b"weft-tree-root").digest()


def tree_salt(random: bytes) -> bytes:
    """A salt of what nobody could know before."""
    return blake2b(random, digest_size=TREE_SALT_BYTES, person=b"weft-tree-salt").digest()


class _Branch:
    """A node with more leaves than one `bytes` has."""

    __slots__ = ("children", "count", "stale", "values")

    def __init__(self) -> None:
        self.children: list[_Node] = [EMPTY] * 16
        self.values = bytearray(16 * _VALUE_BYTES)
        self.stale = 0xFFFF
        """A bit for each child whose value is not known."""
        self.count = 0


_Node: TypeAlias = _Branch | bytes


class Tree:
    """What `update` was told of, the last of each context."""

    def __init__(self) -> None:
        self._root: _Node = EMPTY
        self._changes = 0
        self._changed: array[int] | None = None
        """Which change came last below each node TREE_LEVELS_MAX bits deep, once that is asked."""

    @property
    def count(self) -> int:
        return _count(self._root)

    def update(self, entries: Iterable[Entry]) -> None:
        """Take these. Those of one part of the tree at a time cost least: 1 to 10 us each."""
        some = list(entries)
        if some:
            self._root = _merged(self._root, some, 0)
            if self._changed is not None:
                self._changes += 1
                for one in some:
                    self._changed[key_of(one) >> 8 * _KEY_BYTES - TREE_LEVELS_MAX] = self._changes

    def mark(self) -> int:
        """For `rests`: what changes from now on comes after this."""
        if self._changed is None:
            self._changed = array("Q", bytes(8 << TREE_LEVELS_MAX))
        return self._changes

    def rests(self, mark: int, levels: int) -> list[bool]:
        """Of the nodes so deep, TREE_LEVELS_MAX at most, whether nothing has changed there since
        the mark."""
        assert self._changed is not None, "it was marked"
        step = 1 << TREE_LEVELS_MAX - levels
        changed = self._changed
        return [max(changed[at : at + step]) <= mark for at in range(0, len(changed), step)]

    def value(self, path: Path = ROOT) -> bytes:
        """EMPTY if nothing is below it."""
        node, low, high = self._at(path)
        return _range_value(node, low, high) if isinstance(node, _Branch) else _value(node)

    def count_below(self, path: Path) -> int:
        node, low, high = self._at(path)
        if not isinstance(node, _Branch):
            return _count(node)
        return node.count if high - low == 16 else sum(map(_count, node.children[low:high]))

    def entries(self, path: Path) -> list[Entry]:
        """The leaves below it, ascending."""
        node, low, high = self._at(path)
        found: list[Entry] = []
        for some in node.children[low:high] if isinstance(node, _Branch) else [node]:
            _collect(some, found)
        return found

    def values(self, path: Path, levels: int) -> list[bytes]:
        """Of all nodes `levels` bits below it, in order."""
        assert depth_of(path) + levels <= TREE_DEPTH_MAX, "nodes end there"
        node, low, high = self._at(path)
        if not isinstance(node, _Branch):
            return _spread(node, depth_of(path), levels)
        return _values_in(node, low, high, depth_of(path), levels)

    def _at(self, path: Path) -> tuple[_Node, int, int]:
        """Which children of a branch are below it; or the leaves that are, and no children."""
        depth = left = path.bit_length() - 1
        node = self._root
        while type(node) is _Branch:
            if left < 4:
                low = (path & ((1 << left) - 1)) << (4 - left)
                return node, low, low + (1 << (4 - left))
            left -= 4
            node = node.children[path >> left & 15]
        assert type(node) is bytes, "a node is the one or the other"
        if not left or not node:
            return node, 0, 0
        shift = 8 * _KEY_BYTES - depth
        low, high = ((path + i - (1 << depth)) << shift for i in (0, 1))
        keys = _keys(node)
        return _cut(node, bisect_left(keys, low), bisect_left(keys, high)), 0, 0


# What few leaves are kept as: all leaves, then all rows, of one behind the other.


def _count(node: _Node) -> int:
    return node.count if isinstance(node, _Branch) else len(node) // _ENTRY_BYTES


def _joined(entries: Sequence[Entry]) -> bytes:
    return b"".join([one[:_LEAF_BYTES] for one in entries] + [one[_LEAF_BYTES:] for one in entries])


def _entries(few: bytes) -> list[Entry]:
    rows = _LEAF_BYTES * (len(few) // _ENTRY_BYTES)
    starts = zip(range(0, rows, _LEAF_BYTES), range(rows, len(few), _ROW_BYTES), strict=True)
    return [few[at : at + _LEAF_BYTES] + few[row : row + _ROW_BYTES] for at, row in starts]


def _keys(few: bytes) -> tuple[int, ...]:
    count = len(few) // _ENTRY_BYTES
    form = _KEYS[count] if count < len(_KEYS) else Struct(">" + f"Q{_VALUE_BYTES}x" * count)
    return form.unpack_from(few)


def _cut(few: bytes, low: int, high: int) -> bytes:
    """Some of them."""
    rows = _LEAF_BYTES * (len(few) // _ENTRY_BYTES)
    leaves = few[_LEAF_BYTES * low : _LEAF_BYTES * high]
    return leaves + few[rows + _ROW_BYTES * low : rows + _ROW_BYTES * high]


def _few_value(few: bytes, low: int, high: int) -> bytes:
    """The value of a node that has just some of them."""
    if low == high:
        return EMPTY
    made = _FEW.copy()
    made.update(few[_LEAF_BYTES * low : _LEAF_BYTES * high])
    return made.digest()


def _collect(node: _Node, found: list[Entry]) -> None:
    if isinstance(node, _Branch):
        for child in node.children:
            _collect(child, found)
    else:
        found += _entries(node)


def _merged(node: _Node, some: Sequence[Entry], nibbles: int) -> _Node:
    """The node with these, all of which belong below it."""
    if not isinstance(node, _Branch):
        # Of one name at most one is kept: two names with one key differ in their rows.
        held = {one[:_KEY_BYTES] + one[_LEAF_BYTES:]: one for one in _entries(node)}
        held.update((one[:_KEY_BYTES] + one[_LEAF_BYTES:], one) for one in some)
        if len(held) <= TREE_LEAVES_MAX or nibbles == _NIBBLES_MAX:
            return _joined(sorted(held.values()))
        node, some = _Branch(), list(held.values())
    at, is_low = divmod(nibbles, 2)
    parts: dict[int, list[Entry]] = {}
    for one in some:
        parts.setdefault(one[at] & 15 if is_low else one[at] >> 4, []).append(one)
    for index, part in parts.items():
        child = node.children[index]
        before = _count(child)
        child = node.children[index] = _merged(child, part, nibbles + 1)
        node.count += _count(child) - before
        node.stale |= 1 << index
    return node


def _value(node: _Node) -> bytes:
    if isinstance(node, _Branch):
        return _range_value(node, 0, 16)
    return _few_value(node, 0, _count(node))


def _known_values(branch: _Branch) -> bytearray:
    """Of its children, zeros where there is no leaf."""
    if branch.stale:
        values = branch.values
        for index in range(16):
            if branch.stale >> index & 1:
                at = index * _VALUE_BYTES
                value = _value(branch.children[index])
                values[at : at + _VALUE_BYTES] = value or _NO_VALUE
        branch.stale = 0
    return branch.values


def _range_value(branch: _Branch, low: int, high: int) -> bytes:
    """Of the node that consists of these children, two at least."""
    count, few = 0, []
    for child in branch.children[low:high]:
        if type(child) is bytes:
            held = len(child) // _ENTRY_BYTES
            few.append(child[: _LEAF_BYTES * held])
            count += held
        else:
            count = TREE_LEAVES_MAX + 1  # What has few leaves has no branches.
        if count > TREE_LEAVES_MAX:
            made = _MANY.copy()
            made.update(_known_values(branch)[low * _VALUE_BYTES : high * _VALUE_BYTES])
            return made.digest()
    if not count:
        return EMPTY
    made = _FEW.copy()
    made.update(b"".join(few))
    return made.digest()


def _child_values(branch: _Branch, low: int, high: int) -> list[bytes]:
    values = bytes(_known_values(branch))
    found = [values[i * _VALUE_BYTES : (i + 1) * _VALUE_BYTES] for i in range(low, high)]
    return [EMPTY if value == _NO_VALUE else value for value in found]


def _values_in(branch: _Branch, low: int, high: int, depth: int, levels: int) -> list[bytes]:
    """As `Tree.values`, of the node at `depth` that consists of these children."""
    span = (high - low).bit_length() - 1
    if levels < span:
        step = (high - low) >> levels
        return [_range_value(branch, at, at + step) for at in range(low, high, step)]
    if levels == span:
        return _child_values(branch, low, high)
    found: list[bytes] = []
    depth, levels = depth + span, levels - span
    for child in branch.children[low:high]:
        if isinstance(child, _Branch):
            found += _values_in(child, 0, 16, depth, levels)
        else:
            found += _spread(child, depth, levels)
    return found


def _spread(few: bytes, depth: int, levels: int) -> list[bytes]:
    """The values of the nodes so far below one that has just these leaves."""
    found = [EMPTY] * (1 << levels)
    shift, mask = 8 * _KEY_BYTES - depth - levels, (1 << levels) - 1
    at, low = -1, 0
    for high, key in enumerate(_keys(few)):
        index = key >> shift & mask
        if index != at:
            if high:
                found[at] = _few_value(few, low, high)
            at, low = index, high
    if few:
        found[at] = _few_value(few, low, _count(few))
    return found
