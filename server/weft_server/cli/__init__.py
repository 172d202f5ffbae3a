"""The command `weft`: a friendly shell over the library. One file per command."""

from weft_server.cli.dispatch import main

__all__ = ["main"]
