"""``weft mesh status --url``: how the mesh is as one relay knows it, wherever that runs.

Must never know: what the relay's answer means.
"""

from __future__ import annotations

import argparse
from typing import Final

from weft_server.cli.output import Output, one_line
from weft_server.cli.token_option import add_token, token_of

NAME: Final = "status"
HELP: Final = "show how the mesh is, as one relay knows it"

_TIMEOUT_S: Final = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that name a relay, and the token for it."""
    parser.add_argument(
        "--url",
        metavar="URL",
        help="a relay, such as ws://127.0.0.1:7300 or https://eu.example.com",
    )
    add_token(parser)


def run(arguments: argparse.Namespace, output: Output) -> int:
    from weft_server.mesh.asking import ask
    from weft_server.mesh.wording import lines

    found = ask(arguments.url, token_of(arguments), timeout_s=_TIMEOUT_S)
    output.data(found)
    for line in lines(found):
        output.say(one_line(line))
    return 0
