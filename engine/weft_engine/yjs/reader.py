"""Read a Yjs v1 update without a document: the guard before yrs, and the way to find events.

Format: yjs/yjs, `src/utils/encoding.js` and `src/structs/Item.js`; update v1 is

    update  = varUint(clients) client*  varUint(clients) deletes*
    client  = varUint(structs) varUint(client) varUint(first clock) struct*
    struct  = info [origin id] [right origin id] [parent [key]] content
    parent  = 1 varString(root name) | 0 id         only if there is neither origin
    deletes = varUint(client) varUint(ranges) (varUint(clock) varUint(length))*
    id      = varUint(client) varUint(clock)

where info = content reference (5 bits) | 0x20 has key | 0x40 has right origin | 0x80 has origin.

yrs is lenient where this reader is not, and is not to be trusted with what it would accept: it
wraps clocks at 2**32, drops empty structs, ignores what comes after the end and bit 0x10 of info,
dies of deep nesting, and takes quadratic time for structs that are made to stand in each other's
way. Nothing here recurses and nothing is allocated for what is only claimed.
Must never know: what events are, which structs a document already has.
"""

from __future__ import annotations

from typing import Final

from weft_engine.limits import (
    CLOCK_END_MAX,
    SETS_PER_KEY_MAX,
    STRUCTS_PER_PAYLOAD_MAX,
    VALUES_PER_PAYLOAD_MAX,
    WOVEN_STRUCTS_MAX,
)
from weft_engine.names import ClientId
from weft_engine.yjs.content import CONTENT_READERS, read_text, read_values
from weft_engine.yjs.lib0 import check_count, malformed, read_string, read_var_uint
from weft_engine.yjs.nesting import type_depth
from weft_engine.yjs.update import Id, Kind, Span, Struct, Update

_HAS_ORIGIN: Final = 0x80
_HAS_RIGHT_ORIGIN: Final = 0x40
_HAS_KEY: Final = 0x20
_CONTENT: Final = 0x1F
STRUCT_BYTES_MIN: Final = 2
_BARE: Final = {Kind.GC.value: Kind.GC, Kind.SKIP.value: Kind.SKIP}
UNWOVEN: Final = frozenset({Kind.GC, Kind.SKIP})
_ANY: Final = Kind.ANY
_STRING: Final = Kind.STRING
_ANY_REFERENCE: Final = Kind.ANY.value
_STRING_REFERENCE: Final = Kind.STRING.value


def read_update(data: bytes) -> Update:
    """What `data` says, or MalformedUpdate with the byte offset of what is wrong with it."""
    structs: list[Struct] = []
    clients: set[int] = set()
    sets: dict[tuple[str | Id | None, str], int] = {}
    depth = values = woven = 0
    nested = False
    sections, position = read_var_uint(data, 0)
    for _ in range(sections):
        at = position
        count, position = read_var_uint(data, position)
        client, position = read_var_uint(data, position)
        clock, position = read_var_uint(data, position)
        if client in clients:
            raise malformed(at, f"client {client} comes twice")
        clients.add(client)
        if count == 0:
            raise malformed(at, f"client {client} comes without structs")
        check_count(data, position, count, bytes_each=STRUCT_BYTES_MIN, what="structs")
        if len(structs) + count > STRUCTS_PER_PAYLOAD_MAX:
            raise malformed(at, f"more than {STRUCTS_PER_PAYLOAD_MAX} structs")
        for _ in range(count):
            at = position
            struct, struct_depth, struct_values, position = read_struct(
                data, position, ClientId(client), clock
            )
            clock += struct.length
            if clock > CLOCK_END_MAX or struct.length == 0:
                raise malformed(at, f"{struct.length} elements that end at clock {clock}")
            structs.append(struct)
            if struct.key is not None:
                place = (struct.parent, struct.key)
                sets[place] = times = sets.get(place, 0) + 1
                if times > SETS_PER_KEY_MAX:
                    raise malformed(at, f"more than {SETS_PER_KEY_MAX} first sets of one key")
            elif struct.kind not in UNWOVEN:
                woven += 1
                if woven > WOVEN_STRUCTS_MAX:
                    raise malformed(at, f"more than {WOVEN_STRUCTS_MAX} structs are interwoven")
            if struct_values:
                values += struct_values
                if values > VALUES_PER_PAYLOAD_MAX:
                    raise malformed(at, f"more than {VALUES_PER_PAYLOAD_MAX} values")
                if struct_depth > depth:
                    depth = struct_depth
            if struct.parent.__class__ is tuple:
                nested = True
    deletes, position = read_deletes(data, position)
    if position != len(data):
        raise malformed(position, f"{len(data) - position} bytes after the end of the update")
    if nested:
        depth = max(depth, type_depth(structs, end=position))
    return Update(structs=tuple(structs), deletes=deletes, depth=depth, woven=woven)


