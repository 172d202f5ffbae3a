"""From the words of a command line to the command that runs them, and from its end to an exit code.

A command is a module with

    NAME: str                                  the word after `weft`
    HELP: str                                  one line, shown by `weft --help`
    add_arguments(parser) -> None              `--json` is there already
    run(arguments, output) -> int              the exit code

or an object of a module with these, named in `COMMANDS` and imported only when it is wanted.
`weft --help` imports them all, so at its top a module imports nothing heavy and nothing of an
extra: what `run` needs, `run` imports.

Exit codes: 0 all is well, 1 the task failed, 2 the command line is wrong, 130 interrupted, 141
nobody reads the results any more. Must never know: what any command does.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Final, Protocol, cast

from weft_engine.errors import WeftError
from weft_server.cli.at import joined
from weft_server.cli.output import Output

COMMANDS: Final[Mapping[str, str]] = {
    name: f"weft_server.cli.{module}"
    for name, module in (
        ("import", "importing"),
        ("export", "exporting"),
        ("contexts", "contexts"),
        ("history", "history"),
        ("search", "searching"),
        ("watch", "watch"),
        ("view", "view"),
        ("configure", "configure"),
        ("replay", "replay"),
        ("diff", "diff"),
        ("note", "note"),
        ("append", "append"),
        ("compact", "compact"),
        ("summaries", "summaries"),
        ("fact", "facts:FACT"),
        ("facts", "facts:FACTS"),
        ("pin", "marking:PIN"),
        ("hide", "marking:HIDE"),
        ("revoke", "marking:REVOKE"),
        ("branch", "branch"),
        ("branches", "branches"),
        ("erase", "erase"),
        ("erasures", "erasures"),
        ("verify", "verify"),
        ("doctor", "doctor"),
        ("stats", "stats"),
        ("backup", "backup"),
        ("restore", "restore"),
        ("sync", "sync"),
        ("serve", "serve"),
        ("token", "token"),
        ("keys", "keys"),
        ("mesh", "mesh"),
        ("demo", "demo"),
    )
}
"""Every command by its word, in the order of `weft --help`."""

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_INTERRUPTED: Final = 130
EXIT_NOT_READ: Final = 141


class Command(Protocol):
    """What a command's module offers."""

    NAME: str
    HELP: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, arguments: argparse.Namespace, output: Output) -> int: ...


def main(argv: Sequence[str] | None = None) -> int:
    """Run `weft` with these words (by default those of the process); its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    wanted = [words[0]] if words and words[0] in COMMANDS else list(COMMANDS)
    commands = {name: _load(COMMANDS[name]) for name in wanted}
    parser = _parser(commands)
    if not words:
        parser.print_help()
        return EXIT_USAGE
    if words[0] in ("-V", "--version"):
        print(f"weft {_version()}")
        return EXIT_OK
    arguments = parser.parse_args(joined(words))
    _write_utf8()
    output = Output(results=sys.stdout, notes=sys.stderr, as_json=arguments.json)
    try:
        code = commands[arguments.command].run(arguments, output)
        output.flush()
        return code
    except WeftError as error:
        output.error(error)
        return EXIT_FAILED
    except KeyboardInterrupt:
        output.note("weft: interrupted; what was committed before is stored")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our results has read enough (`| head`). Python would complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_NOT_READ


def _load(where: str) -> Command:
    module, _, name = where.partition(":")
    loaded = import_module(module)
    return cast(Command, getattr(loaded, name) if name else loaded)


class _Parser(argparse.ArgumentParser):
    """Shows the usage of the command that was given too many words, not that of ``weft``."""

    def parse_known_args(  # type: ignore[override]
        self,
        args: Sequence[str] | None = None,
        namespace: argparse.Namespace | None = None,
    ) -> tuple[argparse.Namespace, list[str]]:
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown


def _parser(commands: Mapping[str, Command]) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="weft",
        description="An offline-first context store for LLM applications and agents.",
        epilog="weft COMMAND --help tells more about one command.",
    )
    parser.add_argument("-V", "--version", action="store_true", help="show the version and exit")
    choices = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in commands.items():
        told = command.HELP[:1].upper() + command.HELP[1:]
        sub = choices.add_parser(name, help=command.HELP, description=f"{told}.")
        sub.add_argument("--json", action="store_true", help="print JSON, for programs")
        command.add_arguments(sub)
    return parser


def _version() -> str:
    # Loads a parser of mail headers, which no other command should wait for.
    from importlib.metadata import version

    return version("weft")


def _write_utf8() -> None:
    """JSON is UTF-8 whatever the locale says, and no text may stop a command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
