"""Imports point one way, client -> engine <- server, and the engine's pure modules stay pure."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "weft": ROOT / "client" / "weft",
    "weft_engine": ROOT / "engine" / "weft_engine",
    "weft_server": ROOT / "server" / "weft_server",
}
MAY_IMPORT = {
    "weft": {"weft", "weft_engine"},
    "weft_engine": {"weft_engine"},
    "weft_server": {"weft_server", "weft_engine"},
}
PURE_FOLDERS = ("records", "events", "views", "yjs", "formats")
PURE_FILES = (
    "sync/framing/fields.py",
    "sync/framing/frames.py",
    "sync/framing/link_frames.py",
    "sync/framing/region_frames.py",
    "sync/framing/wire.py",
    "sync/framing/fragments.py",
    "sync/framing/messages.py",
    "sync/end/session.py",
    "sync/end/subject.py",
    "sync/end/comparison.py",
    "sync/end/resuming.py",
    "sync/end/rounds.py",
    "sync/end/incoming.py",
    "sync/end/following.py",
    "sync/end/outgoing.py",
    "sync/end/regions/between_regions.py",
    "sync/end/receiving.py",
    "sync/end/pending.py",
    "sync/end/composed.py",
    "sync/end/head.py",
    "sync/end/sending.py",
    "sync/end/outbox.py",
    "sync/end/acks.py",
    "sync/end/asking.py",
    "sync/end/cursors.py",
    "sync/end/link_cursors.py",
    "sync/end/tickets.py",
    "sync/end/confirming.py",
    "sync/end/progress.py",
    "sync/end/ending.py",
    "sync/end/pulse.py",
    "replica/wall_clock.py",
    "replica/covering.py",
    "replica/open_calls.py",
    "replica/siblings.py",
    "storage/search_query.py",
    "storage/search_snippet.py",
    "storage/search_text.py",
    "storage/search_words.py",
)
DRIVING = (
    *("link", "carrying", "answering", "distance", "waiting", "taking", "turns", "link_store"),
    *("hub", "forwarding", "pulls", "kept_tree", "keeping"),
)
"""The files of `sync/driving/` that know tasks."""
IMPURE = {"asyncio", "time", "random", "os", "socket", "secrets", "datetime"}
IMPURE |= {"sqlite3", "subprocess", "tempfile", "uuid"}
OF_THIS_PYTHON = {"locale", "unicodedata"}
OF_THIS_PYTHON_CALLS = {"casefold", "hash"}


def imported(path: Path) -> Iterator[str]:
    """The modules that a file imports, anywhere in it, by their full names."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where they lead"
            assert node.module is not None
            yield node.module


def called(path: Path) -> Iterator[str]:
    """The names of the functions and methods that a file calls."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        match node:
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
                yield name
            case _:
                pass


def top(module: str) -> str:
    return module.partition(".")[0]


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_only_what_they_may(package: str) -> None:
    files = sorted(PACKAGES[package].rglob("*.py"))
    assert files, f"{package} is where this test looks for it"
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in files
        for module in imported(path)
        if top(module) in PACKAGES and top(module) not in MAY_IMPORT[package]
    ]
    assert not wrong


def test_pure_modules_take_time_randomness_and_the_world_as_arguments() -> None:
    engine = PACKAGES["weft_engine"]
    files = [path for folder in PURE_FOLDERS for path in sorted((engine / folder).rglob("*.py"))]
    files += [engine / name for name in PURE_FILES]
    assert len(files) > len(PURE_FOLDERS) + len(PURE_FILES)
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in files
        for module in imported(path)
        if top(module) in IMPURE
    ]
    assert not wrong


def test_a_session_knows_nothing_of_what_drives_it() -> None:
    engine = PACKAGES["weft_engine"]
    files = [engine / name for name in PURE_FILES if name.startswith("sync/")]
    driving = {f"weft_engine.sync.driving.{name}" for name in DRIVING}
    assert all((engine / "sync" / "driving" / f"{name}.py").exists() for name in DRIVING)
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in files
        for module in imported(path)
        if module in driving
    ]
    assert not wrong


def test_what_makes_views_is_the_same_on_every_python() -> None:
    files = [
        path
        for folder in PURE_FOLDERS
        for path in sorted((PACKAGES["weft_engine"] / folder).rglob("*.py"))
    ]
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in files
        for module in imported(path)
        if top(module) in OF_THIS_PYTHON
    ]
    wrong += [
        f"{path.relative_to(ROOT)} calls {name}"
        for path in files
        for name in called(path)
        if name in OF_THIS_PYTHON_CALLS
    ]
    assert not wrong


def test_the_engine_opens_no_sockets() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in sorted(PACKAGES["weft_engine"].rglob("*.py"))
        for module in imported(path)
        if top(module) in {"socket", "ssl", "websockets", "uvicorn", "starlette", "http"}
    ]
    assert not wrong


def test_every_import_is_of_a_declared_dependency() -> None:
    declared = {"pycrdt", "websockets", "aiosqlite", "msgpack", "tiktoken", "bpe_openai"}
    declared |= {"nacl", "cryptography", "rfc8785", "starlette", "uvicorn", "uvloop", "jwt"}
    known = declared | set(sys.stdlib_module_names) | set(PACKAGES)
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for folder in PACKAGES.values()
        for path in sorted(folder.rglob("*.py"))
        for module in imported(path)
        if top(module) not in known
    ]
    assert not wrong
