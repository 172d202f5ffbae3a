"""Cut one update into several that say the same when they are applied in their order.

A first state of a Yjs client can hold more structs than a record may, and more than a document
should take in one breath. Each part holds, of every client, the structs that follow those of the
parts before it, and nothing in a part points to what only comes later; deletes come with the last.

Only offsets are kept of a struct, 16 bytes each, and two passes are made over the bytes. Must never
know: documents, records.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

from weft_engine.limits import STRUCTS_PER_MESSAGE_MAX
from weft_engine.names import ClientId
from weft_engine.yjs.lib0 import check_count, malformed, read_var_uint, var_uint
from weft_engine.yjs.reader import STRUCT_BYTES_MIN, UNWOVEN, read_deletes, read_struct
from weft_engine.yjs.update import Id, Struct

_NO_DELETES = b"\x00"


def split(
    data: bytes, *, structs_max: int, woven_max: int, bytes_max: int | None = None
) -> list[bytes]:
    """Parts of at most `structs_max` structs each, `woven_max` of them interwoven, and `bytes_max`
    in their structs, unless one alone has more; `data` itself if it is one. MalformedUpdate if
    `data` is no sound update, or goes in circles."""
    sections, end = read_sections(data)
    _, after = read_deletes(data, end)
    if after != len(data):
        raise malformed(after, f"{len(data) - after} bytes after the end of the update")
    bytes_max = len(data) if bytes_max is None else bytes_max
    walk = _Walk(data, sections, structs_max=structs_max, woven_max=woven_max, bytes_max=bytes_max)
    for section in sections:
        walk.take(section)
    parts = walk.parts
    if not parts:
        return [data]
    last = walk.part()
    if last is None:
        last = parts.pop()
    return [*parts, last[: -len(_NO_DELETES)] + data[end:]]


def without_deletes(data: bytes) -> bytes:
    """The structs of a sound update alone."""
    return data[: read_sections(data)[1]] + _NO_DELETES


@dataclass(slots=True, eq=False)
class Section:
    """The structs of one client. `offsets` and `clocks` have one entry more than there are structs:
    where the last one ends. `at`: how many have been passed; `sent`: how many are in parts."""

    client: ClientId
    offsets: array[int] = field(default_factory=lambda: array("Q"))
    clocks: array[int] = field(default_factory=lambda: array("Q"))
    at: int = 0
    sent: int = 0

    def lacks(self, wanted: Id) -> bool:
        """Whether this element is in the section and has not been passed."""
        return self.clocks[self.at] <= wanted[1] < self.clocks[-1]


def read_sections(data: bytes) -> tuple[list[Section], int]:
    """What each client has, and where the deletes begin."""
    found: list[Section] = []
    total = 0
    count_of_sections, position = read_var_uint(data, 0)
    for _ in range(count_of_sections):
        start = position
        count, position = read_var_uint(data, position)
        client, position = read_var_uint(data, position)
        clock, position = read_var_uint(data, position)
        if count == 0:
            raise malformed(start, f"client {client} comes without structs")
        check_count(data, position, count, bytes_each=STRUCT_BYTES_MIN, what="structs")
        total += count
        if total > STRUCTS_PER_MESSAGE_MAX:
            raise malformed(start, f"more than {STRUCTS_PER_MESSAGE_MAX} structs")
        section = Section(ClientId(client))
        for _ in range(count):
            section.offsets.append(position)
            section.clocks.append(clock)
            struct, _, _, position = read_struct(data, position, section.client, clock)
            clock += struct.length
        section.offsets.append(position)
        section.clocks.append(clock)
        found.append(section)
    return found, position


class _Walk:
    """Goes over the structs in causal order."""

    def __init__(
        self,
        data: bytes,
        sections: list[Section],
        *,
        structs_max: int,
        woven_max: int,
        bytes_max: int,
    ) -> None:
        self._data = data
        self._sections = sections
        self._by_client = {section.client: section for section in sections}
        if len(self._by_client) != len(sections):
            raise malformed(0, "a client comes twice")
        self._structs_max = structs_max
        self._woven_max = woven_max
        self._bytes_max = bytes_max
        self._structs = self._woven = self._bytes = 0
        self.parts: list[bytes] = []

    def take(self, start: Section) -> None:
        """Pass all of a section, and before each struct what it points to."""
        data = self._data
        open_: list[tuple[Section, int]] = [(start, start.clocks[-1])]
        waiting = {start.client}
        while open_:
            section, upto = open_[-1]
            offsets, clocks = section.offsets, section.clocks
            while section.at < len(offsets) - 1 and clocks[section.at] < upto:
                at = section.at
                struct, _, _, _ = read_struct(data, offsets[at], section.client, clocks[at])
                wanted = self._awaited(struct)
                if wanted is not None:
                    if wanted[0] in waiting:
                        raise malformed(offsets[at], "structs that point to each other in a circle")
                    waiting.add(wanted[0])
                    open_.append((self._by_client[wanted[0]], wanted[1] + 1))
                    break
                self._pass(section, struct)
            else:
                open_.pop()
                waiting.discard(section.client)

    def part(self) -> bytes | None:
        """An update of what was passed since the last one."""
        pieces: list[bytes] = []
        for section in self._sections:
            count = section.at - section.sent
            if count:
                begin, end = section.offsets[section.sent], section.offsets[section.at]
                pieces += (
                    var_uint(count),
                    var_uint(section.client),
                    var_uint(section.clocks[section.sent]),
                    self._data[begin:end],
                )
                section.sent = section.at
        self._structs = self._woven = self._bytes = 0
        if not pieces:
            return None
        return b"".join((var_uint(len(pieces) // 4), *pieces, _NO_DELETES))

    def _awaited(self, struct: Struct) -> Id | None:
        """What it points to in another section that has not been passed."""
        for wanted in (struct.origin, struct.right_origin, struct.parent):
            if isinstance(wanted, tuple) and wanted[0] != struct.client:
                section = self._by_client.get(wanted[0])
                if section is not None and section.lacks(wanted):
                    return wanted
        return None

    def _pass(self, section: Section, struct: Struct) -> None:
        is_woven = struct.key is None and struct.kind not in UNWOVEN
        size = section.offsets[section.at + 1] - section.offsets[section.at]
        if (
            self._structs + 1 > self._structs_max
            or self._woven + is_woven > self._woven_max
            or (self._structs and self._bytes + size > self._bytes_max)
        ):
            part = self.part()
            assert part is not None, "there is room for one struct"
            self.parts.append(part)
        self._structs += 1
        self._woven += is_woven
        self._bytes += size
        section.at += 1
