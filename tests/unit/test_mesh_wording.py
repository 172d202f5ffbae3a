"""How the mesh is shown to people, and what is said when a relay can't be asked."""

from __future__ import annotations

from typing import Any

import pytest

from weft_engine.errors import CallerError
from weft_engine.sync.faults import LinkLost
from weft_server.mesh.asking import ask, mesh_url
from weft_server.mesh.wording import lines

FOUND: dict[str, Any] = {
    "region": "eu",
    "store": "ab" * 16,
    "now_ms": 1_700_000_000_000,
    "up_ms": 7_500_000,
    "position": 1_234_567,
    "contexts": 1000,
    "links": 12,
    "waiting": {"records": 3, "bytes": 999},
    "quarantine": {"entries": 2, "bytes": 10},
    "equivocations": {"contexts": 1, "looked_at": 0.5},
    "skewed": {"contexts": 4},
    "clock": {"offset_ms": -31_000, "peers": 2},
    "alarms": [{"kind": "clock", "text": "this relay's clock is wrong"}],
    "peers": [
        {
            "name": "us",
            "state": "live",
            "direction": "dialled",
            "lag_records": 1500,
            "lag_ms": 90_000,
            "behind_records": 0,
            "bytes_in": 1024,
            "bytes_out": 3 * 1024 * 1024,
            "records_in": 200,
            "copies_in": 50,
            "rtt_ms": 160.25,
            "clock_offset_ms": 40,
            "anti_entropy": {"at_ms": 1, "messages": 6, "bytes": 2000, "differed": 1},
        },
        {"name": "ap", "state": "refused", "why": "it is region sa", "hint": "put it right"},
    ],
    "regions": [
        {"name": "us", "lag_records": 1500, "lag_ms": 90_000, "heard_ms": 1_700_000_000_000},
        {"name": "za", "lag_records": 3, "lag_ms": 900, "heard_ms": 1_699_996_400_000},
        {"name": "zz"},
    ],
    "refused": [{"region": "ap", "place": "10.0.0.7", "why": "no right", "at_ms": 0}],
}


def test_the_account_has_a_line_for_each_thing() -> None:
    assert lines(FOUND) == [
        "region eu, store abababababababab, up 2 h: 1,234,567 records in 1,000 contexts, 12 open"
        " links",
        "waiting for their past 3, in quarantine 2, contexts with equivocations 1 (looked at 50%),"
        " with skewed clocks 4, own clock -31.0 s",
        "",
        "region  state    link     lacks     for  to come       in      out  twice"
        "       rtt   clock                         compared",
        "us      live     dialled  1,500  90.0 s        0  1.0 KiB  3.0 MiB    25%"
        "  160.2 ms  +40 ms  1 differed, 6 messages, 2.0 KiB",
        "ap      refused  -            -       -        -        -        -      -"
        "         -       -                                -",
        "ap: it is region sa (hint: put it right)",
        "",
        "region  lacks     for  last heard of",
        "us      1,500  90.0 s            now",
        "za          3  900 ms     60 min ago",
        "zz          -       -              -",
        "ALARM clock: this relay's clock is wrong",
        "refused, 1970-01-01T00:00:00Z: region ap at 10.0.0.7: no right",
    ]


def test_what_a_relay_leaves_out_is_not_known() -> None:
    told = lines({"region": "eu"})
    assert told[0] == "region eu, store -, up -: - records in - contexts, - open links"
    assert told[-1] == "no other region is configured, or has linked"


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("ws://h:7300", "http://h:7300/v1/mesh"),
        ("wss://h/weft/v1/sync", "https://h/weft/v1/mesh"),
        ("http://h:1/", "http://h:1/v1/mesh"),
        ("https://h/v1/mesh", "https://h/v1/mesh"),
    ],
)
def test_where_it_is_asked(url: str, asked: str) -> None:
    assert mesh_url(url) == asked


@pytest.mark.parametrize("url", ["h:7300", "ftp://h", "http://", "http://h:x", "ws://a:b@h"])
def test_what_is_no_address_is_named(url: str) -> None:
    with pytest.raises(CallerError, match="no address of a relay"):
        mesh_url(url)


def test_a_relay_that_is_not_there_is_said_to_be_so() -> None:
    with pytest.raises(LinkLost, match="can't be asked: nobody listens there"):
        ask("ws://127.0.0.1:1", None)
