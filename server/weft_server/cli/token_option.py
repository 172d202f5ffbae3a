"""The options that give a token for a relay. Must never know: what a token says."""

from __future__ import annotations

import argparse
from pathlib import Path

from weft_server.door.token_file import read_token


def add_token(parser: argparse.ArgumentParser) -> None:
    token = parser.add_mutually_exclusive_group()
    token.add_argument("--token", help="the token that the relay asks for")
    token.add_argument("--token-file", type=Path, metavar="FILE", help="a file with the token")


def token_of(arguments: argparse.Namespace) -> str | None:
    """The token that was given, if one was. CallerError if its file can't be read."""
    path: Path | None = arguments.token_file
    if path is None:
        token: str | None = arguments.token
        return token
    return read_token(path)
