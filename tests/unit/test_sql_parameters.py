"""Python 3.12 warns of numbered SQL parameters that get a sequence, and 3.14 refuses them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import weft_engine

NUMBERED = re.compile(r"[ (]\?\d")


def test_sql_parameters_have_no_numbers() -> None:
    files = sorted(Path(weft_engine.__file__).parent.rglob("*.py"))
    assert files
    wrong = [
        f"{path.name}:{node.lineno} {node.value!r}"
        for path in files
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path)))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and NUMBERED.search(node.value)
    ]
    assert not wrong
