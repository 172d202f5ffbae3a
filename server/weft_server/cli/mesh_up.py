"""``weft mesh up`` and ``weft mesh down``: a local mesh as a process, here or in the background."""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from weft_engine.errors import CallerError, MachineError
from weft_server.cli.mesh_folder import add_folder, ask_mesh
from weft_server.cli.output import Output
from weft_server.cli.wording import counted

if TYPE_CHECKING:
    from weft_server.local_mesh.mesh import LocalMesh
    from weft_server.local_mesh.plan import MeshFolder, MeshPlan

_REGIONS: Final = 3
_TOPOLOGY: Final = "full"
_TOPOLOGIES: Final = ("full", "ring", "star", "line")
_PORT_MAX: Final = 65_535
_MBIT: Final = 1_000_000 / 8
_LETTING_GO_S: Final = 15.0
_INTERRUPTED: Final = 130


class _Up:
    NAME: Final = "up"
    HELP: Final = "start a mesh of regions on this machine, with a bad network between them"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        who = parser.add_mutually_exclusive_group()
        who.add_argument("--regions", type=int, metavar="N", help=f"how many ({_REGIONS})")
        who.add_argument("--names", metavar="A,B,C", help="their names (r1, r2, ...)")
        parser.add_argument(
            "--topology",
            choices=_TOPOLOGIES,
            help=f"who is linked with whom ({_TOPOLOGY}); in a star, all with the first",
        )
        parser.add_argument(
            "--delay-ms",
            type=float,
            default=0.0,
            metavar="MS",
            help="of each link, one way (%(default)g)",
        )
        parser.add_argument(
            "--loss",
            type=float,
            default=0.0,
            metavar="SHARE",
            help="of segments that have to be sent again, 0.01 is one of a hundred (%(default)g)",
        )
        parser.add_argument(
            "--mbit", type=float, metavar="MBIT", help="bandwidth of a connection each way, Mbit/s"
        )
        parser.add_argument(
            "--port",
            type=int,
            metavar="PORT",
            help="the first region listens there, the next at the next; 0: free ones (default:"
            " those of the last time, or free ones)",
        )
        parser.add_argument(
            "-d", "--detach", action="store_true", help="run in the background, until mesh down"
        )
        add_folder(parser)
        parser.epilog = (
            "Regions take everybody on this machine, without a token. A folder that was used before"
            " is gone on with, regions and topology as they were unless others are given; regions"
            " that it has keep their stores and ports. The network is as it is given, every time."
            " Each link goes through a proxy; clients reach a region without it. Loss is a stall of"
            " a retransmission timeout (200 ms and a round trip), as TCP makes of it."
        )

    def run(self, arguments: argparse.Namespace, output: Output) -> int:
        from weft_server.local_mesh.lock import locked
        from weft_server.local_mesh.plan import MeshFolder
        from weft_server.local_mesh.supervisor import supervise
        from weft_server.local_mesh.wire import Conditions

        folder = MeshFolder(arguments.folder)
        plan = _plan(arguments, folder)
        bandwidth = None if arguments.mbit is None else arguments.mbit * _MBIT
        conditions = Conditions(arguments.delay_ms / 1000, arguments.loss, bandwidth)
        if arguments.detach:
            with locked(folder):
                pass
            return _detached(arguments, folder, output)

        def announce(mesh: LocalMesh) -> None:
            from weft_server.local_mesh.supervisor import mesh_status

            said = mesh_status(mesh)
            _show(said, output)
            output.say("Ctrl-C, or weft mesh down, ends it")
            output.data(said)
            output.flush()

        try:
            asyncio.run(supervise(folder, plan, conditions, announce=announce, tell=output.note))
        except asyncio.CancelledError:
            output.note("weft: interrupted before the mesh was up; what was started has ended")
            return _INTERRUPTED
        output.note("the mesh is down; the stores stay")
        return 0


