"""Shortening: a unit too big for any window is cut until it fits, visibly.

All its texts, results and tool arguments are levelled to one common length: what is shorter stays
whole, of what is longer the middle is left out. So the biggest give way first and all that is big
stays alike. A pure function of the unit and the window, never of the room that happens to be left:
else each new message would change an old one. Must never know: the rest of the view.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from weft_engine.canonical import canonical_json
from weft_engine.errors import BudgetTooSmall
from weft_engine.events.event import Message
from weft_engine.events.part import Call, Opaque, Part, Reasoning, Refusal, Result, Text
from weft_engine.views.cache import Shelf
from weft_engine.views.shown import Rule
from weft_engine.views.unit import Unit

SLACK_CHARS: Final = 48
"""A text that is longer by no more than this stays whole: the mark would take as much."""
_FIRST_KEEP: Final = 64
_STEP_DIVISOR: Final = 64
"""The length is found to within 1/64 of itself: each try counts all that is kept."""


def shorten(unit: Unit, room: int, shelf: Shelf) -> Unit:
    """`unit` cut to at most `room` tokens, counted on what is sent.

    BudgetTooSmall if it may not be cut, or if what can't be cut (names, attachments, the marks
    themselves) is already too much.
    """
    knife = _Knife(unit, shelf)
    best = knife.shortest(room)
    cut = knife.cut
    longest = max((n for piece in unit.pieces for n in _lengths(piece.message.parts)), default=0)
    # More characters do not always mean more tokens, so the search may miss the very best length;
    # but what it returns was counted, and it always makes the same tries.
    low, high = 0, _FIRST_KEEP
    while True:
        high = min(high, longest)
        tried = cut(high)
        if tried.tokens > room:
            break
        low, best = high, tried
        if high == longest:
            return best
        high *= 2
    while high - low > max(1, low // _STEP_DIVISOR):
        middle = (low + high) // 2
        tried = cut(middle)
        if tried.tokens > room:
            high = middle
        else:
            low, best = middle, tried
    return best


def shortest(unit: Unit, room: int, shelf: Shelf) -> Unit:
    """`unit` cut as far as it can be: what tells, for little, whether `shorten` can do it. Raises
    as that does."""
    return _Knife(unit, shelf).shortest(room)


class _Knife:
    """Cuts a unit's texts to a length. `thinks`: with what the model thought."""

    __slots__ = ("_scales", "_shelf", "_unit", "thinks")

    def __init__(self, unit: Unit, shelf: Shelf) -> None:
        self._unit = unit
        self._shelf = shelf
        self._scales = [shelf.pricing.scale(piece.source) for piece in unit.pieces]
        self.thinks = True

    def shortest(self, room: int) -> Unit:
        unit = self._unit
        if unit.fixed:
            raise BudgetTooSmall(needed=unit.tokens, budget=room, culprit=unit.label)
        best = self.cut(0)
        if best.tokens > room:
            # A provider takes back what a model thought as it was, or not at all.
            self.thinks = False
            best = self.cut(0)
        if best.tokens > room:
            raise BudgetTooSmall(needed=best.tokens, budget=room, culprit=unit.label)
        return best

    def cut(self, keep: int) -> Unit:
        pieces = []
        for piece, scale in zip(self._unit.pieces, self._scales, strict=True):
            message = piece.message if self.thinks else _without_reasoning(piece.message)
            cut = _cut_message(message, keep)
            pieces.append(self._shelf.scaled(cut, piece.source, scale))
        return replace(
            self._unit,
            pieces=tuple(pieces),
            tokens=sum(piece.tokens for piece in pieces),
            rules=self._unit.rules | {Rule.SHORTENED},
        )


def _lengths(parts: tuple[Part, ...]) -> Iterator[int]:
    for part in parts:
        match part:
            case Text(text) | Refusal(text) | Result(out=str(text)):
                yield len(text)
            case Call(args=args):
                yield len(args)
            case Opaque(json=text):
                yield len(text)
            case Result(out=tuple(inner)):
                yield from _lengths(inner)
            case _:
                pass


def _without_reasoning(message: Message) -> Message:
    parts = tuple(part for part in message.parts if not isinstance(part, Reasoning))
    return message if len(parts) == len(message.parts) else replace(message, parts=parts)


def _cut_message(message: Message, keep: int) -> Message:
    parts = _cut_parts(message.parts, keep)
    return message if parts is message.parts else replace(message, parts=parts)


def _cut_parts(parts: tuple[Part, ...], keep: int) -> tuple[Part, ...]:
    cut = tuple(_cut_part(part, keep) for part in parts)
    return parts if all(new is old for new, old in zip(cut, parts, strict=True)) else cut


def _cut_part(part: Part, keep: int) -> Part:
    match part:
        case Text(text) | Refusal(text) if _is_long(text, keep):
            return replace(part, text=_cut_text(text, keep))
        case Result(out=str(text)) if _is_long(text, keep):
            return replace(part, out=_cut_text(text, keep))
        case Result(out=tuple(inner)):
            return replace(part, out=_cut_parts(inner, keep))
        case Call(args=args) if _is_long(args, keep):
            return replace(part, args=_cut_arguments(args, keep))
        case Opaque(json=text) if _is_long(text, keep):
            # Its meaning is not ours to cut. It stays an opaque part, so that it is still sent
            # only in the format that it is of.
            said = {"type": "text", "text": _mark(len(text))}
            return replace(part, json=canonical_json(said).decode())
        case _:
            return part


def _is_long(text: str, keep: int) -> bool:
    return len(text) > keep + SLACK_CHARS


def _mark(left_out: int) -> str:
    return f"[... {left_out} characters left out ...]"


def _cut_text(text: str, keep: int) -> str:
    """The beginning and the end of `text`, `keep` characters together. Python counts characters,
    not units of an encoding, so no character is ever split."""
    tail = keep // 2
    mark = _mark(len(text) - keep)
    return f"{text[: keep - tail]}\n{mark}\n{text[len(text) - tail :]}"


def _cut_arguments(args: str, keep: int) -> str:
    """A JSON object, because some providers refuse arguments that are none."""
    said = {"beginning": args[:keep], "characters_left_out": len(args) - keep}
    return canonical_json(said).decode()
