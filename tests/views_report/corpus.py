"""The conversation that all strategies are asked about: one long one, of real ones where they are.

Must never know: strategies, measures.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

TRANSCRIPTS: Final = Path(__file__).parents[3] / "shared" / "data" / "agent-transcripts.jsonl"
_SAYING: Final = "the flight from seat to fare is booked for two with bags and no insurance"
_TURNS: Final = 1_200
_RANDOM_SEED: Final = 4

Said = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Corpus:
    """`messages`: of the OpenAI chat format, one system message first."""

    name: str
    messages: tuple[Said, ...]


def corpus(path: Path = TRANSCRIPTS) -> Corpus:
    """The transcripts at `path` joined into one, as one long-lived agent would have had them; a
    made-up conversation in their likeness if there are none."""
    if not path.exists():
        return Corpus("a generated conversation", (_HEAD, *_generated(random.Random(_RANDOM_SEED))))
    read = [json.loads(line)["messages"] for line in path.read_text().splitlines()]
    said = [message for messages in read for message in messages if message["role"] != "system"]
    return Corpus(f"{len(read)} real agent transcripts joined", (read[0][0], *said))


_HEAD: Final[Said] = {"role": "system", "content": "You help people to book flights. " * 40}


def _generated(rng: random.Random) -> list[Said]:
    said: list[Said] = []
    calls = 0
    for _ in range(_TURNS):
        said.append({"role": "user", "content": _text(rng, 5, 60)})
        for _ in range(rng.choice((0, 0, 1, 1, 2, 4))):
            ids = [f"call_{calls + i}" for i in range(rng.choice((1, 1, 1, 2, 3)))]
            calls += len(ids)
            said.append({"role": "assistant", "content": None, "tool_calls": [*map(_call, ids)]})
            said += [
                {"role": "tool", "tool_call_id": id_, "content": _text(rng, 10, 600)} for id_ in ids
            ]
        said.append({"role": "assistant", "content": _text(rng, 20, 160)})
    return said


def _text(rng: random.Random, least: int, most: int) -> str:
    return " ".join(rng.choices(_SAYING.split(), k=rng.randint(least, most)))


def _call(id_: str) -> Said:
    function = {"name": "find_flights", "arguments": '{"from": "VIE", "to": "AMS"}'}
    return {"id": id_, "type": "function", "function": function}