def struct_spans(data: bytes) -> tuple[tuple[int, int], ...]:
    """Where each struct of a sound update begins and ends, in the order of the bytes."""
    spans: list[tuple[int, int]] = []
    sections, position = read_var_uint(data, 0)
    for _ in range(sections):
        count, position = read_var_uint(data, position)
        client, position = read_var_uint(data, position)
        clock, position = read_var_uint(data, position)
        for _ in range(count):
            struct, _, _, end = read_struct(data, position, ClientId(client), clock)
            spans.append((position, end))
            clock, position = clock + struct.length, end
    return tuple(spans)


def read_struct(
    data: bytes, start: int, client: ClientId, clock: int
) -> tuple[Struct, int, int, int]:
    """What stands at `start`: (struct, nesting depth of its content, values in it, its end)."""
    try:
        info = data[start]
    except IndexError:
        raise malformed(start, "the update ends where a struct should be") from None
    position = start + 1
    bare = _BARE.get(info)
    if bare is not None:
        length, position = read_var_uint(data, position)
        return Struct(client, clock, length, bare, None, None, None, None, None), 0, 0, position
    origin: Id | None = None
    right_origin: Id | None = None
    parent: str | Id | None = None
    key: str | None = None
    if info & _HAS_ORIGIN:
        origin, position = _read_earlier_id(data, position, client, clock)
    if info & _HAS_RIGHT_ORIGIN:
        right_origin, position = _read_earlier_id(data, position, client, clock)
    if origin is None and right_origin is None:
        named = data[position] if position < len(data) else -1
        if named == 1:
            parent, position = read_string(data, position + 1)
        elif named == 0:
            parent, position = _read_earlier_id(data, position + 1, client, clock)
        else:
            raise malformed(position, "a parent that is neither a root nor an id")
        if info & _HAS_KEY:
            key, position = read_string(data, position)
    reference = info & _CONTENT
    depth = values = 0
    content: Span | None
    if reference == _ANY_REFERENCE:
        kind = _ANY
        length, content, depth, values, position = read_values(data, position)
    elif reference == _STRING_REFERENCE:
        kind = _STRING
        length, content, depth, values, position = read_text(data, position)
    else:
        reader = CONTENT_READERS.get(reference)
        if reader is None:
            raise malformed(start, f"a struct has the content {reference}, which is refused")
        kind, read_content = reader
        length, content, depth, values, position = read_content(data, position)
    struct = Struct(client, clock, length, kind, origin, right_origin, parent, key, content)
    return struct, depth, values, position


def _read_earlier_id(data: bytes, start: int, client: ClientId, clock: int) -> tuple[Id, int]:
    """An id that the struct at (client, clock) may point to: not itself, nothing after it."""
    of_client, position = read_var_uint(data, start)
    of_clock, position = read_var_uint(data, position)
    if of_clock >= CLOCK_END_MAX:
        raise malformed(start, f"the clock {of_clock} is not below {CLOCK_END_MAX}")
    if of_client == client and of_clock >= clock:
        raise malformed(start, f"client {client} clock {clock} points to its own clock {of_clock}")
    return (ClientId(of_client), of_clock), position


def read_deletes(data: bytes, start: int) -> tuple[tuple[tuple[ClientId, int, int], ...], int]:
    """The deletes that begin at `start`, and where they end."""
    deletes: list[tuple[ClientId, int, int]] = []
    clients: set[int] = set()
    sections, position = read_var_uint(data, start)
    for _ in range(sections):
        at = position
        client, position = read_var_uint(data, position)
        count, position = read_var_uint(data, position)
        if client in clients:
            raise malformed(at, f"client {client} comes twice in the deletes")
        clients.add(client)
        check_count(data, position, count, bytes_each=2, what="deletes")
        if len(deletes) + count > STRUCTS_PER_PAYLOAD_MAX:
            raise malformed(at, f"more than {STRUCTS_PER_PAYLOAD_MAX} deletes")
        for _ in range(count):
            at = position
            clock, position = read_var_uint(data, position)
            length, position = read_var_uint(data, position)
            if length == 0 or clock + length > CLOCK_END_MAX:
                raise malformed(at, f"a delete of {length} elements from clock {clock}")
            deletes.append((ClientId(client), clock, length))
    return tuple(deletes), position
