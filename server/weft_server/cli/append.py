"""``weft append``: one message into a context."""

from __future__ import annotations

import argparse
import asyncio
from typing import TYPE_CHECKING, Final

from weft_engine.errors import CallerError, InvalidMessage, LimitExceeded
from weft_engine.limits import EVENT_BYTES_MAX
from weft_server.cli.branch_option import add_branch, on_branch
from weft_server.cli.input_file import STDIN, read_text, shown_name
from weft_server.cli.output import Output
from weft_server.cli.store_file import add_context, add_store, open_to_write

if TYPE_CHECKING:
    from weft_engine.replica.context import Appendable

NAME: Final = "append"
HELP: Final = "append a message to a context"

_BYTES_MAX: Final = 4 * EVENT_BYTES_MAX
"""More than any message needs, so that a message that is too big is told so by the format."""

_FORM: Final = 'give one object such as {"role": "assistant", "content": "hello"}'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_context(parser)
    add_store(parser)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "text",
        nargs="?",
        metavar="TEXT",
        help="what is said; - reads it from stdin, as it is, with its last line end",
    )
    what.add_argument(
        "--json-message",
        metavar="FILE",
        help="a whole message as JSON of the OpenAI chat format, such as one with tool calls;"
        " - reads stdin",
    )
    what.add_argument(
        "--stream",
        action="store_true",
        help="read TEXT from stdin as it comes, and let it grow on every replica until its end",
    )
    parser.add_argument(
        "--role",
        choices=("user", "assistant", "system", "developer"),
        default="user",
        help="who says TEXT (default: user)",
    )
    add_branch(parser)
    parser.add_argument("--author", help="a name to tell people and agents apart")
    parser.epilog = "Prints the id of the event once it is on disk."


def run(arguments: argparse.Namespace, output: Output) -> int:
    if arguments.stream:
        return asyncio.run(_stream(arguments, output))
    source = shown_name(arguments.json_message or STDIN)
    try:
        return asyncio.run(_run(arguments, _message(arguments), output))
    except InvalidMessage as error:
        raise CallerError(
            f"{source} is no message: {error.message}", hint=error.hint or _FORM
        ) from error
    except LimitExceeded as error:
        raise CallerError(
            f"the message is too large: {error.message}",
            hint=error.hint or "split it, or keep large data elsewhere and name it",
        ) from error


def _message(arguments: argparse.Namespace) -> Appendable:
    from weft_engine.formats.openai_chat import import_message

    if arguments.json_message is not None:
        return import_message(read_text(arguments.json_message, bytes_max=_BYTES_MAX))
    text = arguments.text
    if text == STDIN:
        text = read_text(STDIN, bytes_max=_BYTES_MAX)
    return {"role": arguments.role, "content": text}


async def _stream(arguments: argparse.Namespace, output: Output) -> int:
    from weft_server.cli.stdin_pieces import stdin_pieces

    async with await open_to_write(arguments.store) as replica:
        chat = replica.context(arguments.context)
        async with chat.stream(role=arguments.role, author=arguments.author) as stream:
            async for piece in stdin_pieces():
                await stream.write(piece)
            is_empty = not stream.text
    if is_empty:
        raise CallerError("nothing came on stdin", hint="pipe text into it")
    output.say(stream.id)
    output.data({"id": stream.id, "context": arguments.context})
    return 0


async def _run(arguments: argparse.Namespace, message: Appendable, output: Output) -> int:
    async with await open_to_write(arguments.store) as replica:
        context = await on_branch(replica.context(arguments.context), arguments.branch)
        (id_,) = await context.append(message, author=arguments.author)
    output.say(id_)
    output.data({"id": id_, "context": arguments.context})
    return 0
