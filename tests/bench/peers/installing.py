"""Installing the peers into a cache, each in a folder of its own, once for each list of versions.

npm and pip are asked as this machine has them set up. Must never know: how peers are started.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from tests.bench.peers.catalogue import Peer
from tests.bench.raw.client import CACHE

_INSTALL_S = 300


class NotInstalled(Exception):
    """A peer can't be had here; the message says what npm or pip said."""


def installed(peer: Peer) -> Path:
    """The folder with this peer in it. NotInstalled if npm or pip fail, or are not there."""
    wanted = repr((peer.npm, peer.overrides, peer.pypi, sys.version_info[:2]))
    digest = hashlib.sha256(wanted.encode()).hexdigest()[:12]
    folder = CACHE / "peers" / f"{re.sub('[^a-z0-9.]+', '-', peer.name).strip('-')}-{digest}"
    if folder.exists():
        return folder
    draft = folder.with_name(folder.name + ".new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    print(f"installing {peer.name}", flush=True)
    if peer.npm:
        package = {
            "name": "bench-peer",
            "private": True,
            "type": "module",
            "dependencies": dict(peer.npm),
            "overrides": dict(peer.overrides),
        }
        (draft / "package.json").write_text(json.dumps(package, indent=2))
        # Native parts are for what is not used here (leveldown): no install scripts.
        options = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
        _call(["npm", "install", *options], draft)
        draft.rename(folder)
    else:
        # A venv knows its own path: it is made where it stays, and the folder is named when done.
        home = folder.with_name(folder.name + ".venv")
        shutil.rmtree(home, ignore_errors=True)
        venv.create(home, with_pip=True)
        _call([str(home / "bin" / "python"), "-m", "pip", "install", "-q", *peer.pypi], draft)
        (draft / "venv").symlink_to(home)
        draft.rename(folder)
    return folder


def _call(command: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_INSTALL_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalled(f"{command[0]}: {error}") from error
    if done.returncode:
        raise NotInstalled(f"{command[0]} failed: {done.stderr.strip()[-400:]}")
