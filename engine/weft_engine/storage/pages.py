"""Reading the pages of a SQLite file by hand, for when its trees can't be trusted any more.

After the file format of SQLite (https://sqlite.org/fileformat2.html). Every page, of the file and
of its write-ahead log, is read as if it were a leaf of a table, whatever a damaged tree says of
it: what comes out may be nonsense or old, and whoever asks has to prove it. So one damaged page
costs what stands on that page, never what lay behind it.
Must never know: what the rows mean.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from weft_engine.limits import FOREIGN_PAYLOAD_BYTES_MAX, MIB
from weft_engine.storage.draft import beside

_PAGE_BYTES: Final = 4096
"""Of every store that Weft makes; taken if the header is lost."""
_FILE_HEADER_BYTES: Final = 100
_LEAF_HEADER_BYTES: Final = 8
_LOG_HEADER_BYTES: Final = 32
_FRAME_HEADER_BYTES: Final = 24
_COLUMNS_MAX: Final = 16
_ROW_BYTES_MAX: Final = FOREIGN_PAYLOAD_BYTES_MAX + MIB
"""The largest payload, with room for its envelope."""
_ASTRAY_MAX: Final = 4
"""A list of rows that points out of its page more often is none: the page is of another kind."""
_WIDTHS: Final = {0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 7: 8, 8: 0, 9: 0}
"""Bytes of a value by its serial type; from 12 on the type has its length in it."""

Value = int | float | bytes | str | None


@dataclass(frozen=True, slots=True)
class Cell:
    """A row on a page: `at` is where its bytes begin in the page at `page`."""

    rowid: int
    types: tuple[int, ...]
    """One serial type for each column."""
    page: int
    at: int
    size: int


class Pages:
    """The pages of a file and of its log, as they are on disk. Closing it drops every lock that
    this process has on the file (POSIX), so no connection to it may be open meanwhile."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._log: int | None = None
        try:
            log = beside(path, "-wal")
            if log.exists():
                self._log = os.open(log, os.O_RDONLY | os.O_CLOEXEC)
            header = os.pread(self._file, _FILE_HEADER_BYTES, 0)
            self.bytes = os.fstat(self._file).st_size
            self.application_id = int.from_bytes(header[68:72], "big")
            """Of the program that the file says it belongs to."""
            self.page_bytes, self._usable = _sizes(header)
            self._frames = list(self._committed_frames())
            self._newest = dict(self._frames)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        os.close(self._file)
        if self._log is not None:
            os.close(self._log)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def count(self) -> int:
        """Pages of the file and versions of pages in the log."""
        return -(-self.bytes // self.page_bytes) + len(self._frames)

    def cells(self) -> Iterator[Cell]:
        """Whatever looks like a row of a table. May be nonsense."""
        of_file = -(-self.bytes // self.page_bytes)
        for page in range(of_file + len(self._frames)):
            start = _FILE_HEADER_BYTES if page == 0 else 0
            yield from self._leaf(page, self._version(page), start)

    def values(self, cell: Cell) -> tuple[Value, ...] | None:
        """The columns of a row; None if they can't be read."""
        data = self._content(cell)
        if data is None:
            return None
        size, _ = _varint(data, 0)
        found: list[Value] = []
        at = size
        for type_ in cell.types:
            width = _width(type_)
            if at + width > len(data):
                return None
            found.append(_value(type_, data[at : at + width]))
            at += width
        return tuple(found)

    # ---- inside -------------------------------------------------------------------------------

    def _version(self, index: int) -> bytes:
        """A page: first those of the file, then those of the log."""
        of_file = -(-self.bytes // self.page_bytes)
        if index < of_file:
            data = os.pread(self._file, self.page_bytes, index * self.page_bytes)
        else:
            assert self._log is not None
            data = os.pread(self._log, self.page_bytes, self._frames[index - of_file][1])
        return data.ljust(self.page_bytes, b"\0")

    def _page(self, number: int) -> bytes | None:
        """The newest version of the page with this number, counted from 1."""
        at = self._newest.get(number)
        if at is not None:
            assert self._log is not None
            return os.pread(self._log, self.page_bytes, at)
        if not 1 <= number <= -(-self.bytes // self.page_bytes):
            return None
        return os.pread(self._file, self.page_bytes, (number - 1) * self.page_bytes)

    def _committed_frames(self) -> Iterator[tuple[int, int]]:
        """(page number, offset in the log) of the frames that the log's present run has. Sums are
        not checked: a damaged frame costs itself, not what was committed after it."""
        if self._log is None:
            return
        salts = os.pread(self._log, _LOG_HEADER_BYTES, 0)[16:24]
        size = os.fstat(self._log).st_size
        step = _FRAME_HEADER_BYTES + self.page_bytes
        for at in range(_LOG_HEADER_BYTES, size - step + 1, step):
            header = os.pread(self._log, _FRAME_HEADER_BYTES, at)
            number = int.from_bytes(header[:4], "big")
            if number and header[8:16] == salts:
                yield number, at + _FRAME_HEADER_BYTES

    def _leaf(self, index: int, data: bytes, start: int) -> Iterator[Cell]:
        count = int.from_bytes(data[start + 3 : start + 5], "big")
        first = start + _LEAF_HEADER_BYTES
        count = min(count, (len(data) - first) // 2)
        astray = 0
        for at in struct.unpack_from(f">{count}H", data, first):
            if not first <= at < len(data):
                astray += 1
                if astray > _ASTRAY_MAX:
                    return
            elif (cell := self._cell(index, data, at)) is not None:
                yield cell

    def _cell(self, index: int, data: bytes, start: int) -> Cell | None:
        try:
            size, at = _varint(data, start)
            rowid, at = _varint(data, at)
            header, first = _varint(data, at)
            end = at + header
            if not 1 < header <= size <= _ROW_BYTES_MAX or end > len(data):
                return None
            types: list[int] = []
            at = first
            while at < end and len(types) <= _COLUMNS_MAX:
                type_, at = _varint(data, at)
                types.append(type_)
        except IndexError:
            return None
        if at != end or header + sum(map(_width, types)) != size:
            return None
        return Cell(rowid, tuple(types), index, start, size)

    def _content(self, cell: Cell) -> bytes | None:
        """All of a row's bytes, those that went to overflow pages included."""
        data = self._version(cell.page)
        _, at = _varint(data, cell.at)
        _, at = _varint(data, at)
        local = self._local(cell.size)
        found = [data[at : at + local]]
        left = cell.size - local
        at += local
        following = int.from_bytes(data[at : at + 4], "big")
        while left > 0:
            page = self._page(following)
            if page is None or len(page) < self.page_bytes:
                return None
            following = int.from_bytes(page[:4], "big")
            found.append(page[4 : min(self._usable, 4 + left)])
            left -= len(found[-1])
        return b"".join(found)

    def _local(self, size: int) -> int:
        """How many bytes of a row of `size` stand on its leaf."""
        usable = self._usable
        if size <= usable - 35:
            return size
        least = (usable - 12) * 32 // 255 - 23
        wanted = least + (size - least) % (usable - 4)
        return wanted if wanted <= usable - 35 else least


def _sizes(header: bytes) -> tuple[int, int]:
    """Bytes of a page, and those of them that are in use."""
    size = int.from_bytes(header[16:18], "big")
    size = 65536 if size == 1 else size
    if size < 512 or size & (size - 1) or not header.startswith(b"SQLite format 3\0"):
        return _PAGE_BYTES, _PAGE_BYTES
    return size, size - header[20]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A variable-length integer and where it ends; IndexError if the page ends first."""
    value = 0
    for _ in range(8):
        byte = data[at]
        at += 1
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at
    return value << 8 | data[at], at + 1


def _width(type_: int) -> int:
    return (type_ - 12) // 2 if type_ >= 12 else _WIDTHS.get(type_, 0)


def _value(type_: int, data: bytes) -> Value:
    if type_ == 0:
        return None
    if type_ in (8, 9):
        return type_ - 8
    if type_ == 7:
        return float(struct.unpack(">d", data)[0])
    if type_ < 12:
        return int.from_bytes(data, "big", signed=True)
    return data.decode(errors="replace") if type_ % 2 else data
