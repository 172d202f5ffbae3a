"""``weft mesh cut`` and ``weft mesh heal``: breaking links of a local mesh, and mending them."""

from __future__ import annotations

import argparse
from typing import Final

from weft_engine.errors import CallerError
from weft_server.cli.mesh_folder import add_folder, ask_mesh
from weft_server.cli.output import Output

_SIDE: Final = "a region, or several with commas"


class _Cut:
    NAME: Final = "cut"
    HELP: Final = "let nothing pass between regions"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("one", metavar="A", help=_SIDE)
        parser.add_argument("other", metavar="B", nargs="?", help=f"{_SIDE} (default: all others)")
        how = parser.add_mutually_exclusive_group()
        how.add_argument(
            "--one-way", action="store_true", help="only what A sends to B; B still reaches A"
        )
        how.add_argument(
            "--reset",
            action="store_true",
            help="end the connections at once and refuse new ones, instead of silence",
        )
        add_folder(parser)
        parser.epilog = (
            "Connections stay open and silent, as when a cable is pulled: nothing is lost, and what"
            " waits arrives when they are healed, unless an end gave up before. weft mesh cut r1"
            " takes r1 off the network; weft mesh cut r1,r2 r3,r4 makes two halves."
        )

    def run(self, arguments: argparse.Namespace, output: Output) -> int:
        if arguments.one_way and arguments.other is None:
            raise CallerError(
                "--one-way needs two sides", hint="weft mesh cut A B --one-way cuts from A to B"
            )
        said = ask_mesh(
            arguments,
            "cut",
            one=arguments.one,
            other=arguments.other,
            one_way=arguments.one_way,
            reset=arguments.reset,
        )
        output.say(f"cut: {', '.join(said['cut'])}")
        output.data(said)
        return 0


class _Heal:
    NAME: Final = "heal"
    HELP: Final = "mend what was cut between regions, or all of it"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("one", metavar="A", nargs="?", help=f"{_SIDE} (default: all links)")
        parser.add_argument("other", metavar="B", nargs="?", help=f"{_SIDE} (default: all others)")
        add_folder(parser)
        parser.epilog = "Regions that were killed stay down: weft mesh start brings them back."

    def run(self, arguments: argparse.Namespace, output: Output) -> int:
        said = ask_mesh(arguments, "heal", one=arguments.one, other=arguments.other)
        output.say(f"healed: {', '.join(said['healed'])}" if said["healed"] else "nothing was cut")
        output.data(said)
        return 0


CUT: Final = _Cut()
HEAL: Final = _Heal()
