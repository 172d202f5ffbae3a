"""A relay's log: nothing that strangers do makes it long, and nothing of it is lost silently."""

from __future__ import annotations

import io
import logging
import os
import sys
import threading

from weft_server.cli.output import Output
from weft_server.operator_log import (
    EVERY_S,
    KINDS_MAX,
    LINES_WAITING_MAX,
    OperatorLog,
    Unhurried,
    told_to,
)


class Told:
    """A log whose time stands still until it is moved."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.now_s = 1_700_000_000.0
        self._log = OperatorLog(self.lines.append, now_s=lambda: self.now_s)

    def tell(self, template: str, *details: object) -> None:
        self._log.handle(
            logging.LogRecord("weft.relay", logging.WARNING, "", 0, template, details, None)
        )


def test_what_begins_alike_is_said_once_a_minute_and_counted() -> None:
    told = Told()
    for number in range(1000):
        told.tell("a link is refused: %s", f"it expired {number} seconds ago")
    assert told.lines == [
        "2023-11-14T22:13:20Z warning: a link is refused: it expired 0 seconds ago"
    ]
    told.now_s += EVERY_S
    told.tell("a link is refused: %s", "it expired 7 seconds ago")
    assert told.lines[1].endswith(
        "it expired 7 seconds ago (and 999 more times since the last such line)"
    )
    told.now_s += EVERY_S
    told.tell("a link is refused: %s", "it expired 8 seconds ago")
    assert told.lines[2].endswith("it expired 8 seconds ago")


def test_different_reasons_are_said_each() -> None:
    told = Told()
    told.tell("a link is refused: %s", "the token was revoked (17)")
    told.tell("a link is refused: %s", "this relay asks for a token")
    told.tell("room %r can't go on: %s", "a", "the disk is full")
    told.tell("room %r could not store what came: %s", "a", "the disk is full")
    assert len(told.lines) == 4


def test_however_many_reasons_there_are_a_minute_has_so_many_lines() -> None:
    told = Told()
    for number in range(3 * KINDS_MAX):
        told.tell("a link is refused: %s", "x" * number)
    assert len(told.lines) <= KINDS_MAX
    told.now_s += EVERY_S
    told.tell("something else")
    assert told.lines[-1].endswith("something else")


def test_a_clock_that_goes_back_silences_nothing() -> None:
    told = Told()
    told.tell("one")
    told.now_s -= 10 * EVERY_S
    told.tell("one")
    assert len(told.lines) == 2


def test_it_hears_what_others_log_and_only_meanwhile() -> None:
    lines: list[str] = []
    log = logging.getLogger("weft.relay")
    with told_to(lines.append):
        log.info("stopping")
        try:
            raise RuntimeError("a fault of ours")
        except RuntimeError:
            logging.getLogger("uvicorn.error").error("it failed", exc_info=sys.exc_info())
    assert [line.partition("Z ")[2] for line in lines[:2]] == ["info: stopping", "error: it failed"]
    assert lines[-1] == "RuntimeError: a fault of ours"
    count = len(lines)
    log.info("afterwards")
    assert len(lines) == count


def test_who_does_not_read_stops_nothing_and_hears_what_was_left_out() -> None:
    lines: list[str] = []
    is_writing, may_write = threading.Event(), threading.Event()

    def write(line: str) -> None:
        is_writing.set()
        may_write.wait()
        lines.append(line)

    log = Unhurried(write)
    log("first")
    is_writing.wait()
    for number in range(LINES_WAITING_MAX + 7):
        log(str(number))
    may_write.set()
    log.close()
    assert lines == [
        "first",
        *map(str, range(LINES_WAITING_MAX)),
        "7 lines are left out here: nobody has read them in time",
    ]


def test_a_pipe_that_nobody_reads_stops_nothing_either() -> None:
    """More than a pipe holds; what follows is written once somebody reads."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as read, os.fdopen(writing, "w") as notes:
        output = Output(results=io.StringIO(), notes=notes)
        got: list[bytes] = []
        reader = threading.Thread(target=lambda: got.append(read.read()))
        with told_to(output.note_unlocked):
            for number in range(80):
                logging.getLogger("weft.relay").info("%s", "x" * number + "y" * 2000)
            reader.start()
        notes.close()
        reader.join()
    assert got[0].count(b"\n") == 80


def test_a_log_that_is_gone_stops_nothing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as notes:
        output = Output(results=io.StringIO(), notes=notes)
        with told_to(output.note_unlocked):
            logging.getLogger("weft.relay").info("nobody hears this")
