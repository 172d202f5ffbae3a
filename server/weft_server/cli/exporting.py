"""``weft export``: contexts as JSON lines of the form that ``weft import`` reads."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Final

from weft_engine.errors import CallerError, NotFound
from weft_server.cli.branch_option import on_branch
from weft_server.cli.file_format import add_format
from weft_server.cli.output import Output
from weft_server.cli.store_file import add_prefix, add_store, open_to_read
from weft_server.cli.wording import counted

if TYPE_CHECKING:
    from weft_engine.replica.replica import Replica
    from weft_engine.storage.reading import ContextState

NAME: Final = "export"
HELP: Final = "write contexts as JSON lines, as they were imported where they were"

_PAGE: Final = 500


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_store(parser)
    add_prefix(parser)
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="write to this file, which appears when all of it is written (default: stdout)",
    )
    parser.add_argument(
        "--branch",
        metavar="BRANCH",
        help="a branch, by its id or name, of those contexts that have it (default: main)",
    )
    add_format(parser)
    parser.epilog = (
        'One line a context, {"id": ..., "messages": [...]}, in order of names: messages of the'
        " branch in reading order. What was imported from the format comes out as it was; the"
        ' rest is said in it as far as it can be. (anthropic adds "system", responses has "items"'
        ' or "input".) With --json and --output, a summary is printed.'
    )


def run(arguments: argparse.Namespace, output: Output) -> int:
    target: Path | None = arguments.output
    if target is None:
        asyncio.run(_export(arguments, output.json_line, output))
        return 0
    with _written(target, arguments.store) as write_line:
        count = asyncio.run(_export(arguments, write_line, output))
    output.say(f"exported {counted(count, 'context')} to {target}")
    output.data({"contexts": count})
    return 0


async def _export(
    arguments: argparse.Namespace, write_line: Callable[[str], None], output: Output
) -> int:
    from weft_engine.events.event import Message
    from weft_engine.formats.files import file_format, write_conversation
    from weft_server.cli.import_mark import rest_of

    format_ = file_format(arguments.format)
    count = 0
    async with await open_to_read(arguments.store) as replica:
        async for state in states(replica, arguments.prefix):
            try:
                context = await on_branch(replica.context(state.name), arguments.branch)
            except NotFound:
                continue
            rest = rest_of((await context.settings()).metadata)
            messages = [
                said.event.body
                async for said in context.history()
                if isinstance(said.event.body, Message)
            ]
            write_line(write_conversation(state.name, messages, rest, format_))
            context.let_go()
            count += 1
            if output.results_are_elsewhere:
                output.progress("exporting, contexts:", count)
    return count


async def states(replica: Replica, prefix: str) -> AsyncIterator[ContextState]:
    """All contexts whose names start with `prefix`, by name."""
    after = ""
    while page := await replica.contexts(prefix, after=after, limit=_PAGE):
        for state in page:
            yield state
        after = page[-1].name


@contextmanager
def _written(target: Path, store: Path) -> Iterator[Callable[[str], None]]:
    """Writes lines to a file beside `target` that takes its place when all went well."""
    if target.exists() and store.exists() and target.samefile(store):
        raise CallerError(f"{target} is the store itself", hint="give another file to --output")
    try:
        with NamedTemporaryFile(
            "w", dir=target.parent, prefix=f".{target.name}.", encoding="utf-8", delete=False
        ) as file:
            try:
                yield lambda text: print(text, file=file)
                file.flush()
                os.fsync(file.fileno())
                os.chmod(file.name, 0o666 & ~_umask())
                os.replace(file.name, target)
            except BaseException:
                os.unlink(file.name)
                raise
    except OSError as error:
        raise CallerError(
            f"{target} can't be written: {error.strerror}", hint="give a writable file"
        ) from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
