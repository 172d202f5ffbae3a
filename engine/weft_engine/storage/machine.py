"""The machine a store is used on, and since when it runs.

Must never know: stores, leases.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_IDS: Final = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))
_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Machine:
    """`id` stays for the life of an installation; `boot` is another one after each start. A
    machine without a `boot` can't tell whether its disk was set back while it was off, so nothing
    is resumed on it."""

    id: str
    boot: str | None


def this_machine() -> Machine:
    """What the system says of itself; by its host name where it has no id."""
    ids = (_read(path) for path in _IDS)
    return Machine(next((id_ for id_ in ids if id_), f"host {os.uname().nodename}"), _read(_BOOT))


def _read(path: Path) -> str | None:
    """The word in a file of the system; None if there is none."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip() or None
    except OSError:
        return None
