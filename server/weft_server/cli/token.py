"""``weft token``: tokens that say what a client of a relay may do, and the key that signs them."""

from __future__ import annotations

import argparse
import re
import time
from pathlib import Path
from typing import Final

from weft_server.cli.output import Output
from weft_server.tokens import RIGHTS, make_key_file, mint, read_key

NAME: Final = "token"
HELP: Final = "mint a token for a relay's clients, or make the key that signs them"

_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_DURATION: Final = re.compile(r"([1-9][0-9]{0,6})([smhd])", re.ASCII)
_DEFAULT_RIGHTS: Final = ("read", "append")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--key",
        required=True,
        type=Path,
        metavar="FILE",
        help="the secret key, the same file that weft serve has as --token-key",
    )
    parser.add_argument(
        "--new-key",
        action="store_true",
        help="make the key file first, readable by you only; never overwrites one",
    )
    parser.add_argument(
        "--context",
        action="append",
        metavar="PREFIX",
        help="contexts whose names begin so; may be repeated (default: all contexts)",
    )
    for right in RIGHTS:
        parser.add_argument(
            f"--{right}", action="append_const", const=right, dest="rights", help=_HELP[right]
        )
    parser.add_argument(
        "--expires",
        type=duration_s,
        metavar="TIME",
        help="such as 12h or 30d; s, m, h, d (default: never)",
    )
    parser.epilog = (
        "Without any of --read, --append, --admin, --peer: read and append. Prints the token."
    )


_HELP: Final = {
    "read": "may read",
    "append": "may append, and erase what its bearer's own store wrote",
    "admin": "may erase what others wrote, notes and whole contexts",
    "peer": "may carry records of others, as another region does",
}


def run(arguments: argparse.Namespace, output: Output) -> int:
    if arguments.new_key:
        make_key_file(arguments.key)
        output.note(f"made the key {arguments.key}; keep it secret")
    prefixes = tuple(arguments.context or ("",))
    rights = tuple(dict.fromkeys(arguments.rights or _DEFAULT_RIGHTS))
    now_s = int(time.time())
    token = mint(
        read_key(arguments.key),
        prefixes=prefixes,
        rights=rights,
        expires_s=arguments.expires,
        now_s=now_s,
    )
    output.say(token)
    expires = None if arguments.expires is None else now_s + arguments.expires
    output.data({"token": token, "ctx": prefixes, "rights": rights, "exp": expires})
    return 0


def duration_s(text: str) -> int:
    found = _DURATION.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 90s, 45m, 12h or 30d")
    return int(found[1]) * _SECONDS[found[2]]
