"""`make bench` runs every benchmark, `make bench ONLY=name` one of them, and `ONLY=relay:part` one
part of a benchmark that has parts. Options, which begin with a dash, are for that one."""

from __future__ import annotations

import sys
from importlib import import_module

NAMES = ("local", "documents", "search", "streaming", "relay", "hostile", "restart", "mesh")
HAVE_PARTS = ("relay", "mesh")


def main() -> int:
    wanted = [one for one in sys.argv[1:] if not one.startswith("-")] or list(NAMES)
    options = [one for one in sys.argv[1:] if one.startswith("-")]
    unknown = [one for one in wanted if one.partition(":")[0] not in NAMES]
    if unknown:
        print(f"no benchmark named {', '.join(unknown)}; there are: {', '.join(NAMES)}")
        return 2
    failed = False
    for one in wanted:
        name, _, part = one.partition(":")
        print(f"## {one}")
        run = import_module(f"tests.bench.{name}").run
        has_parts = name in HAVE_PARTS
        failed |= not (run([*filter(None, part.split(",")), *options]) if has_parts else run())
    return int(failed)


sys.exit(main())
