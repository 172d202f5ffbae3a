"""``weft compact``: a summary in place of the older messages of a context."""

from __future__ import annotations

import argparse
import asyncio
import shlex
from typing import TYPE_CHECKING, Final

from weft_engine.errors import CallerError
from weft_engine.limits import SUMMARY_BYTES_MAX
from weft_server.cli.branch_option import add_branch, on_branch
from weft_server.cli.input_file import read_text
from weft_server.cli.output import Output
from weft_server.cli.store_file import (
    add_context,
    add_store,
    check_exists,
    held_context,
    open_to_write,
    positive,
)

if TYPE_CHECKING:
    from weft_engine.replica.summarizing import ToSummarize

NAME: Final = "compact"
HELP: Final = "put a summary in place of older messages"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_context(parser)
    add_store(parser)
    add_branch(parser)
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument(
        "--command",
        dest="program",
        metavar="COMMAND",
        help="a program with its arguments (no shell): it reads the messages as text from stdin,"
        " the summary so far first, and writes the summary to stdout",
    )
    how.add_argument(
        "--summary", metavar="FILE", help="the text of the summary; - reads it from stdin"
    )
    parser.add_argument(
        "--keep",
        type=_tokens,
        metavar="N",
        help="tokens of the newest messages to leave as they are (default: about half of a view)",
    )
    parser.add_argument("--by", help="who wrote the summary, such as a model")
    parser.epilog = (
        "Prints the id of the summary's event. No message is touched; weft summaries lists what"
        " there is."
    )


def run(arguments: argparse.Namespace, output: Output) -> int:
    check_exists(arguments.store)
    return asyncio.run(_run(arguments, output))


async def _run(arguments: argparse.Namespace, output: Output) -> int:
    text: str | None = None
    program: list[str] = []
    if arguments.summary is None:
        program = _words(arguments.program)
    else:
        text = read_text(arguments.summary, bytes_max=SUMMARY_BYTES_MAX)

    async def summarizer(what: ToSummarize) -> str:
        return await _answer(program, what) if text is None else text

    async with await open_to_write(arguments.store) as replica:
        context = await held_context(replica, arguments)
        context = await on_branch(context, arguments.branch)
        id_ = await context.compact(summarizer, keep=arguments.keep, by=arguments.by)
    output.data({"id": id_})
    output.say("nothing to compact" if id_ is None else id_)
    return 0


async def _answer(program: list[str], what: ToSummarize) -> str:
    """What the program writes when it is given `what`. It ends before this does."""
    known = "" if what.previous is None else f"[summary so far]\n{what.previous}\n\n"
    try:
        process = await asyncio.create_subprocess_exec(
            *program, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
    except OSError as error:
        raise CallerError(
            f"{program[0]} can't be run: {error.strerror}", hint="give a program and its arguments"
        ) from None
    try:
        told, _ = await process.communicate(f"{known}{what.text}\n".encode(errors="replace"))
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise CallerError(
            f"{program[0]} ended with {process.returncode}", hint="nothing was recorded"
        )
    try:
        return told.decode()
    except UnicodeDecodeError as error:
        raise CallerError(
            f"{program[0]} wrote no UTF-8: byte {error.start}", hint="nothing was recorded"
        ) from None


def _words(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise CallerError(f"--command can't be read: {error}", hint="close its quotes") from None
    if not words:
        raise CallerError("--command is empty", hint="give a program and its arguments")
    return words


def _tokens(text: str) -> int:
    return 0 if text == "0" else positive(text)
