"""``weft demo``: shows what Weft is for, with real processes, and proves it at the end.

Must never know: what is shown.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Final

from weft_engine.errors import MachineError, NotFound
from weft_server.cli.output import Output

if TYPE_CHECKING:
    from weft_server.demo.story import Ending

NAME: Final = "demo"
HELP: Final = "three regions and two devices, a partition, a kill, and all agree"

_TERMINATED: Final = 128 + signal.SIGTERM
_SHOWN: Final = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--input",
        type=Path,
        metavar="FILE",
        help="conversations as JSON lines, each with id and messages",
    )
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="DIR",
        help="keep all in this new folder; weft mesh up --folder DIR goes on with its regions",
    )


def run(arguments: argparse.Namespace, output: Output) -> int:
    try:
        return asyncio.run(_demo(arguments, output))
    except asyncio.CancelledError:
        output.note("weft: terminated; the processes of the demo have ended")
        return _TERMINATED
    except TimeoutError as error:
        raise MachineError(
            "a step of the demo took too long", hint="run it again on a machine that is less busy"
        ) from error


async def _demo(arguments: argparse.Namespace, output: Output) -> int:
    from weft_server.demo.stage import Stage
    from weft_server.demo.story import Story

    task = asyncio.current_task()
    assert task is not None, "a coroutine runs in a task"
    # As Ctrl-C does: end in order, with the processes and the folder.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    stage = Stage(output)
    with _input(arguments.input) as source, _folder(arguments.keep) as folder:
        output.say(f"weft demo: conversations from {source}")
        ending = await Story(stage, source, folder).tell()
    return _conclude(ending, stage.passed_s, output)


def _conclude(ending: Ending, took_s: float, output: Output) -> int:
    reading = ending.readings[0]
    output.data(
        {
            "converged": not ending.differences,
            "replicas": len(ending.readings),
            "contexts": len(reading.contexts),
            "events": reading.events,
            "view_fingerprint": reading.view_fingerprint,
            "differences": ending.differences,
            "records_at_kill": ending.at_kill,
            "records": ending.expected,
            "healed_seconds": round(ending.healed_s, 3),
            "seconds": round(took_s, 3),
        }
    )
    if ending.differences:
        for difference in ending.differences[:_SHOWN]:
            output.note(difference)
        raise MachineError(
            f"the replicas differ in {len(ending.differences)} places",
            hint="this is a bug: run it again with --keep DIR and report what is in there",
        )
    output.say()
    output.say(
        f"converged: {len(ending.readings)} replicas, {len(reading.contexts):,} contexts,"
        f" {reading.events:,} events, view fingerprint {reading.view_fingerprint}"
    )
    return 0


@contextmanager
def _input(given: Path | None) -> Iterator[Path]:
    """The file to import: the one given, the project's real data, or the sample that ships."""
    if given is not None:
        if not given.is_file():
            raise NotFound(f"there is no file {given}", hint="give a file of JSON lines")
        yield given
        return
    root = Path(__file__).resolve().parents[3]
    real = root.parent / "shared" / "data" / "agent-transcripts.jsonl"
    # Only from a checkout: an installed package has no folders around it that mean anything.
    if (root / "pyproject.toml").is_file() and real.is_file():
        yield real
        return
    with as_file(files("weft_server") / "samples" / "conversations.jsonl") as sample:
        yield sample


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="weft-demo-") as folder:
            yield Path(folder)
        return
    try:
        keep.mkdir(parents=True)
    except OSError as error:
        raise MachineError(
            f"the folder {keep} can't be made: {error}", hint="name a folder that is not there yet"
        ) from error
    yield keep
