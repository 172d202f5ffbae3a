"""The folder of a local mesh as an argument, and asking the mesh that is up in it.

Must never know: what it is asked for.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Final

DEFAULT_FOLDER: Final = Path("weft-mesh")


def add_folder(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--folder",
        type=Path,
        default=DEFAULT_FOLDER,
        metavar="DIR",
        help="the folder of the mesh (%(default)s)",
    )


def ask_mesh(arguments: argparse.Namespace, do: str, **command: object) -> dict[str, Any]:
    """What the mesh in the folder answers. NotFound if none is up there."""
    from weft_server.local_mesh.control import ask
    from weft_server.local_mesh.plan import MeshFolder

    return ask(MeshFolder(arguments.folder), {"do": do, **command})
