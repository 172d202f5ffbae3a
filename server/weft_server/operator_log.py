"""What a running relay tells its operator: one line for each thing that happens, with the time.

Much of it is caused by strangers, who may come as often as they like. So what begins alike is said
once a minute, and then how often it happened. Who reads the lines may be slow, or stop: the relay
waits for nobody there, and what there is no room for is counted.
Must never know: links, what the lines are about.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

LOGGER: Final = "weft.relay"
EVERY_S: Final = 60.0
KINDS_MAX: Final = 100
"""Different lines in a minute; beyond them nothing is said."""
LINES_WAITING_MAX: Final = 1000
"""Lines that wait until somebody reads them; beyond them they are only counted."""
CLOSING_S: Final = 2.0
"""What the last lines have to be read at the end."""
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


class Unhurried:
    """Gives lines to `write` in a thread of its own, so that a full pipe stops nothing but the log.
    A daemon, since nothing ends a write that nobody reads."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._waiting: deque[str] = deque()
        self._unsaid = 0
        self._has_more = threading.Condition()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="weft-log", daemon=True)
        self._thread.start()

    def __call__(self, line: str) -> None:
        with self._has_more:
            if len(self._waiting) < LINES_WAITING_MAX:
                self._waiting.append(line)
                self._has_more.notify()
            else:
                self._unsaid += 1

    def close(self) -> None:
        """Wait until all is written, for CLOSING_S at most."""
        with self._has_more:
            self._is_closed = True
            self._has_more.notify()
        self._thread.join(CLOSING_S)

    def _run(self) -> None:
        while (line := self._next()) is not None:
            # If it can't be written, there is nobody who could be told.
            with suppress(OSError, ValueError):
                self._write(line)

    def _next(self) -> str | None:
        with self._has_more:
            while not self._waiting and not self._unsaid:
                if self._is_closed:
                    return None
                self._has_more.wait()
            if self._waiting:
                return self._waiting.popleft()
            unsaid, self._unsaid = self._unsaid, 0
            return f"{unsaid} lines are left out here: nobody has read them in time"


@contextmanager
def told_to(write: Callable[[str], None]) -> Iterator[None]:
    """Everything that is logged in this process goes to `write` meanwhile, in another thread."""
    lines = Unhurried(write)
    handler = OperatorLog(lines)
    root, ours = logging.getLogger(), logging.getLogger(LOGGER)
    level = ours.level
    root.addHandler(handler)
    ours.setLevel(logging.INFO)
    try:
        yield
    finally:
        ours.setLevel(level)
        root.removeHandler(handler)
        lines.close()