class _Down:
    NAME: Final = "down"
    HELP: Final = "end the mesh; its stores stay"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--remove", action="store_true", help="delete the regions' folders and stores, too"
        )
        add_folder(parser)

    def run(self, arguments: argparse.Namespace, output: Output) -> int:
        from weft_engine.errors import NotFound
        from weft_server.local_mesh.lock import locked
        from weft_server.local_mesh.plan import MeshFolder

        folder = MeshFolder(arguments.folder)
        was_up = True
        try:
            ask_mesh(arguments, "down")
        except NotFound:
            if not arguments.remove or folder.read_plan() is None:
                raise
            was_up = False
        # The process has answered, and is about to end.
        with locked(folder, wait_s=_LETTING_GO_S):
            if arguments.remove:
                _remove(folder)
        output.say(
            f"the mesh in {folder.path} "
            + ("is down" if was_up else "was down")
            + (", and removed" if arguments.remove else "; the stores stay")
        )
        left = sorted(one.name for one in folder.path.iterdir()) if folder.path.is_dir() else []
        if arguments.remove and left:
            output.say(f"what was not of this mesh stays in {folder.path}: {', '.join(left)}")
        output.data({"folder": str(folder.path), "was_up": was_up, "removed": arguments.remove})
        return 0


def _plan(arguments: argparse.Namespace, folder: MeshFolder) -> MeshPlan:
    """What is asked for, over what the folder was last used for."""
    from weft_server.local_mesh.plan import MeshPlan
    from weft_server.local_mesh.topology import Topology, names_of

    last = folder.read_plan()
    if last is None and folder.path.exists() and not folder.path.is_dir():
        raise CallerError(f"{folder.path} is no folder", hint="give another --folder")
    names = last.names if last is not None else names_of(_REGIONS, None)
    if arguments.names is not None or arguments.regions is not None:
        names = names_of(arguments.regions or 0, arguments.names)
    topology = last.topology if last is not None else Topology(_TOPOLOGY)
    if arguments.topology is not None:
        topology = Topology(arguments.topology)
    plan = MeshPlan(names, topology, {} if last is None else last.ports)
    if arguments.port is None:
        return plan
    first = arguments.port
    if not 0 <= first <= _PORT_MAX - len(names):
        raise CallerError(f"{first} is no port to begin with", hint="give 0, or one from 1024 on")
    ports = {name: first + place for place, name in enumerate(names)} if first else {}
    return replace(plan, ports=ports)


def _detached(arguments: argparse.Namespace, folder: MeshFolder, output: Output) -> int:
    """The same command in a process of its own; return when its mesh is up."""
    from weft_server.local_mesh.process import last_error

    words = [sys.executable, "-m", "weft_server", "mesh", "up", "--json"]
    for name in ("regions", "names", "topology", "delay_ms", "loss", "mbit", "port", "folder"):
        value = getattr(arguments, name)
        if value is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    with folder.log.open("wb") as log:
        mesh = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
    assert mesh.stdout is not None, "started with a pipe"
    try:
        with mesh.stdout as announced:
            line = announced.readline()
    except BaseException:
        # Ctrl-C here is not heard there.
        mesh.terminate()
        raise
    if not line:
        code = mesh.wait()
        said, hint = last_error(folder.log.read_bytes())
        raise MachineError(
            f"the mesh is not up, exit code {code}: {said}",
            hint=hint or f"the regions' logs are in {folder.path}",
        )
    # It is to outlive this process, whose end would otherwise be warned of.
    mesh.returncode = 0
    status = json.loads(line)
    _show(status, output)
    output.say(f"weft mesh down --folder {folder.path} ends it; its log is {folder.log}")
    output.data(status)
    return 0


def _show(status: dict[str, Any], output: Output) -> None:
    regions = status["regions"]
    output.say(
        f"{counted(len(regions), 'region')}, {status['topology']}, {status['delay_ms']:g} ms one"
        f" way, loss {status['loss']:g}, in {status['folder']}"
    )
    for region in regions:
        output.say(
            f"  {region['name']:<8} {region['url']}  process {region['pid']:<7} peers"
            f" {' '.join(region['peers']) or 'none'}"
        )


def _remove(folder: MeshFolder) -> None:
    """Delete what a mesh made in `folder`, and the folder if nothing else is in it."""
    plan = folder.read_plan()
    if plan is None:
        raise CallerError(f"there is no mesh in {folder.path}", hint="nothing was removed")
    for name in plan.names:
        shutil.rmtree(folder.region(name), ignore_errors=True)
    shutil.rmtree(folder.lock.parent, ignore_errors=True)
    if not any(folder.path.iterdir()):
        folder.path.rmdir()


UP: Final = _Up()
DOWN: Final = _Down()
