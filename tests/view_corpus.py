"""A conversation that is the same everywhere, and the fingerprints of its views.

Made with a generator of its own, because the standard library's may change. Run as a program it
prints the fingerprints; `tests/data/view-fingerprints.json` keeps them. They change only with a
new renderer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from weft_engine.events.event import Message, Role
from weft_engine.events.part import Call, CallRef, Part, Reasoning, Result, Text
from weft_engine.names import EventId, context_name
from weft_engine.views.build import build
from weft_engine.views.cache import ViewCache
from weft_engine.views.count import count_message
from weft_engine.views.entry import Entry
from weft_engine.views.policies import LastN, SkipParts
from weft_engine.views.source import Source
from weft_engine.views.spec import ViewSpec, view_spec
from weft_engine.views.tokenizer import CL100K_BASE, O200K_BASE, Tokenizer
from weft_engine.views.view import View

MESSAGES = 160
WORDS = ("flight", "日本", "seat 12\n", "it's", "é", "😀", '{"a": [1]}', "and", "fare", "tomorrow ")
SPECS: dict[str, ViewSpec] = {
    "1k": view_spec(budget=1_000),
    "4k": view_spec(budget=4_000),
    "64k": view_spec(budget=64_000),
    "4k of 30": view_spec(budget=4_000, policy=LastN(30)),
    "2k without tools": view_spec(budget=2_000, policy=SkipParts()),
    "2k in cl100k": view_spec(budget=2_000, tokenizer=CL100K_BASE),
}


def numbers(seed: int) -> Iterator[int]:
    """A linear congruential generator, after Knuth's MMIX."""
    state = seed
    while True:
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        yield state >> 33


def event_id(number: int) -> EventId:
    return EventId(f"{number:016x}-{'0a' * 16}")


def corpus() -> list[Entry]:
    """Parallel calls, results that come late or never, used ids, texts too big for any window."""
    draw = numbers(7)

    def text() -> str:
        times = 400 if next(draw) % 23 == 0 else 1 + next(draw) % 30
        return " ".join(WORDS[next(draw) % len(WORDS)] for _ in range(times))

    said: list[Message] = [Message(Role.SYSTEM, (Text("Be brief."),))]
    waiting: list[tuple[CallRef, str]] = []
    while len(said) < MESSAGES:
        kind = next(draw) % 8
        if waiting and kind < 5:
            ref, id_ = waiting.pop(next(draw) % len(waiting))
            said.append(Message(Role.TOOL, (Result(id_, text(), ref),)))
        elif kind < 3:
            said.append(Message(Role.USER, (Text(text()),)))
        else:
            parts: list[Part] = [Reasoning("openai", text()), Text(text())]
            for _ in range(next(draw) % 4):
                id_ = f"call-{next(draw) % 5}"
                if next(draw) % 6:
                    waiting.append((CallRef(event_id(len(said)), len(parts)), id_))
                parts.append(Call(id_, "find", json.dumps({"q": text()}, ensure_ascii=False)))
            said.append(Message(Role.ASSISTANT, tuple(parts)))
    counter = Tokenizer(O200K_BASE)
    return [
        Entry(event_id(n), message, message.role.value, n, count_message(message, counter))
        for n, message in enumerate(said)
    ]


def fingerprints() -> dict[str, list[str]]:
    """By the name of the spec, of the views at every tenth message."""
    entries = corpus()
    found: dict[str, list[str]] = {}
    for name, spec in SPECS.items():
        cache = ViewCache()
        growing = Source([entries[0]], [])
        for end in range(2, len(entries) + 1):
            growing.tail.append(entries[end - 1])
            view = build(
                growing,
                cut=(),
                context=context_name("corpus"),
                spec=spec,
                tokenizer=Tokenizer(spec.tokenizer),
                cache=cache,
            )
            assert isinstance(view, View)
            if end % 10 == 0:
                found.setdefault(name, []).append(view.fingerprint)
    return found


if __name__ == "__main__":
    print(json.dumps(fingerprints(), indent=1))
