"""Units, facts and marks for tests of the preamble, made in one line each."""

from __future__ import annotations

from collections.abc import Sequence

from weft_engine.events.event import Criticality, Fact, Lifetime, Message, Role
from weft_engine.events.facts import FactBook, SaidFact
from weft_engine.events.part import Call, CallRef, Result, Text
from weft_engine.names import EventId
from weft_engine.views.cache import Shelf
from weft_engine.views.count import count_message
from weft_engine.views.entry import Entry
from weft_engine.views.media import DEFAULT_MEDIA
from weft_engine.views.plan import units_of
from weft_engine.views.tokenizer import O200K_BASE, Tokenizer
from weft_engine.views.unit import Unit

TOKENIZER = Tokenizer(O200K_BASE)


def new_shelf() -> Shelf:
    return Shelf(TOKENIZER, DEFAULT_MEDIA, "openai")


def id_at(time_ms: int) -> EventId:
    """The id of an event of this moment: one each."""
    return EventId(f"{time_ms << 16:016x}-{'cd' * 16}")


def key_at(time_ms: int) -> bytes:
    raw = bytes.fromhex(id_at(time_ms).replace("-", ""))
    return raw[:8] + raw


def entry(
    time_ms: int,
    text: str,
    *,
    role: Role = Role.USER,
    crit: Criticality | None = None,
    life: Lifetime | None = None,
    expires: int | None = None,
) -> Entry:
    return _entry(time_ms, Message(role, (Text(text),), crit=crit, life=life, expires=expires))


def call(time_ms: int, name: str = "find") -> Entry:
    return _entry(time_ms, Message(Role.ASSISTANT, (Call("c1", name, "{}"),)))


def result(time_ms: int, of_ms: int, out: str, crit: Criticality | None = None) -> Entry:
    part = Result("c1", out, CallRef(id_at(of_ms), 0))
    return _entry(time_ms, Message(Role.TOOL, (part,), crit=crit))


def _entry(time_ms: int, message: Message) -> Entry:
    tokens = count_message(message, TOKENIZER)
    return Entry(id_at(time_ms), message, "ann", time_ms << 16, tokens)


def units(entries: Sequence[Entry], shelf: Shelf) -> list[Unit]:
    """In reading order."""
    return list(units_of(entries, shelf))


def fact(
    time_ms: int,
    name: str,
    value: str,
    *,
    rule: str = "last",
    replaces: Sequence[int] = (),
    crit: Criticality | None = None,
    expires: int | None = None,
) -> SaidFact:
    body = Fact(name, value, rule, tuple(id_at(t) for t in replaces), crit, expires)
    return SaidFact(key_at(time_ms), id_at(time_ms), body)


def book(*said: SaidFact) -> FactBook:
    return FactBook(said)


def texts(shown: Sequence[Unit]) -> list[str]:
    """What the units say, as a model reads it."""
    found = []
    for unit in shown:
        for piece in unit.pieces:
            for part in piece.message.parts:
                match part:
                    case Text(text):
                        found.append(text)
                    case Call(name=name):
                        found.append(f"call {name}")
                    case Result(out=str(out)):
                        found.append(out)
                    case _:
                        found.append(type(part).__name__)
    return found
