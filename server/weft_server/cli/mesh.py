"""``weft mesh``: a mesh of regions on this machine, and how the regions of any mesh are.

Its subcommands are modules, or objects of them, shaped as `dispatch` describes. Must never know:
what any of them does.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Final, cast

from weft_server.cli.output import Output

if TYPE_CHECKING:
    from weft_server.cli.dispatch import Command

NAME: Final = "mesh"
HELP: Final = "try out a mesh of regions on this machine, and see how regions are"

_SUBCOMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "up": ("mesh_up", "UP"),
    "cut": ("mesh_network", "CUT"),
    "heal": ("mesh_network", "HEAL"),
    "kill": ("mesh_regions", "KILL"),
    "start": ("mesh_regions", "START"),
    "status": ("mesh_overview", "STATUS"),
    "down": ("mesh_up", "DOWN"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "weft mesh up --regions 5 --topology ring --delay-ms 80 --loss 0.01 starts five relays,"
        " each with a store, and a slow network between them; the other commands act on it from"
        " another terminal."
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name in _SUBCOMMANDS:
        command = _load(name)
        told = command.HELP[:1].upper() + command.HELP[1:]
        sub = actions.add_parser(name, help=command.HELP, description=f"{told}.")
        sub.add_argument(
            "--json", action="store_true", default=argparse.SUPPRESS, help="print JSON"
        )
        command.add_arguments(sub)


def run(arguments: argparse.Namespace, output: Output) -> int:
    return _load(arguments.action).run(arguments, output)


def _load(name: str) -> Command:
    module, attribute = _SUBCOMMANDS[name]
    return cast("Command", getattr(import_module(f"weft_server.cli.{module}"), attribute))
