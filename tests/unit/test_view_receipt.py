"""Specs and receipts: portable, checked where they come in."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from weft_engine.canonical import canonical_json, parse_json
from weft_engine.errors import InvalidMessage, RendererMismatch
from weft_engine.names import RecordHash, context_name
from weft_engine.views.policies import LastN
from weft_engine.views.receipt import Receipt
from weft_engine.views.spec import ViewSpec, view_spec

SPEC = view_spec(budget=8_000, policy=LastN(40))
RECEIPT = Receipt(
    trace_id="req-1",
    context=context_name("acme/chat-42"),
    cut=(RecordHash(b"\1" * 32), RecordHash(b"\2" * 32)),
    spec=SPEC,
    fingerprint="ab" * 32,
)


def test_the_default_spec() -> None:
    assert SPEC.reserved == 1_000
    assert view_spec(budget=8_000).policy == LastN(400).choice()
    assert SPEC.canonical() == (
        b'{"as_of":null,"branch":null,"budget":8000,"format":"openai",'
        b'"media":{"audio":1500,"file":4000,"image":1445},'
        b'"policy":{"config":{"limit":40},"name":"last_n","version":1},'
        b'"renderer":2,"reserved":1000,"surplus":0,"tokenizer":{"name":"o200k_base",'
        b'"pattern":"2d1b8dc11e89af71459b36004f698ab3693f59fd84f63e8ec2b49564ab857420",'
        b'"vocabulary":"446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"},'
        b'"tools":null}'
    )


def test_round_trip_as_json_text() -> None:
    text = canonical_json(RECEIPT.to_json())
    assert Receipt.from_json(parse_json(text)) == RECEIPT
    assert ViewSpec.from_json(parse_json(SPEC.canonical())) == SPEC


def changed(change: Callable[[Any], object]) -> object:
    value = json.loads(canonical_json(RECEIPT.to_json()))
    change(value)
    return value


@pytest.mark.parametrize(
    ("path", "change"),
    [
        ("$", lambda v: v.pop("cut")),
        ("$", lambda v: v.update(more=1)),
        ("$.trace_id", lambda v: v.update(trace_id="")),
        ("$.context", lambda v: v.update(context="a//b")),
        ("$.fingerprint", lambda v: v.update(fingerprint="AB" * 32)),
        ("$.cut", lambda v: v.update(cut="")),
        ("$.cut", lambda v: v["cut"].reverse()),
        ("$.cut", lambda v: v["cut"].append(v["cut"][-1])),
        ("$.cut[1]", lambda v: v["cut"].__setitem__(1, "02")),
        ("$.spec", lambda v: v.update(spec=None)),
        ("$.spec", lambda v: v["spec"].pop("branch")),
        ("$.spec.renderer", lambda v: v["spec"].update(renderer=True)),
        ("$.spec.budget", lambda v: v["spec"].update(budget=0)),
        ("$.spec.budget", lambda v: v["spec"].update(budget=8000.0)),
        ("$.spec.reserved", lambda v: v["spec"].update(reserved=-1)),
        ("$.spec.format", lambda v: v["spec"].update(format="morse")),
        ("$.spec.branch", lambda v: v["spec"].update(branch="main")),
        ("$.spec.as_of", lambda v: v["spec"].update(as_of="now")),
        ("$.spec.tools", lambda v: v["spec"].update(tools="ab")),
        ("$.spec.media", lambda v: v["spec"].update(media={})),
        ("$.spec.media.image", lambda v: v["spec"]["media"].update(image=None)),
        ("$.spec.tokenizer.name", lambda v: v["spec"]["tokenizer"].update(name=3)),
        ("$.spec.tokenizer.pattern", lambda v: v["spec"]["tokenizer"].update(pattern="")),
        ("$.spec.policy.version", lambda v: v["spec"]["policy"].update(version="1")),
        ("$.spec.policy.config", lambda v: v["spec"]["policy"].update(config=[])),
    ],
)
def test_what_is_wrong_is_told_with_its_path(path: str, change: Callable[[Any], object]) -> None:
    with pytest.raises(InvalidMessage) as caught:
        Receipt.from_json(changed(change))
    assert caught.value.path == path


def test_another_renderer_is_told_whatever_else_it_wrote() -> None:
    def newer(value: Any) -> None:
        value["spec"] = {"renderer": 3, "something": "else"}

    with pytest.raises(RendererMismatch, match="renderer 3"):
        Receipt.from_json(changed(newer))


@pytest.mark.parametrize(("budget", "reserved"), [(0, None), (-8, None), (100, -1)])
def test_a_spec_is_checked_when_it_is_made(budget: int, reserved: int | None) -> None:
    with pytest.raises(InvalidMessage):
        view_spec(budget=budget, reserved=reserved)


@pytest.mark.parametrize("limit", [0, -1, 1.5, True])
def test_last_n_keeps_a_whole_number(limit: int) -> None:
    with pytest.raises(InvalidMessage, match="whole number"):
        LastN(limit)
