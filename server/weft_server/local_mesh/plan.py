"""What a local mesh is made of, as a value and as the file ``plan.json``: regions, links, ports.

Must never know: processes, sockets, whether the mesh runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from weft_engine.errors import CallerError
from weft_engine.limits import MIB
from weft_server.local_mesh.proxy import HOST
from weft_server.local_mesh.topology import Pair, Topology, names_of, pairs_of

_FORMAT: Final = 1
_OWN: Final = ".mesh"
"""A name that no region can have."""
_FILE_BYTES_MAX: Final = MIB
_STORE: Final = "store"


@dataclass(frozen=True, slots=True)
class MeshPlan:
    """`ports`: where each region listens; one that is not named there gets a free one."""

    names: tuple[str, ...]
    topology: Topology
    ports: Mapping[str, int]

    @property
    def pairs(self) -> tuple[Pair, ...]:
        return pairs_of(self.topology, self.names)

    def neighbours(self, name: str) -> list[str]:
        """Whom a region is linked with, in the order of the mesh."""
        ends = [
            (pair.first, pair.second) for pair in self.pairs if name in (pair.first, pair.second)
        ]
        found = {other for two in ends for other in two if other != name}
        return [other for other in self.names if other in found]


@dataclass(frozen=True, slots=True)
class MeshFolder:
    """Where a local mesh keeps everything: a folder for each region, and files of its own."""

    path: Path

    @property
    def plan(self) -> Path:
        return self.path / _OWN / "plan.json"

    @property
    def lock(self) -> Path:
        return self.path / _OWN / "lock"

    @property
    def control(self) -> Path:
        """Where the running mesh says how it is spoken to."""
        return self.path / _OWN / "control.json"

    @property
    def log(self) -> Path:
        """What a mesh in the background says."""
        return self.path / _OWN / "log"

    def region(self, name: str) -> Path:
        return self.path / name

    def config(self, name: str) -> Path:
        return self.path / name / "weft.toml"

    def store(self, name: str) -> Path:
        return self.path / name / _STORE / "relay.db"

    def read_plan(self) -> MeshPlan | None:
        """What the folder was last used for; None if it never was. CallerError if the file says
        nothing that could be one."""
        try:
            text = self.plan.read_bytes()[: _FILE_BYTES_MAX + 1]
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            return _plan_of(json.loads(text))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, CallerError):
            raise CallerError(
                f"{self.plan} is not the plan of a mesh",
                hint="give another --folder, or remove the file; the stores stay",
            ) from None

    def write_plan(self, plan: MeshPlan) -> None:
        said = {
            "format": _FORMAT,
            "regions": list(plan.names),
            "topology": plan.topology.value,
            "ports": dict(plan.ports),
        }
        self.plan.parent.mkdir(parents=True, exist_ok=True)
        self.plan.write_text(json.dumps(said, indent=2) + "\n")


def region_config(name: str, port: int, peers: Mapping[str, str]) -> str:
    """The weft.toml of a region that listens on `port` and dials `peers`, addresses by name."""
    lines = [
        f"# Region {name} of a local mesh, written by weft mesh up. Everybody on this machine may",
        "# link with it; the addresses of peers are proxies, which are late and may be cut.",
        "[relay]",
        f'data = "{_STORE}"',
        f'listen = "{HOST}:{port}"',
        f'region = "{name}"',
        "insecure = true",
    ]
    for peer, url in peers.items():
        lines += ["", "[[peer]]", f'name = "{peer}"', f'url = "{url}"']
    return "\n".join(lines) + "\n"


def _plan_of(said: dict[str, Any]) -> MeshPlan:
    if said["format"] != _FORMAT:
        raise ValueError("another format")
    names = names_of(0, ",".join(said["regions"]))
    ports = {name: int(port) for name, port in said["ports"].items() if name in names}
    return MeshPlan(names, Topology(said["topology"]), ports)
