"""The counting rule once more, on what is sent: by it all strategies are measured alike.

Independent of `weft_engine.views`, so that Weft can't be wrong about itself here; of Weft it takes
only the tokenizer. Must never know: strategies, budgets.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from tests.views_report.corpus import Said
from weft_engine.views.tokenizer import DEFAULT_TOKENIZER, Tokenizer

VIEW_TOKENS = 3


class Meter:
    """Remembers each message that it has counted."""

    def __init__(self) -> None:
        self._tokenizer = Tokenizer(DEFAULT_TOKENIZER)
        self._known: dict[str, int] = {}

    def view(self, sent: Iterable[Said]) -> int:
        return VIEW_TOKENS + sum(self.message(spelled(said)) for said in sent)

    def message(self, text: str) -> int:
        """Of a message as `spelled`."""
        tokens = self._known.get(text)
        if tokens is None:
            tokens = self._known[text] = self._count(json.loads(text))
        return tokens

    def _count(self, said: Said) -> int:
        n = self._tokenizer.count
        tokens = 4 + (1 + n(said["name"]) if "name" in said else 0)
        content = said.get("content")
        if isinstance(content, list):
            tokens += sum(n(part["text"]) for part in content)
        elif content is not None:
            tokens += n(content)
        for call in said.get("tool_calls", ()):
            tokens += 8 + n(call["function"]["name"]) + n(call["function"]["arguments"])
        return tokens


def spelled(said: Said) -> str:
    """One spelling for each message, whatever the order of its keys."""
    return json.dumps(said, sort_keys=True, ensure_ascii=False)
