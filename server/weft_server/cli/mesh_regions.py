"""``weft mesh kill`` and ``weft mesh start``: the regions of a local mesh, one by one."""

from __future__ import annotations

import argparse
from typing import Final

from weft_server.cli.mesh_folder import add_folder, ask_mesh
from weft_server.cli.output import Output


class _Kill:
    NAME: Final = "kill"
    HELP: Final = "end a region's process at once, with kill -9"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("region", metavar="A", help="its name")
        add_folder(parser)

    def run(self, arguments: argparse.Namespace, output: Output) -> int:
        said = ask_mesh(arguments, "kill", region=arguments.region)
        output.say(f"killed: {said['region']}, process {said['pid']}")
        output.data(said)
        return 0


class _Start:
    NAME: Final = "start"
    HELP: Final = "start a region again that was killed"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("region", metavar="A", help="its name")
        add_folder(parser)

    def run(self, arguments: argparse.Namespace, output: Output) -> int:
        said = ask_mesh(arguments, "start", region=arguments.region)
        output.say(f"started: {said['region']} at {said['url']}, process {said['pid']}")
        output.data(said)
        return 0


KILL: Final = _Kill()
START: Final = _Start()
