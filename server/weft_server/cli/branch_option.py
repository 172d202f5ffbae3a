"""``--branch``: the branch that a command looks at, by its id or by a name that only one bears.

Must never know: what is shown of it.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from weft_engine.errors import CallerError, NotFound

if TYPE_CHECKING:
    from weft_engine.replica.context import Context


def add_branch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--branch",
        metavar="BRANCH",
        help="of a branch, by its id or name (default: main; `weft branches` lists them)",
    )


async def on_branch(context: Context, branch: str | None) -> Context:
    """The context of a branch, or of main. NotFound if there is none of that id or name,
    CallerError if several bear the name."""
    if branch is None:
        return context
    found = [one for one in await context.branches() if branch in (one.id, one.name)]
    if not found:
        raise NotFound(
            f"{context.name!r} has no branch {branch!r}",
            hint=f"weft branches {context.name} lists those it has",
        )
    if len(found) > 1:
        raise CallerError(
            f"{len(found)} branches of {context.name!r} are named {branch!r}",
            hint=f"give the id of one of them: {', '.join(one.id for one in found)}",
        )
    return context.on(found[0].id)
