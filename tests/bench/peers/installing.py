"""Installing the peers into a cache, each in a folder of its own, once for each list of versions.

npm and pip are asked as this machine has them set up. Must never know: how peers are started.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
import venv
from pathlib import Path

from tests import npm
from tests.bench.peers.catalogue import Peer
from tests.npm import CACHE, NotInstalled

__all__ = ["NotInstalled", "installed"]


def installed(peer: Peer) -> Path:
    """The folder with this peer in it. NotInstalled if npm or pip fail, or are not there."""
    if peer.npm:
        return npm.installed(peer.name, dict(peer.npm), overrides=dict(peer.overrides))
    wanted = repr((peer.pypi, sys.version_info[:2]))
    digest = hashlib.sha256(wanted.encode()).hexdigest()[:12]
    folder = CACHE / "peers" / f"{re.sub('[^a-z0-9.]+', '-', peer.name).strip('-')}-{digest}"
    if folder.exists():
        return folder
    draft = folder.with_name(folder.name + ".new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    print(f"installing {peer.name}", flush=True)
    # A venv knows its own path: it is made where it stays, and the folder is named when done.
    home = folder.with_name(folder.name + ".venv")
    shutil.rmtree(home, ignore_errors=True)
    venv.create(home, with_pip=True)
    npm.call([str(home / "bin" / "python"), "-m", "pip", "install", "-q", *peer.pypi], draft)
    (draft / "venv").symlink_to(home)
    draft.rename(folder)
    return folder
