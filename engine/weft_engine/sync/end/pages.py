"""Pages: what links read of the journal to send it, read and put together once for all of them.

A page is the answer to "what comes after these positions", cut where it is closed by itself, with
the message that carries it. Whoever asks for the same while it is being read waits for that one
reading; who asks later gets it from memory, the same bytes; and who stopped in the middle of a page
gets its rest, and is level with the others from there on. So what many links have to catch up with
costs one reading, whoever comes, comes back or was slow.

Invariants:

 1. A page holds what a reading of the journal holds that begins now, or less of its end, and at
    least one record: so to be given it always leads on. One that ended because the journal did is
    given only to who was told of no more than there was.
 2. Nothing of a context that was read before it was told to be forgotten is given to others after
    that.

Must never know: links, peers, the store.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from weft_engine.limits import (
    PAGE_BYTES,
    PAGE_RECORD_BYTES,
    PAGES_BYTES_MAX,
    PAGES_IDLE_TICKS,
    PAGES_PER_READING,
)
from weft_engine.names import ContextName, Position
from weft_engine.records.identity import SignatureItem
from weft_engine.storage.ledger import Stored
from weft_engine.sync.end.closure import closed
from weft_engine.sync.end.live import whole
from weft_engine.sync.end.record_questions import ReadRecords, RecordsRead

Key = tuple[tuple[ContextName, Position], ...]
Fetch = Callable[[ReadRecords], Awaitable[RecordsRead]]
"""Reads the journal; signatures are not in it."""
Sign = Callable[[Sequence[Stored]], Awaitable[Sequence[SignatureItem]]]
"""The signatures for a message of these: those that are kept, and of our own over the last."""


@dataclass(slots=True)
class _Page:
    read: RecordsRead
    upto: Position
    """What was asked for ended here."""
    last: Position
    """Its newest record."""
    is_full: bool
    """It ended because it holds enough."""
    size: int
    used: int


class Pages:
    """One for each replica."""

    def __init__(self, *, bytes_max: int = PAGES_BYTES_MAX) -> None:
        self.size = 0
        """Bytes in memory, about."""
        self._bytes_max = bytes_max
        self._pages: OrderedDict[Key, _Page] = OrderedDict()
        self._by_context: dict[ContextName, dict[Key, None]] = {}
        self._reading: dict[Key, asyncio.Event] = {}
        self.forgotten = 0
        """How often something was, whatever its context."""
        self._ticks = 0

    def has(self, question: ReadRecords) -> bool:
        """Whether it is in memory."""
        key = _key(question)
        return key is not None and self._find(key, question) is not None

    def get(self, question: ReadRecords) -> RecordsRead | None:
        """What is in memory for this; None if it has to be read."""
        key = _key(question)
        page = None if key is None else self._find(key, question)
        if key is None or page is None:
            return None
        self._pages.move_to_end(key)
        page.used = self._ticks
        read = page.read
        return RecordsRead(question, read.stored, read.left, read.items, read.erasers, read.whole)

    def ahead(self, question: ReadRecords) -> ReadRecords | None:
        """What to `read` so that it is there when those come to it that were given the page for
        this; None if it is there, or nothing is known to follow."""
        key = _key(question)
        page = None if key is None or len(key) > 1 else self._pages.get(key)
        if page is None or not page.is_full or page.last >= question.parts[0].upto:
            return None
        part = question.parts[0]
        following = ((part.context, page.last),)
        if following in self._pages or following in self._reading:
            return None
        return replace(question, parts=(replace(part, after=page.last),))

    async def read(self, question: ReadRecords, fetch: Fetch, sign: Sign) -> RecordsRead:
        """The answer, from memory or by `fetch`: one at a time of those that ask the same."""
        key = _key(question)
        if key is None:
            return await _signed(await fetch(question), sign)
        while (reading := self._reading.get(key)) is not None:
            await reading.wait()
            page = self.get(question)
            if page is not None:
                return page
        done = self._reading[key] = asyncio.Event()
        forgotten = self.forgotten
        try:
            pages = await _pages(await fetch(_ahead(question)), question, sign)
            if forgotten == self.forgotten:
                for page in reversed(pages):
                    self._keep(page)
            return pages[0]
        finally:
            if self._reading.get(key) is done:
                del self._reading[key]
            done.set()

    def forget(self, context: ContextName) -> None:
        """Something of it was erased."""
        for key in self._by_context.pop(context, ()):
            self._drop(key)
        # Nor is what is being read just now for those that ask from now on.
        self.forgotten += 1
        self._reading.clear()

    def clear(self) -> None:
        self._pages.clear()
        self._by_context.clear()
        self.size = 0

    def tick(self) -> None:
        """Some time has passed: drop what nobody has asked for in a while."""
        self._ticks += 1
        while self._pages:
            key, page = next(iter(self._pages.items()))
            if self._ticks - page.used < PAGES_IDLE_TICKS:
                break
            self._drop(key)

    # ---- inside -------------------------------------------------------------------------------

    def _find(self, key: Key, question: ReadRecords) -> _Page | None:
        page = self._pages.get(key) or self._rest(key)
        upto = question.parts[0].upto
        if page is None or page.last > upto or not (page.is_full or upto <= page.upto):
            return None
        return page

    def _keep(self, read: RecordsRead) -> _Page | None:
        assert isinstance(read.question, ReadRecords), "that is what pages answer"
        key = _key(read.question)
        if key is None or read.whole is None:
            return None
        size = len(read.whole.shared) + read.whole.sent.size
        size += PAGE_RECORD_BYTES * len(read.whole.hashes)
        upto, last = read.question.parts[0].upto, max(read.whole.lasts)
        self._drop(key)
        page = self._pages[key] = _Page(read, upto, last, _is_full(read), size, self._ticks)
        for context, _ in key:
            self._by_context.setdefault(context, {})[key] = None
        self.size += size
        while self.size > self._bytes_max and len(self._pages) > 1:
            self._drop(next(iter(self._pages)))
        return page

    def _drop(self, key: Key) -> None:
        page = self._pages.pop(key, None)
        if page is None:
            return
        self.size -= page.size
        for context, _ in key:
            keys = self._by_context.get(context)
            if keys is not None:
                keys.pop(key, None)
                if not keys:
                    del self._by_context[context]

    def _rest(self, key: Key) -> _Page | None:
        """Of one context: the rest of a page that begins before and ends behind this."""
        if len(key) != 1:
            return None
        ((context, after),) = key
        for other in self._by_context.get(context, ()):
            page = self._pages[other]
            if len(other) != 1 or not other[0][1] < after < page.last:
                continue
            stored = tuple(one for one in page.read.all if one.position > after)
            question = page.read.question
            assert isinstance(question, ReadRecords), "that is what pages answer"
            part = replace(question.parts[0], after=after)
            asked = replace(question, parts=(part,))
            read = _cut(replace(page.read, question=asked, stored=(stored,), whole=None))
            rest = self._keep(read)
            if rest is not None:
                # Behind it comes what comes behind the page.
                rest.is_full = page.is_full and rest.last == page.last
            return rest
        return None


def _key(question: ReadRecords) -> Key | None:
    """None where something else is asked for, too."""
    if any(part.again or part.positions for part in question.parts):
        return None
    return tuple((part.context, part.after) for part in question.parts)


def _ahead(question: ReadRecords) -> ReadRecords:
    """So much that of one context what follows need not be read by itself."""
    if len(question.parts) > 1:
        return question
    return replace(
        question,
        records_max=PAGES_PER_READING * question.records_max,
        bytes_max=PAGES_PER_READING * PAGE_BYTES,
    )


async def _pages(read: RecordsRead, question: ReadRecords, sign: Sign) -> list[RecordsRead]:
    """What was read, a page at a time: the first answers `question`, the next what comes behind.
    Of what is not closed one page at most, which is the first."""
    if len(question.parts) > 1 or not read.all:
        return [_cut(await _signed(replace(read, question=question), sign))]
    (part,), left = question.parts, read.all
    pages: list[RecordsRead] = []
    while left:
        asked = replace(read, question=question, stored=(tuple(left),))
        page = await _fullest(asked, question, sign)
        # What was read last ended where there was enough: what is there is the beginning of a page.
        is_cut = len(page.all) == len(left) and not _is_full(page) and left[-1].position < part.upto
        if pages and (page.whole is None or is_cut):
            break
        pages.append(page)
        if page.whole is None:
            break
        left = left[len(page.all) :]
        question = replace(question, parts=(replace(part, after=page.whole.lasts[-1]),))
    return pages


async def _signed(read: RecordsRead, sign: Sign) -> RecordsRead:
    return replace(read, items=tuple(await sign(read.all)))


def _is_full(read: RecordsRead) -> bool:
    """Whether it goes as it is, however much follows by now."""
    assert isinstance(read.question, ReadRecords), "that is what pages answer"
    if read.whole is None:
        return False
    records_max, bytes_max = read.question.records_max, read.question.bytes_max
    return 2 * len(read.whole.hashes) > records_max or 2 * read.whole.sent.size > bytes_max


async def _fullest(read: RecordsRead, question: ReadRecords, sign: Sign) -> RecordsRead:
    """The page that `read` begins with: as much as a frame holds, if signatures leave the room."""
    stored = read.all
    for bytes_max in (PAGE_BYTES, question.bytes_max):
        count = _within(stored, records_max=question.records_max, bytes_max=bytes_max)
        page = _cut(await _signed(replace(read, stored=(tuple(stored[:count]),)), sign))
        if page.whole is not None:
            break
    return page


def _within(stored: Sequence[Stored], *, records_max: int, bytes_max: int) -> int:
    """How many of these fit: one at least, if there is one."""
    size = 0
    for count, one in enumerate(stored[:records_max]):
        size += one.record.size
        if count and size > bytes_max:
            return count
    return min(len(stored), records_max)


def _cut(read: RecordsRead) -> RecordsRead:
    """What of it, from its beginning, is closed by itself, and its message; all of it without one
    if that is nothing, or too much for a frame."""
    count = _closed(read.all, read.items)
    parts: list[tuple[Stored, ...]] = []
    for part in read.stored:
        if count <= 0:
            break
        parts.append(part[:count])
        count -= len(part)
    if not parts or not all(parts):
        return read
    message = whole(parts, read.items, read.erasers)
    return read if message is None else replace(read, stored=tuple(parts), whole=message)


def _closed(stored: Sequence[Stored], items: Sequence[SignatureItem]) -> int:
    """How many of these, from the first, are closed by themselves."""
    count = len(stored)
    while count:
        kept = {one.position for one in closed(stored[:count], items)}
        if len(kept) == count:
            return count
        count = next(i for i, one in enumerate(stored) if one.position not in kept)
    return 0
