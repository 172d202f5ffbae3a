"""`make bench` runs every benchmark, `make bench ONLY=name` one of them."""

from __future__ import annotations

import sys
from importlib import import_module

NAMES = ("local", "documents", "search", "streaming", "hostile", "restart")


def main() -> int:
    wanted = sys.argv[1:] or list(NAMES)
    unknown = [name for name in wanted if name not in NAMES]
    if unknown:
        print(f"no benchmark named {', '.join(unknown)}; there are: {', '.join(NAMES)}")
        return 2
    failed = False
    for name in wanted:
        print(f"## {name}")
        failed |= not import_module(f"tests.bench.{name}").run()
    return int(failed)


sys.exit(main())
