"""How a relay's account of the mesh is shown to people: lines of text, a table of the links.

Must never know: where the account is from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

_UNKNOWN: Final = "-"
_NOW_MS: Final = 1000
_COLUMNS: Final = (
    "region",
    "state",
    "link",
    "lacks",
    "for",
    "to come",
    "in",
    "out",
    "twice",
    "rtt",
    "clock",
    "compared",
)


def lines(found: Mapping[str, Any]) -> list[str]:
    """What `weft_server.mesh.status` says, for a terminal of 120 columns or so. Fields that an
    older or newer relay leaves out are shown as not known."""
    return [*_head(found), "", *_links(found), *_regions(found), *_wrong(found)]


# ---- inside ---------------------------------------------------------------------------------


def _head(found: Mapping[str, Any]) -> Iterator[str]:
    store = str(found.get("store") or _UNKNOWN)[:16]
    yield (
        f"region {found.get('region')}, store {store}, up {_time(found.get('up_ms'))}:"
        f" {_counted(found.get('position'), 'record')} in"
        f" {_counted(found.get('contexts'), 'context')},"
        f" {_counted(found.get('links'), 'open link')}"
    )
    waiting, kept = found.get("waiting") or {}, found.get("quarantine") or {}
    forks, skewed = found.get("equivocations") or {}, found.get("skewed") or {}
    clock = found.get("clock") or {}
    yield (
        f"waiting for their past {_count(waiting.get('records'))}, in quarantine"
        f" {_count(kept.get('entries'))}, contexts with equivocations"
        f" {_count(forks.get('contexts'))}{_part(forks.get('looked_at'))}, with skewed clocks"
        f" {_count(skewed.get('contexts'))}, own clock {_offset(clock.get('offset_ms'))}"
    )


def _links(found: Mapping[str, Any]) -> Iterator[str]:
    peers = found.get("peers") or []
    if not peers:
        yield "no other region is configured, or has linked"
        return
    yield from _table([_COLUMNS, *map(_link, peers)], texts=3)
    for peer in peers:
        if peer.get("why"):
            hint = f" (hint: {peer['hint']})" if peer.get("hint") else ""
            yield f"{peer['name']}: {peer['why']}{hint}"


def _link(peer: Mapping[str, Any]) -> Sequence[str]:
    """A line of the table; `lacks` and `for` are what the other region has not yet of ours, `to
    come` what is known not to be here of its."""
    copies, came = peer.get("copies_in"), peer.get("records_in")
    twice = f"{copies / came:.0%}" if copies is not None and came else _UNKNOWN
    rtt = peer.get("rtt_ms")
    return (
        str(peer.get("name")),
        str(peer.get("state")),
        peer.get("direction") or _UNKNOWN,
        _count(peer.get("lag_records")),
        _time(peer.get("lag_ms")),
        _count(peer.get("behind_records")),
        _size(peer.get("bytes_in")),
        _size(peer.get("bytes_out")),
        twice,
        _UNKNOWN if rtt is None else f"{rtt:.1f} ms",
        _offset(peer.get("clock_offset_ms")),
        _compared(peer.get("anti_entropy")),
    )


def _regions(found: Mapping[str, Any]) -> Iterator[str]:
    regions = found.get("regions") or []
    if regions:
        yield ""
        yield from _table(
            [
                ("region", "lacks", "for", "last heard of"),
                *[
                    (
                        str(one["name"]),
                        _count(one.get("lag_records")),
                        _time(one.get("lag_ms")),
                        _heard(one.get("heard_ms"), found.get("now_ms")),
                    )
                    for one in regions
                ],
            ]
        )


def _wrong(found: Mapping[str, Any]) -> Iterator[str]:
    for alarm in found.get("alarms") or []:
        yield f"ALARM {alarm['kind']}: {alarm['text']}"
    for one in found.get("refused") or []:
        when = datetime.fromtimestamp(one["at_ms"] / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        who = f"region {one['region']}" if one.get("region") else "somebody"
        yield f"refused, {when}: {who} at {one['place']}: {one['why']}"


def _table(rows: Sequence[Sequence[str]], *, texts: int = 1) -> Iterator[str]:
    """The first `texts` columns to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.ljust(width) if number < texts else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def _count(value: int | None) -> str:
    return _UNKNOWN if value is None else f"{value:,}"


def _counted(value: int | None, noun: str) -> str:
    return f"{_count(value)} {noun}{'' if value == 1 else 's'}"


def _part(looked_at: float | None) -> str:
    """That not all was looked at yet."""
    return "" if looked_at is None or looked_at >= 1 else f" (looked at {looked_at:.0%})"


def _time(ms: float | None) -> str:
    if ms is None:
        return _UNKNOWN
    if ms < 1000:
        return f"{ms:.0f} ms"
    seconds = ms / 1000
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} d"


def _heard(heard_ms: int | None, now_ms: int | None) -> str:
    if heard_ms is None or now_ms is None:
        return _UNKNOWN
    return "now" if now_ms - heard_ms < _NOW_MS else f"{_time(now_ms - heard_ms)} ago"


def _offset(ms: float | None) -> str:
    if ms is None:
        return _UNKNOWN
    return f"{ms:+.0f} ms" if abs(ms) < 1000 else f"{ms / 1000:+.1f} s"


def _size(value: float | None) -> str:
    if value is None:
        return _UNKNOWN
    unit = "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"


def _compared(cost: Mapping[str, Any] | None) -> str:
    if cost is None:
        return _UNKNOWN
    return (
        f"{cost.get('differed', 0):,} differed, {_counted(cost.get('messages', 0), 'message')},"
        f" {_size(cost.get('bytes', 0))}"
    )
