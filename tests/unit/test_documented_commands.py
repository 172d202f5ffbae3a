"""Every `weft` command that the documentation shows is one that the command line takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from weft_server.cli import dispatch
from weft_server.cli.at import joined

ROOT = Path(__file__).parents[2]
FILES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted(path for path in (ROOT / "examples").rglob("*") if path.suffix in (".md", ".service")),
    ROOT / "examples" / "mesh" / "nginx.conf",
]
_COMMAND = re.compile(
    r"(?:^ {4,}(?:\w+\$ )?|^#\s+|&& |[\s|]/opt/weft/bin/|\| |^ExecStart=/\S+/)(weft .*)$"
)


def commands() -> Iterator[tuple[str, list[str]]]:
    """Where it stands, and its words."""
    for path in FILES:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            found = _COMMAND.search(line)
            if found is None or " ..." in line.partition(" #")[0]:
                continue
            lexer = shlex.shlex(found[1], posix=True, punctuation_chars=True)
            lexer.commenters = "#"
            lexer.whitespace_split = True
            words = []
            for word in lexer:
                if word and set(word) <= set("();<>|&"):
                    break
                words.append(word.strip("[]"))
            yield f"{path.relative_to(ROOT)}:{number}", words[1:]


FOUND = dict(commands())


def test_they_are_found() -> None:
    assert len(FOUND) > 45


@pytest.mark.parametrize("where", FOUND)
def test_it_is_taken(where: str) -> None:
    words = FOUND[where]
    module, _, name = dispatch.COMMANDS[words[0]].partition(":")
    command = import_module(module)
    parser = dispatch._parser({words[0]: getattr(command, name) if name else command})
    parser.parse_args(joined(words))
