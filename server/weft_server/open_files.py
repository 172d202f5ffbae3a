"""How many files and connections this process may have open at once.

Must never know: what for.
"""

from __future__ import annotations

import resource

_BESIDE = 256
"""What is open besides connections: the store, its readers, what is refused and lingers."""


def make_room_for(connections: int) -> int:
    """Raise the process's limit as far as it may be and is needed; how many connections fit.
    Systems start a process with 1,024, and let it have more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _BESIDE
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return connections if soft == resource.RLIM_INFINITY else min(connections, soft - _BESIDE)
