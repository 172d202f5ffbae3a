"""What a running relay tells its operator: one line for each thing that happens, with the time.

Much of it is caused by strangers, who may come as often as they like. So what begins alike is said
once a minute, and then how often it happened. Must never know: links, what the lines are about.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

LOGGER: Final = "weft.relay"
EVERY_S: Final = 60.0
KINDS_MAX: Final = 100
"""Different lines in a minute; beyond them nothing is said."""
_KIND_CHARACTERS: Final = 100
# Names, numbers and addresses; what stands before them tells one kind of line from another.
_DETAIL: Final = re.compile(r"[0-9'\"(\[{<]")


class OperatorLog(logging.Handler):
    """Gives lines to `write`, which makes them safe for a terminal. `now_s` is the time in seconds
    since 1970."""

    def __init__(self, write: Callable[[str], None], *, now_s: Callable[[], float] = time.time):
        super().__init__()
        self._write = write
        self._now_s = now_s
        self._said: dict[tuple[str, str], tuple[float, int]] = {}
        """Of each kind: when it was said last, and how often it happened since."""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage().strip()
        now_s = self._now_s()
        kind = (str(record.msg), _DETAIL.split(text, maxsplit=1)[0][:_KIND_CHARACTERS])
        at_s, unsaid = self._said.get(kind, (now_s - EVERY_S, 0))
        if 0 <= now_s - at_s < EVERY_S:
            self._said[kind] = (at_s, unsaid + 1)
            return
        if kind not in self._said and len(self._said) >= KINDS_MAX:
            self._forget(now_s)
            if len(self._said) >= KINDS_MAX:
                return
        self._said[kind] = (now_s, 0)
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now_s))
        more = f" (and {unsaid} more times since the last such line)" if unsaid else ""
        self._write(f"{when} {record.levelname.lower()}: {text}{more}")
        if record.exc_info:
            for line in logging.Formatter().formatException(record.exc_info).splitlines():
                self._write(line)

    def _forget(self, now_s: float) -> None:
        """What was not said in the last minute."""
        for kind, (at_s, _) in tuple(self._said.items()):
            if not 0 <= now_s - at_s < EVERY_S:
                del self._said[kind]


@contextmanager
def told_to(write: Callable[[str], None]) -> Iterator[None]:
    """Everything that is logged in this process goes to `write` meanwhile."""
    handler = OperatorLog(write)
    root, ours = logging.getLogger(), logging.getLogger(LOGGER)
    level = ours.level
    root.addHandler(handler)
    ours.setLevel(logging.INFO)
    try:
        yield
    finally:
        ours.setLevel(level)
        root.removeHandler(handler)
