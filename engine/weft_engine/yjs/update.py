"""What a Yjs v1 update says, as values: its structs and its deletes, and what they refer to.

Must never know: bytes and how they are read, events, documents.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique
from typing import TypeAlias

from weft_engine.names import ClientId

Id: TypeAlias = tuple[ClientId, int]
"""(client, clock): one element of a document. A struct of length n holds n of them."""
Span: TypeAlias = tuple[int, int]
"""(offset, length in bytes) in the bytes of the update."""


@unique
class Kind(Enum):
    """What a struct holds; the values are the content references of the format."""

    GC = 0
    DELETED = 1
    JSON = 2
    """Never yielded: only Yjs before 13.0 wrote it, and yrs reads one string more than is said,
    so the document would hold something else than was read here."""
    BINARY = 3
    STRING = 4
    EMBED = 5
    FORMAT = 6
    TYPE = 7
    ANY = 8
    DOC = 9
    SKIP = 10


@dataclass(frozen=True, slots=True)
class Struct:
    """`length` elements of `client` from `clock` on; GC and SKIP have none of the other fields.

    `parent` is the name of a root type, or the id of a type's struct, or None if the struct has
    an origin: then its parent and key are those of the origin. `content` is where the text
    stands: of a STRING, and of an ANY that is exactly one string.
    """

    client: ClientId
    clock: int
    length: int
    """STRING: UTF-16 code units. ANY: values. DELETED, GC, SKIP: as claimed. Others: 1."""
    kind: Kind
    origin: Id | None
    right_origin: Id | None
    parent: str | Id | None
    key: str | None
    content: Span | None


@dataclass(frozen=True, slots=True)
class Update:
    structs: tuple[Struct, ...]
    """In the order of the bytes: by client, each client's without a gap (a gap is a SKIP)."""
    deletes: tuple[tuple[ClientId, int, int], ...]
    """(client, clock, length), in the order of the bytes; they may overlap."""
    depth: int
    """How deep values or types nest, as far as the update alone shows it."""
    woven: int = 0
    """Structs that take their place among others: all but first sets of keys, GC and SKIP."""


def references(update: Update) -> frozenset[Id]:
    """Every id that a struct points to as origin, right origin or parent. Deletes are apart."""
    found: set[Id] = set()
    for struct in update.structs:
        if struct.origin is not None:
            found.add(struct.origin)
        if struct.right_origin is not None:
            found.add(struct.right_origin)
        if isinstance(struct.parent, tuple):
            found.add(struct.parent)
    return frozenset(found)


def ranges(update: Update) -> dict[ClientId, tuple[tuple[int, int], ...]]:
    """Per client the clocks that the update brings, as (first, end) with `end` left out, ascending
    and apart from each other. A SKIP brings nothing; a client with nothing else is left out."""
    joined: dict[ClientId, list[tuple[int, int]]] = {}
    for struct in update.structs:
        if struct.kind is Kind.SKIP:
            continue
        end = struct.clock + struct.length
        of_client = joined.setdefault(struct.client, [])
        if of_client and of_client[-1][1] == struct.clock:
            of_client[-1] = (of_client[-1][0], end)
        else:
            of_client.append((struct.clock, end))
    return {client: tuple(of_client) for client, of_client in joined.items()}


def first_clocks(update: Update) -> dict[ClientId, int]:
    """Per client the first clock that the update brings: what must be known before it."""
    return {client: of_client[0][0] for client, of_client in ranges(update).items()}
