"""The memo of views: what was found out about each entry, kept from one view to the next.

It changes how long a view takes, never what comes out: an answer is used only for an entry equal
to the one it was made for. Not safe for several threads at once. Must never know: contexts,
budgets, which entries are in a view.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from weft_engine.events.event import Message, Role
from weft_engine.events.part import Call, CallRef, Part, Result
from weft_engine.names import EventId
from weft_engine.views.count import Counter
from weft_engine.views.entry import STANDING_ROLES, Entry
from weft_engine.views.media import MediaTable
from weft_engine.views.piece import Piece, price, scale_of
from weft_engine.views.tokenizer import TokenizerId
from weft_engine.views.unit import Unit

CACHED_ENTRIES_MAX: Final = 8_192
CACHED_CHARS_MAX: Final = 16 * 1024 * 1024
CACHED_SHELVES_MAX: Final = 4
CACHED_SHORTENED_MAX: Final = 4
_ENTRY_CHARS: Final = 1_024
"""What an entry without any text takes, in characters."""


class Facts:
    """What is true of one entry wherever it stands.

    `calls`: the indices of its parts that are tool calls a provider will see. `answers`: of those
    that are results, with the calls they name. `plain`: it as a unit, if it has neither.
    `group`: it and its results as a unit, and which results those were, as last put together.
    """

    __slots__ = ("answers", "calls", "chars", "entry", "group", "plain", "variants", "whole")

    def __init__(self, entry: Entry) -> None:
        message = entry.message
        calls = message.role is Role.ASSISTANT
        self.entry = entry
        self.calls = tuple(
            index for index, part in enumerate(message.parts) if calls and isinstance(part, Call)
        )
        self.answers: tuple[tuple[int, CallRef | None], ...] = tuple(
            (index, part.call)
            for index, part in enumerate(message.parts)
            if isinstance(part, Result)
        )
        self.chars = _ENTRY_CHARS + sum(map(_chars, message.parts))
        self.whole = Piece(message, source=message, tokens=entry.tokens)
        self.group: tuple[list[tuple[Facts, int] | None], Unit] | None = None
        self.plain: Unit | None = None
        if not self.calls and not self.answers:
            self.plain = Unit(
                ids=(entry.id,),
                pieces=(self.whole,),
                tokens=entry.tokens,
                fixed=message.role in STANDING_ROLES,
                label=label_of(entry),
            )
        self.variants: dict[tuple[str | int, ...], Piece] = {}


class Shelf:
    """The memo for one tokenizer and media table, and what counts by them."""

    __slots__ = ("_chars", "_facts", "_shortened", "media", "tokenizer")

    def __init__(self, tokenizer: Counter, media: MediaTable) -> None:
        self.tokenizer = tokenizer
        self.media = media
        self._facts: OrderedDict[EventId, Facts] = OrderedDict()
        self._chars = 0
        self._shortened: OrderedDict[tuple[EventId, int], tuple[Unit, Unit]] = OrderedDict()

    def facts(self, entry: Entry) -> Facts:
        facts = self._facts.get(entry.id)
        if facts is not None and (facts.entry is entry or facts.entry == entry):
            self._facts.move_to_end(entry.id)
            return facts
        if facts is not None:
            self._chars -= facts.chars
            del self._facts[entry.id]
        facts = self._facts[entry.id] = Facts(entry)
        self._chars += facts.chars
        while len(self._facts) > CACHED_ENTRIES_MAX or self._chars > CACHED_CHARS_MAX:
            _, dropped = self._facts.popitem(last=False)
            self._chars -= dropped.chars
        return facts

    def variant(
        self,
        facts: Facts,
        key: tuple[str | int, ...],
        make: Callable[[], Message],
        *,
        ours: bool = False,
        tokens: int | None = None,
    ) -> Piece:
        """The piece that `key` names among those made from an entry; `ours` if what it says is not
        the entry's but our own remark; `tokens` if they are known."""
        piece = facts.variants.get(key)
        if piece is None and tokens is not None:
            piece = facts.variants[key] = Piece(make(), source=None, tokens=tokens)
        if piece is None:
            source = None if ours else facts.entry.message
            piece = facts.variants[key] = self.priced(make(), source)
        return piece

    def shortened(self, unit: Unit, room: int, shorten: Callable[[], Unit]) -> Unit:
        """`unit` as `shorten` cuts it for `room`. Worth keeping, for it takes many counts and the
        newest unit stays the newest until somebody answers."""
        key = (unit.ids[0], room)
        known = self._shortened.get(key)
        if known is not None and known[0].pieces == unit.pieces:
            return known[1]
        cut = shorten()
        self._shortened[key] = (unit, cut)
        if len(self._shortened) > CACHED_SHORTENED_MAX:
            self._shortened.popitem(last=False)
        return cut

    def priced(self, message: Message, source: Message | None) -> Piece:
        scale = scale_of(source, self.tokenizer, self.media)
        tokens = price(message, scale, self.tokenizer, self.media)
        return Piece(message, source=source, tokens=tokens)


class ViewCache:
    """Bounded; the longest unused goes first. One per store is enough."""

    __slots__ = ("_shelves",)

    def __init__(self) -> None:
        self._shelves: OrderedDict[tuple[TokenizerId, MediaTable], Shelf] = OrderedDict()

    def shelf(self, tokenizer: Counter, media: MediaTable) -> Shelf:
        key = (tokenizer.id, media)
        shelf = self._shelves.get(key)
        if shelf is None:
            shelf = self._shelves[key] = Shelf(tokenizer, media)
            if len(self._shelves) > CACHED_SHELVES_MAX:
                self._shelves.popitem(last=False)
        else:
            self._shelves.move_to_end(key)
        return shelf


def label_of(entry: Entry) -> str:
    return f"the {entry.message.role.value} message {entry.id}"


def _chars(part: Part) -> int:
    match part:
        case Result(out=tuple(inner)):
            return sum(map(_chars, inner))
        case _:
            return sum(
                len(value)
                for name in part.__slots__
                if isinstance(value := getattr(part, name), str)
            )
