"""``weft import``: conversations from a file into contexts.

Reads one conversation at a time (see `conversation_lines`); each is durable before the next is
read, so whatever stops the import, what was imported stays, and importing again goes on from there.
"""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from weft_engine.errors import CallerError, LimitExceeded, MachineError, WeftError
from weft_engine.limits import EVENT_BYTES_MAX, MIB
from weft_server.cli.conversation_lines import conversation_lines
from weft_server.cli.file_format import add_format
from weft_server.cli.input_file import open_input, shown_name
from weft_server.cli.output import Output
from weft_server.cli.store_file import add_store, open_to_write

if TYPE_CHECKING:
    from weft_engine.formats.files import Incoming
    from weft_engine.replica.context import Context
    from weft_engine.replica.replica import Replica

NAME: Final = "import"
HELP: Final = "import conversations from a file of JSON lines"

_AGAIN: Final = "correct the line and import the file again; what is stored already is not doubled"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file",
        metavar="FILE",
        help='one JSON object a line, {"id": ..., "messages": [...]} (also "system" for anthropic;'
        ' "items" or "input" for responses); the id names the context, other keys are kept for'
        " export; one object, or one array of them, over many lines is taken too; - reads stdin",
    )
    add_format(parser)
    add_store(parser)
    parser.epilog = (
        "Importing a file again, or a file that has grown, adds only what is new. A bad line stops"
        " the import; what came before it stays."
    )


@dataclass(slots=True)
class _Count:
    conversations: int = 0
    new: int = 0
    known: int = 0

    def __str__(self) -> str:
        told = f"conversations: {self.conversations:,}, new messages: {self.new:,}"
        return f"{told}, known already: {self.known:,}" if self.known else told


def run(arguments: argparse.Namespace, output: Output) -> int:
    source = shown_name(arguments.file)
    count = _Count()
    # Lines are read outside the loop: a read that waits for stdin must not keep Ctrl-C waiting.
    with open_input(arguments.file) as file, asyncio.Runner() as runner:
        replica = runner.run(open_to_write(arguments.store))
        try:
            for where, line in conversation_lines(file, source):
                try:
                    runner.run(_import_line(replica, line, arguments.format, count))
                except MachineError:
                    raise
                except WeftError as error:
                    raise CallerError(
                        f"{where}: {error.message}", hint=error.hint or _AGAIN
                    ) from error
                output.progress(f"importing {source}, conversations:", count.conversations)
        except (WeftError, KeyboardInterrupt):
            output.note(f"imported before it stopped: {count}")
            raise
        finally:
            runner.run(replica.close())
    nothing = "" if count.conversations else f" ({source} has no lines)"
    output.say(f"imported {source} into {arguments.store}: {count}{nothing}")
    output.data(
        {
            "conversations": count.conversations,
            "messages_new": count.new,
            "messages_known": count.known,
        }
    )
    return 0


async def _import_line(replica: Replica, line: str, format_name: str, count: _Count) -> None:
    from weft_engine.formats.files import file_format, read_conversation, write_conversation
    from weft_engine.formats.verbatim_json import parse_verbatim

    format_ = file_format(format_name)
    conversation = read_conversation(parse_verbatim(line), format_)
    messages = conversation.messages
    context = replica.context(conversation.id)
    rest = conversation.rest
    if rest is None and not messages:
        # Something must stand in a context, or it would not be there.
        rest = write_conversation(conversation.id, [], None, format_)
    metadata = await _new_metadata(replica, context, rest)
    try:
        new = await context.import_messages(messages)
    except LimitExceeded as error:
        raise LimitExceeded(
            f"{_path_of_largest(conversation)}: {error.message}",
            hint=f"one message may have {EVENT_BYTES_MAX // MIB} MiB of JSON; split it, or keep"
            " large data elsewhere and name it",
        ) from error
    if metadata is not None:
        await context.configure(metadata=metadata)
    count.conversations += 1
    count.new += new
    count.known += len(messages) - new


async def _new_metadata(replica: Replica, context: Context, rest: str | None) -> str | None:
    """The metadata that the context must get, None if it may stay as it is. Checked before
    anything of the line is written."""
    from weft_engine.events.codec import encode_event
    from weft_engine.events.event import Config, Event
    from weft_server.cli.import_mark import with_rest

    is_new = await replica.state(context.name) is None
    metadata = with_rest(None if is_new else (await context.settings()).metadata, rest)
    if metadata is not None:
        encode_event(Event("config", Config(metadata=metadata)))
    return metadata


def _path_of_largest(conversation: Incoming) -> str:
    """The path of the first message that no event can hold."""
    from weft_engine.events.codec import encode_event
    from weft_engine.events.event import Event

    for message, path in zip(conversation.messages, conversation.paths, strict=True):
        try:
            encode_event(Event(message.role.value, message))
        except LimitExceeded:
            return path
    return "$"
