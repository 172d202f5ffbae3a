"""``weft fact`` and ``weft facts``: saying what is known, and reading it."""

from __future__ import annotations

import argparse
import asyncio
import json
from typing import TYPE_CHECKING, Final

from weft_engine.canonical import parse_json
from weft_engine.errors import CallerError, InvalidMessage
from weft_server.cli.branch_option import add_branch, on_branch
from weft_server.cli.output import Output, one_line
from weft_server.cli.store_file import (
    add_context,
    add_store,
    held_context,
    open_to_read,
    open_to_write,
)

if TYPE_CHECKING:
    from weft_engine.replica.facts import KnownFact


class _Fact:
    NAME: Final = "fact"
    HELP: Final = "say what is known under a name"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_context(parser)
        parser.add_argument("name", metavar="NAME", help="such as user.city")
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument("text", nargs="?", metavar="TEXT", help="the value: a text")
        what.add_argument("--value", metavar="JSON", help="the value: any JSON but null")
        what.add_argument("--forget", action="store_true", help="withdraw what is known")
        add_store(parser)
        add_branch(parser)
        parser.add_argument(
            "--rule",
            help="what decides between facts that do not know of each other: last, first, max, min,"
            " union, keep_all (default: that of the fact before, else last)",
        )
        parser.add_argument("--crit", help="critical, important, enhancing or optional")
        parser.add_argument(
            "--expires", type=int, metavar="MS", help="milliseconds since 1970; views leave it out"
        )
        parser.add_argument("--author", help="a name to tell people and agents apart")
        parser.epilog = "Prints the id of the fact once it is on disk."

    def run(self, arguments: argparse.Namespace, output: Output) -> int:
        return asyncio.run(self._run(arguments, output))

    async def _run(self, arguments: argparse.Namespace, output: Output) -> int:
        value = None if arguments.forget else _value(arguments)
        async with await open_to_write(arguments.store) as replica:
            context = await on_branch(replica.context(arguments.context), arguments.branch)
            if arguments.forget:
                id_ = await context.forget_fact(arguments.name, author=arguments.author)
            else:
                id_ = await context.fact(
                    arguments.name,
                    value,
                    rule=arguments.rule,
                    crit=arguments.crit,
                    expires=arguments.expires,
                    author=arguments.author,
                )
        if id_ is None:
            output.note(f"nothing is known under {arguments.name!r}; nothing was written")
        else:
            output.say(id_)
        output.data({"id": id_, "name": arguments.name, "context": arguments.context})
        return 0


class _Facts:
    NAME: Final = "facts"
    HELP: Final = "show what is known in a context"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_context(parser)
        add_store(parser)
        add_branch(parser)
        parser.epilog = "With --json: an object a line, with the ids of the facts."

    def run(self, arguments: argparse.Namespace, output: Output) -> int:
        return asyncio.run(self._run(arguments, output))

    async def _run(self, arguments: argparse.Namespace, output: Output) -> int:
        async with await open_to_read(arguments.store) as replica:
            context = await held_context(replica, arguments)
            facts = await (await on_branch(context, arguments.branch)).facts()
        for fact in facts.values():
            _show(fact, output)
        if not facts and not output.as_json:
            output.note("no facts")
        return 0


def _value(arguments: argparse.Namespace) -> object:
    if arguments.value is None:
        return arguments.text
    try:
        value = parse_json(arguments.value, floats=True)
    except InvalidMessage as error:
        raise CallerError(
            f"--value is no JSON: {error.message}",
            hint="for a text, leave --value out, or put it in double quotes",
        ) from error
    if value is None:
        raise CallerError("null is no value of a fact", hint="to withdraw it, use --forget")
    return value


def _show(fact: KnownFact, output: Output) -> None:
    line = f"{fact.name}: {_json(fact.value)}"
    notes = [f"others say {', '.join(map(_json, fact.others))}"] if fact.others else []
    if not fact.merged:
        notes.append(f"no merge rule {fact.rule} here")
    if fact.crit is not None:
        notes.append(fact.crit.value)
    if fact.expires is not None:
        notes.append(f"until {fact.expires}")
    output.say(one_line(f"{line}  ({'; '.join(notes)})" if notes else line))
    output.data(
        {
            "name": fact.name,
            "value": fact.value,
            "others": fact.others,
            "rule": fact.rule,
            "merged": fact.merged,
            "crit": None if fact.crit is None else fact.crit.value,
            "expires": fact.expires,
            "ids": fact.ids,
        }
    )


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


FACT: Final = _Fact()
FACTS: Final = _Facts()
