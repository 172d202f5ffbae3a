"""Whether stores agree, found by reading them: records, events, and the bytes of every view.

Must never know: how the stores came to be what they are.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from weft_server.local_mesh.agreement import open_to_read

BUDGET: Final = 32_000
_PERSON: Final = b"weft-views"


@dataclass(frozen=True, slots=True)
class ContextReading:
    """`records`: the fingerprint of its records; `sent`: what a model would be sent, as bytes."""

    records: str
    view: str
    sent: bytes
    events: int
    authors: frozenset[str]


@dataclass(frozen=True, slots=True)
class StoreReading:
    name: str
    contexts: dict[str, ContextReading]

    @property
    def events(self) -> int:
        return sum(context.events for context in self.contexts.values())

    @property
    def view_fingerprint(self) -> str:
        """BLAKE2b over the view fingerprints of all contexts, in the order of their names."""
        digest = hashlib.blake2b(digest_size=32, person=_PERSON)
        for name in sorted(self.contexts):
            digest.update(bytes.fromhex(self.contexts[name].view))
        return digest.hexdigest()


async def read_store(name: str, path: Path) -> StoreReading:
    """Everything that the comparison looks at, from the file at `path`."""
    found: dict[str, ContextReading] = {}
    async with open_to_read(path) as replica:
        after = ""
        while page := await replica.contexts(after=after):
            for state in page:
                context = replica.context(state.name)
                view = await context.view(budget=BUDGET)
                authors = [said.event.author async for said in context.events()]
                found[state.name] = ContextReading(
                    records=state.fingerprint.hex(),
                    view=view.fingerprint,
                    sent=json.dumps(view.openai(), ensure_ascii=False).encode(),
                    events=len(authors),
                    authors=frozenset(authors),
                )
            after = page[-1].name
    return StoreReading(name, found)


def differences(readings: list[StoreReading]) -> list[str]:
    """What is not the same in all stores, in words; empty if they agree."""
    first, *others = readings
    found: list[str] = []
    for other in others:
        pair = f"{first.name} and {other.name}"
        for name in sorted(first.contexts.keys() | other.contexts.keys()):
            one, two = first.contexts.get(name), other.contexts.get(name)
            if one is None or two is None:
                found.append(f"{pair}: only one of them has context {name!r}")
            elif one.records != two.records:
                found.append(f"{pair}: other records in context {name!r}")
            elif (one.view, one.sent, one.events) != (two.view, two.sent, two.events):
                found.append(f"{pair}: equal records and other views of context {name!r}")
    return found
