"""Every limit, named in one place, with its unit last.

The first group is part of the format: replicas must agree on them, so they never change without
a new format version. The others are local and may differ between replicas.
"""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

# ---- constants of the format ----------------------------------------------------------------

FORMAT_VERSION: Final = 1
CONTEXT_NAME_BYTES_MAX: Final = 256
NOTE_NAME_BYTES_MAX: Final = 128
EVENT_BYTES_MAX: Final = 8 * MIB
NATIVE_PAYLOAD_BYTES_MAX: Final = 16 * MIB
FOREIGN_PAYLOAD_BYTES_MAX: Final = 64 * MIB
STRUCTS_PER_PAYLOAD_MAX: Final = 4_000_000
NESTING_DEPTH_MAX: Final = 64
DEPS_MAX: Final = 1024
SEEN_MAX: Final = 64
PARTS_MAX: Final = 1024
FRAME_BYTES_MAX: Final = 256 * KIB
INTEGER_MAX: Final = 2**53 - 1

# ---- local ----------------------------------------------------------------------------------

IMPORT_PAYLOAD_BYTES: Final = 64 * KIB
"""Imported conversations are cut into records of about this size, so that reading one event
never means reading megabytes around it."""
BATCH_ITEMS_MAX: Final = 256
"""Requests that share one commit of the journal."""
BATCH_BYTES_MAX: Final = 8 * MIB
QUEUED_BYTES_MAX: Final = 64 * MIB
"""Payload bytes handed to the journal and not committed yet; a writer above it waits."""
WAITING_RECORDS_MAX: Final = 4096
"""Parked records per session that came before what they depend on."""
WAITING_BYTES_MAX: Final = 64 * MIB
CLOCK_SKEW_MS_MAX: Final = 60_000
"""A record further ahead of our clock than this is flagged and moves no clock."""
