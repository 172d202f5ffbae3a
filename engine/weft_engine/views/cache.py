"""The memo of views: what was found out about each entry, kept from one view to the next.

It changes how long a view takes, never what comes out: an answer is used only for an entry equal
to the one it was made for. Not safe for several threads at once. Must never know: contexts,
budgets, which entries are in a view.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Final

from weft_engine.events.event import Message, Role
from weft_engine.events.part import Call, CallRef, Part, Result, Text
from weft_engine.formats.registry import outgoing
from weft_engine.names import EventId
from weft_engine.views.count import Counter
from weft_engine.views.entry import STANDING_ROLES, Entry
from weft_engine.views.media import DEFAULT_MEDIA, MediaTable
from weft_engine.views.piece import Piece, Pricing, Scale
from weft_engine.views.tokenizer import DEFAULT_TOKENIZER, TokenizerId
from weft_engine.views.unit import Unit

if TYPE_CHECKING:
    from weft_engine.views.source import Source
    from weft_engine.views.spec import ViewSpec
    from weft_engine.views.standing import Standing

CACHED_ENTRIES_MAX: Final = 8_192
CACHED_CHARS_MAX: Final = 16 * 1024 * 1024
CACHED_SHELVES_MAX: Final = 4
CACHED_STANDING_MAX: Final = 4
CACHED_SHORTENED_MAX: Final = 64
CACHED_REMARKS_MAX: Final = 256
_ENTRY_CHARS: Final = 1_024
"""What an entry without any text takes, in characters."""


class Facts:
    """What is true of one entry wherever it stands.

    `calls`: the indices of its parts that are tool calls a provider will see. `answers`: of those
    that are results, with the calls they name. `plain`: it as a unit, if it has neither.
    """

    __slots__ = ("answers", "calls", "chars", "entry", "plain", "variants", "whole")

    def __init__(self, entry: Entry, whole: Piece) -> None:
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
        self.whole = whole
        self.plain: Unit | None = None
        if not self.calls and not self.answers:
            self.plain = Unit(
                ids=(entry.id,),
                pieces=(self.whole,),
                tokens=whole.tokens,
                fixed=message.role in STANDING_ROLES,
                label=label_of(entry),
            )
        self.variants: dict[Hashable, Piece] = {}


class Shelf:
    """The memo for one tokenizer, media table and format, and what counts by them."""

    __slots__ = (
        "_chars",
        "_facts",
        "_remarks",
        "_shortened",
        "_trusts",
        "form",
        "pricing",
        "tokenizer",
    )

    def __init__(self, tokenizer: Counter, media: MediaTable, form: str) -> None:
        self.tokenizer = tokenizer
        self.form = outgoing(form)
        self.pricing = Pricing(self.form, tokenizer.count, media)
        self._trusts = (
            tokenizer.id == DEFAULT_TOKENIZER and media == DEFAULT_MEDIA and form == "openai"
        )
        self._facts: OrderedDict[EventId, Facts] = OrderedDict()
        self._chars = 0
        self._remarks: OrderedDict[str, Piece] = OrderedDict()
        self._shortened: OrderedDict[tuple[str, int], tuple[Unit, Unit]] = OrderedDict()

    def facts(self, entry: Entry) -> Facts:
        facts = self._facts.get(entry.id)
        if facts is not None and (facts.entry is entry or facts.entry == entry):
            self._facts.move_to_end(entry.id)
            return facts
        if facts is not None:
            self._chars -= facts.chars
            del self._facts[entry.id]
        facts = self._facts[entry.id] = Facts(entry, self._whole(entry))
        self._chars += facts.chars
        while len(self._facts) > CACHED_ENTRIES_MAX or self._chars > CACHED_CHARS_MAX:
            _, dropped = self._facts.popitem(last=False)
            self._chars -= dropped.chars
        return facts

    def variant(
        self,
        facts: Facts,
        key: Hashable,
        make: Callable[[], Message],
        *,
        ours: bool = False,
        tokens: int | None = None,
    ) -> Piece:
        """The piece that `key` names among those made from an entry; `ours` if what it says is not
        the entry's but our own remark; `tokens` if they are known."""
        piece = facts.variants.get(key)
        if piece is None:
            source = None if ours else facts.entry.message
            made = make()
            if tokens is None:
                piece = self.priced(made, source)
            else:
                piece = self.piece(made, source, tokens)
            facts.variants[key] = piece
        return piece

    def shortened(self, unit: Unit, room: int, shorten: Callable[[], Unit]) -> Unit:
        """`unit` as `shorten` cuts it for `room`. Worth keeping, for it takes many counts and the
        newest unit stays the newest until somebody answers."""
        key = (unit.label, room)
        known = self._shortened.get(key)
        if known is not None and known[0].pieces == unit.pieces:
            return known[1]
        cut = shorten()
        self._shortened[key] = (unit, cut)
        if len(self._shortened) > CACHED_SHORTENED_MAX:
            self._shortened.popitem(last=False)
        return cut

    def remark(self, text: str) -> Piece:
        """A user message of our own."""
        piece = self._remarks.get(text)
        if piece is None:
            piece = self._remarks[text] = self.priced(Message(Role.USER, (Text(text),)), None)
            if len(self._remarks) > CACHED_REMARKS_MAX:
                self._remarks.popitem(last=False)
        return piece

    def priced(self, message: Message, source: Message | None) -> Piece:
        """A piece made from `source`, or by us; with its price."""
        return self.scaled(message, source, self.pricing.scale(source))

    def scaled(self, message: Message, source: Message | None, scale: Scale | None) -> Piece:
        return self.piece(message, source, self.pricing.price(message, scale))

    def piece(self, message: Message, source: Message | None, tokens: int) -> Piece:
        return Piece(message, source=source, tokens=tokens, form=self.form)

    def _whole(self, entry: Entry) -> Piece:
        message = entry.message
        tokens = entry.tokens if self._trusts else self.pricing.whole(message)
        return self.piece(message, message, tokens)


class ViewCache:
    """Bounded; the longest unused goes first. One per context is enough."""

    __slots__ = ("_shelves", "_standing")

    def __init__(self) -> None:
        self._shelves: OrderedDict[tuple[TokenizerId, MediaTable, str], Shelf] = OrderedDict()
        self._standing: OrderedDict[ViewSpec, tuple[Source, Standing]] = OrderedDict()

    def shelf(self, tokenizer: Counter, media: MediaTable, form: str) -> Shelf:
        key = (tokenizer.id, media, form)
        shelf = self._shelves.get(key)
        if shelf is None:
            shelf = self._shelves[key] = Shelf(tokenizer, media, form)
            if len(self._shelves) > CACHED_SHELVES_MAX:
                self._shelves.popitem(last=False)
        else:
            self._shelves.move_to_end(key)
        return shelf

    def standing(self, source: Source, spec: ViewSpec) -> Standing | None:
        """What was kept of the last view of this very source by this spec."""
        kept = self._standing.get(spec)
        return kept[1] if kept is not None and kept[0] is source else None

    def keep(self, source: Source, standing: Standing) -> None:
        spec = standing.plan.spec
        self._standing[spec] = (source, standing)
        self._standing.move_to_end(spec)
        if len(self._standing) > CACHED_STANDING_MAX:
            self._standing.popitem(last=False)


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
