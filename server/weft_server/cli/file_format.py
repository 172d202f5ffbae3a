"""The option that names the format of a file of conversations.

Must never know: what a format looks like.
"""

from __future__ import annotations

import argparse
from typing import Final

FILE_FORMATS: Final = ("openai", "responses", "anthropic", "ui")


def add_format(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--format",
        choices=FILE_FORMATS,
        default=FILE_FORMATS[0],
        help="of the messages: OpenAI chat, OpenAI Responses, Anthropic Messages, or UIMessages of"
        " the Vercel AI SDK (default: openai)",
    )
