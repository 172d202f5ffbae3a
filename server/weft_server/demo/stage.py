"""What the audience of the demo sees: one line for each thing that happens, with its time.

Must never know: what happens next.
"""

from __future__ import annotations

import time
from typing import Final

from weft_server.cli.output import Output

_WIDTH: Final = 96


class Stage:
    def __init__(self, output: Output) -> None:
        self._output = output
        self._began_s = time.monotonic()

    @property
    def passed_s(self) -> float:
        return time.monotonic() - self._began_s

    def act(self, title: str) -> None:
        """What the next lines are about."""
        self._output.say()
        self._output.say(title)
        self._output.flush()

    def tell(self, who: str, what: str) -> None:
        self._output.say(f"  {self.passed_s:5.1f} s  {who:<7} {what}")
        self._output.flush()

    def quote(self, who: str, role: str, text: str) -> None:
        """A message of a conversation, cut to one line."""
        line = " ".join(text.split())
        room = _WIDTH - 24
        shown = line if len(line) <= room else line[: room - 1] + "…"
        self._output.say(f"    {who:<8} {role:<10} {shown}")
