"""The reading order: the total order of a branch's messages, by what each answer had seen.

    no generation in S:  read(S) = S by key
    else, A = the generation that has seen most of S (tie: the least key):
                         read(S) = read(S within seen(A)), A, read(the rest)

So what was sent to a model stays as it was sent, and an answer never follows a message it had not
seen. Pure and independent of arrival. Sets are bit sets over the indices of the messages.
Must never know: records, storage, what a message says.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence


def reading_order(keys: Sequence[bytes], seen: Mapping[int, int]) -> list[int]:
    """Indices in reading order. `keys[i]` sorts message i by (time, id); `seen[i]` is the bit set
    of messages that generation i had seen (for generations only).

    A generation's count can only shrink from a set to a part of it, so counts taken earlier are
    upper bounds: the heap recounts only what rises to its top.
    """
    placed: list[int] = []
    # Work still to do, next on top: a set to order, or ~index of a message to put down.
    work: list[int] = [(1 << len(keys)) - 1]
    while work:
        top = work.pop()
        if top < 0:
            placed.append(~top)
            continue
        members = _members(top)
        heap = [(-(seen[i] & top).bit_count(), keys[i], i) for i in members if i in seen]
        if not heap:
            placed.extend(sorted(members, key=keys.__getitem__))
            continue
        heapq.heapify(heap)
        left = top
        while (chosen := _most_seen(heap, seen, left)) is not None:
            bits = seen[chosen] & ~(1 << chosen)
            rest = left & ~bits & ~(1 << chosen)
            if rest:
                work.append(rest)
            work.append(~chosen)
            left &= bits
        placed.extend(sorted(_members(left), key=keys.__getitem__))
    return placed


def _most_seen(
    heap: list[tuple[int, bytes, int]], seen: Mapping[int, int], among: int
) -> int | None:
    while heap:
        bound, key, index = heap[0]
        if not among >> index & 1:
            heapq.heappop(heap)
            continue
        count = -(seen[index] & among).bit_count()
        if count == bound:
            heapq.heappop(heap)
            return index
        heapq.heapreplace(heap, (count, key, index))
    return None


def _members(bits: int) -> list[int]:
    if bits.bit_count() * 16 > bits.bit_length():
        return [index for index, bit in enumerate(reversed(f"{bits:b}")) if bit == "1"]
    found = []
    while bits:
        low = bits & -bits
        found.append(low.bit_length() - 1)
        bits ^= low
    return found
