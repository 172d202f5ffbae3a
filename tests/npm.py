"""Packages of npm for tests and benchmarks: installed once into a cache, with exact versions.

npm is asked as this machine has it set up. Must never know: what the packages are for.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

CACHE: Final = Path(__file__).parents[1] / ".bench-cache"
_INSTALL_S: Final = 300


class NotInstalled(Exception):
    """Something can't be had here; the message says what npm or pip said."""


def installed(
    name: str, packages: Mapping[str, str], *, overrides: Mapping[str, str] | None = None
) -> Path:
    """The folder whose `node_modules` has these. Two processes may ask at once. NotInstalled if
    npm fails, or is not there."""
    package = {
        "name": "for-tests",
        "private": True,
        "type": "module",
        "dependencies": dict(packages),
        "overrides": dict(overrides or {}),
    }
    wanted = json.dumps(package, indent=2)
    digest = hashlib.sha256(wanted.encode()).hexdigest()[:12]
    place = re.sub("[^a-z0-9.]+", "-", name).strip("-")
    folder = CACHE / "npm" / f"{place}-{digest}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_name(folder.name + ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():
            return folder
        draft = folder.with_name(folder.name + ".new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        (draft / "package.json").write_text(wanted)
        # Native parts are for what is not used here (leveldown): no install scripts.
        quiet = ["--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"]
        patience = ["--fetch-retries=1", "--fetch-retry-mintimeout=500", "--fetch-timeout=60000"]
        call(["npm", "install", "--ignore-scripts", *quiet, *patience], draft)
        draft.rename(folder)
    return folder


def call(command: Sequence[str], folder: Path) -> None:
    """Run it in a folder. NotInstalled, with what it said last, if it fails."""
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_INSTALL_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalled(f"{command[0]}: {error}") from error
    if done.returncode:
        raise NotInstalled(f"{command[0]} failed: {done.stderr.strip()[-400:]}")
