"""What is told to be installed is this code: the name weft belongs to another project on PyPI."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("docs", "examples", "client", "engine", "server")
_KINDS = {".py", ".md", ".service", ".js", ".html", ""}
_BY_NAME = re.compile(r"\bpip3? install (?:-\S+ )*['\"]?weft\b")


def test_nothing_tells_to_install_weft_by_its_name() -> None:
    told = [
        ROOT / "README.md",
        *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*")),
    ]
    files = [path for path in told if path.suffix in _KINDS and path.is_file()]
    assert len(files) > 300
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in files
        if "node_modules" not in path.parts
        for line in path.read_text().splitlines()
        if _BY_NAME.search(line)
    ]
    assert found == []
