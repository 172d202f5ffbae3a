"""What is imported and not touched is exported as an equal JSON value: key order, number text,
unknown keys and lone surrogates included. Importing again changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.command_line import TRANSCRIPTS, record_set
from weft_engine.formats.verbatim_json import Number, Verbatim, parse_verbatim, write_verbatim
from weft_engine.storage.verify import verify
from weft_server.cli import main
from weft_server.cli.import_mark import rest_of, with_rest

Members = dict[str, Verbatim]

TEXT = st.text(max_size=12)
NUMBERS = st.sampled_from(["0", "-0", "1.0", "1e5", "1E+2", "12345678901234567890", "0.10"])
SCALARS: st.SearchStrategy[Verbatim] = st.one_of(
    st.none(), st.booleans(), TEXT, NUMBERS.map(Number)
)
VALUES: st.SearchStrategy[Verbatim] = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


@st.composite
def shuffled(draw: st.DrawFn, members: st.SearchStrategy[Members]) -> Members:
    items = list(draw(members).items())
    return dict(draw(st.permutations(items)))


def message(required: dict[str, st.SearchStrategy[Verbatim]]) -> st.SearchStrategy[Members]:
    extra = st.dictionaries(st.sampled_from(["x_meta", "weight", "", "é"]), VALUES, max_size=2)
    known = st.fixed_dictionaries(required)
    return shuffled(st.builds(lambda a, b: {**b, **a}, known, extra))


CALL: st.SearchStrategy[Verbatim] = st.fixed_dictionaries(
    {
        "id": st.sampled_from(["c1", "c2"]),
        "type": st.just("function"),
        "function": st.fixed_dictionaries({"name": TEXT, "arguments": TEXT}),
    }
)
MESSAGES: st.SearchStrategy[list[Verbatim]] = st.lists(
    st.one_of(
        message({"role": st.sampled_from(["user", "system", "developer"]), "content": TEXT}),
        message({"role": st.just("assistant"), "content": st.one_of(st.none(), TEXT)}),
        message(
            {
                "role": st.just("assistant"),
                "content": st.none(),
                "tool_calls": st.lists(CALL, min_size=1, max_size=2),
            }
        ),
        message(
            {
                "role": st.just("tool"),
                "tool_call_id": st.sampled_from(["c1", "c2"]),
                "content": TEXT,
            }
        ),
    ),
    max_size=6,
)
REST = st.dictionaries(
    st.text(max_size=6).filter(lambda key: key not in ("id", "messages")), VALUES, max_size=3
)


@st.composite
def conversations(draw: st.DrawFn) -> list[str]:
    """Lines of one file, with different ids."""
    names = draw(st.lists(st.sampled_from(["a", "a/b", "B", "é", "7", "-1.50"]), max_size=4))
    lines = []
    for name in dict.fromkeys(names):
        numeric = name[-1].isdigit() and draw(st.booleans())
        members: Members = {
            "id": Number(name) if numeric else name,
            "messages": draw(MESSAGES),
            **draw(REST),
        }
        order = draw(st.permutations(list(members))) if draw(st.booleans()) else list(members)
        lines.append(write_verbatim({key: members[key] for key in order}))
    return lines


def in_order_of_names(lines: list[str]) -> list[str]:
    def name(line: str) -> bytes:
        tree = parse_verbatim(line)
        assert isinstance(tree, dict)
        return write_verbatim(tree["id"]).strip('"').encode()

    return sorted(lines, key=name)


def round_trip(folder: Path, lines: list[str], again: Callable[[Path], None]) -> list[str]:
    store, source, target = folder / "s.db", folder / "in.jsonl", folder / "out.jsonl"
    source.write_bytes("".join(line + "\n" for line in lines).encode())
    assert main(["import", str(source), "--store", str(store)]) == 0
    again(store)
    assert main(["export", "--store", str(store), "--output", str(target)]) == 0
    return target.read_bytes().decode().split("\n")[:-1]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(conversations())
def test_export_gives_back_what_was_imported(lines: list[str]) -> None:
    with TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as name:
        folder = Path(name)

        def import_again(store: Path) -> None:
            before = record_set(store)
            assert main(["import", str(folder / "in.jsonl"), "--store", str(store)]) == 0
            assert record_set(store) == before

        exported = round_trip(folder, lines, import_again)
        assert exported == in_order_of_names(lines)
        assert main(["verify", "--store", str(folder / "s.db")]) == 0


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(MESSAGES, REST, REST, st.data())
def test_a_file_that_has_grown_ends_as_if_it_had_always_been_so(
    messages: list[Verbatim],
    rest: Members,
    later_rest: Members,
    data: st.DataObject,
) -> None:
    cut = data.draw(st.integers(0, len(messages)))
    early = write_verbatim({"id": "a", "messages": messages[:cut], **rest})
    late = write_verbatim({"id": "a", "messages": messages, **later_rest})
    with TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as name:
        folder = Path(name)

        def import_late(store: Path) -> None:
            source = folder / "late.jsonl"
            source.write_bytes(f"{late}\n".encode())
            assert main(["import", str(source), "--store", str(store)]) == 0

        assert round_trip(folder, [early], import_late) == [late]


def test_real_transcripts_come_back_equal(tmp_path: Path) -> None:
    if not TRANSCRIPTS.is_file():
        pytest.skip(f"no transcripts at {TRANSCRIPTS}")
    lines = TRANSCRIPTS.read_bytes().decode().splitlines()
    exported = round_trip(tmp_path, lines, lambda store: None)
    as_text = {json.loads(line)["id"]: write_verbatim(parse_verbatim(line)) for line in lines}
    assert exported == [as_text[name] for name in sorted(as_text)]
    report = verify(tmp_path / "s.db", progress=lambda *_: None)
    assert report.events == sum(len(json.loads(line)["messages"]) for line in lines)


@given(st.none() | st.just('{"title":1.0}'), st.none() | TEXT.map(json.dumps))
def test_metadata_of_others_is_left_alone(metadata: str | None, rest: str | None) -> None:
    marked = with_rest(metadata, rest)
    now = metadata if marked is None else marked
    assert rest_of(now) == rest
    assert with_rest(now, rest) is None
    if metadata is not None:
        unmarked = now if rest is None else with_rest(now, None)
        assert unmarked == metadata
