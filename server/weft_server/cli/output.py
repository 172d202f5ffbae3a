"""What a command tells its user: text for people or JSON for programs, notes, errors, progress.

Results go to stdout, everything else to stderr. Text for people is made safe first: what a
conversation holds must not steer the terminal. Must never know: what any command does.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Sequence
from typing import Final, TextIO

from weft_engine.errors import WeftError

_PROGRESS_EVERY_S: Final = 0.1
_CLEAR_LINE: Final = "\r\x1b[K"
_BOLD: Final = ("\x1b[1m", "\x1b[0m")
# Controls but tab and line feed, line separators, marks that turn the direction of writing, and
# halves of characters.
_UNSAFE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


class Output:
    """Where one run of a command writes."""

    def __init__(self, *, results: TextIO, notes: TextIO, as_json: bool = False) -> None:
        self.as_json = as_json
        self._results = results
        self._notes = notes
        self._shows_progress = notes.isatty()
        self._progress_shown_s = 0.0
        self._has_progress = False

    @property
    def results_are_elsewhere(self) -> bool:
        """Whether results and notes do not share a terminal."""
        return not self._results.isatty()

    def say(self, text: str = "") -> None:
        """A piece of the result for people; nothing if JSON was asked for."""
        if not self.as_json:
            self._end_progress()
            self._results.write(safe(text) + "\n")

    def piece(self, text: str) -> None:
        """Text of the result for people that goes on in the same line."""
        if not self.as_json:
            self._end_progress()
            self._results.write(safe(text))

    def say_marked(self, text: str, marks: Sequence[tuple[int, int]], *, before: str) -> None:
        """As `say`, `text` in one line behind `before`; what stands between its `marks`, (start,
        end) each, is bold on a terminal."""
        if self.as_json:
            return
        self._end_progress()
        bold, plain = _BOLD if self._results.isatty() else ("", "")
        shown = [safe(before)]
        at = 0
        for start, end in marks:
            shown += (one_line(text[at:start]), bold, one_line(text[start:end]), plain)
            at = end
        self._results.write("".join((*shown, one_line(text[at:]), "\n")))

    def data(self, value: object) -> None:
        """The result for programs, as one line of JSON; nothing if text was asked for."""
        if self.as_json:
            self.json_line(json.dumps(value, ensure_ascii=False))

    def json_line(self, text: str) -> None:
        """JSON text that is the result itself whoever reads it."""
        self._end_progress()
        self._results.write(safe_json(text) + "\n")

    def note(self, text: str) -> None:
        """A remark beside the result, in one line."""
        self._end_progress()
        self._notes.write(one_line(text) + "\n")
        self._notes.flush()

    def note_unlocked(self, text: str) -> None:
        """As `note`, for another thread: a write that nobody reads holds no lock, which the
        process would need to end."""
        try:
            where = self._notes.fileno()
        except (OSError, ValueError):  # It is no file.
            self.note(text)
            return
        left = (one_line(text) + "\n").encode(self._notes.encoding or "utf-8", "backslashreplace")
        while left:
            left = left[os.write(where, left) :]

    def error(self, error: WeftError) -> None:
        self.note(f"weft: {error.message}")
        if error.hint:
            self.note(f"hint: {error.hint}")

    def progress(self, what: str, done: int, total: int | None = None) -> None:
        """How far long work is; shown on a terminal only. Cheap to call often."""
        if not self._shows_progress:
            return
        now_s = time.monotonic()
        if now_s - self._progress_shown_s < _PROGRESS_EVERY_S:
            return
        self._progress_shown_s = now_s
        share = f"{done:,}" if total is None else f"{done:,} of {total:,}"
        self._notes.write(f"{_CLEAR_LINE}{one_line(what)} {share}")
        self._notes.flush()
        self._has_progress = True

    def flush(self) -> None:
        self._end_progress()
        self._results.flush()

    def _end_progress(self) -> None:
        if self._has_progress:
            self._has_progress = False
            self._notes.write(_CLEAR_LINE)
            self._notes.flush()


def safe(text: str) -> str:
    """`text` with every character that could steer a terminal written as an escape."""
    return _UNSAFE.sub(_escape, text)


def one_line(text: str) -> str:
    """As `safe`, with line ends and tabs escaped too."""
    return safe(text).replace("\n", "\\n").replace("\t", "\\t")


def safe_json(text: str) -> str:
    """Equal JSON in one line that can't steer a terminal, and that any encoding of Unicode can
    hold. What is escaped can stand in JSON's strings only."""
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
