"""`weft sync`: both directions, what it says, and how it ends when it can't."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command_line import conversation, record_set, weft
from tests.running_relay import RunningRelay, running_relay
from weft_server.door.token_keys import make_key_file

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("key") / "token.key"
    make_key_file(path)
    return path


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory, key_file: Path) -> Iterator[RunningRelay]:
    with running_relay(tmp_path_factory.mktemp("relay"), key=key_file) as found:
        yield found


@pytest.fixture(scope="module")
def token_file(tmp_path_factory: pytest.TempPathFactory, key_file: Path) -> Path:
    path = tmp_path_factory.mktemp("token") / "token"
    minted = weft("token", "--key", key_file, "--expires", "1h")
    assert minted.code == 0, minted.err
    path.write_text(minted.out)
    return path


def imported(store: Path, *lines: str) -> Path:
    source = store.with_suffix(".jsonl")
    source.write_text("\n".join(lines))
    assert weft("import", source, "--store", store).code == 0
    return store


def test_two_stores_meet_at_a_relay(relay: RunningRelay, token_file: Path, tmp_path: Path) -> None:
    one = imported(tmp_path / "one.db", conversation("a", "Hi", "Hello"), conversation("b", "Yo"))
    two = imported(tmp_path / "two.db", conversation("c", "Hej"))
    words = ("--url", relay.url, "--token-file", token_file, "--until-synced")
    for store in (one, two, one):
        run = weft("sync", "--store", store, *words)
        assert run.code == 0, run.err
        assert "in step" in run.out
    assert record_set(one) == record_set(two) == record_set(relay.store)
    said = weft("sync", "--store", two, *words, "--json").json()
    assert said["synced"] is True
    assert (said["contexts"], said["records_received"]) == (3, 0)
    for store in (one, two, relay.store):
        assert weft("verify", "--store", store).code == 0
    fingerprints = [weft("contexts", "--store", store, "--json").out for store in (one, two)]
    assert json.loads(fingerprints[0].splitlines()[0])


def test_it_needs_nothing_of_what_a_relay_needs(
    relay: RunningRelay, token_file: Path, tmp_path: Path
) -> None:
    """`pip install .` without the extra gives `weft sync`, too."""
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    packages = [re.split(r"[\[>=]", one)[0] for one in extra["optional-dependencies"]["server"]]
    missing = {"jwt" if name == "pyjwt" else name for name in packages} | {"httptools"}
    assert {"uvicorn", "starlette", "jwt"} <= missing
    store = imported(tmp_path / "one.db", conversation("extra", "Hi"))
    words = ["sync", "--store", str(store), "--until-synced", "--token-file", str(token_file)]
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({sorted(missing)!r}));"
        f" from weft_server.cli import main; sys.exit(main({[*words, relay.url]!r}))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "in step" in run.stdout


def test_of_several_relays_the_first_that_works_is_taken(
    relay: RunningRelay, token_file: Path, tmp_path: Path
) -> None:
    store = imported(tmp_path / "one.db", conversation("several", "Hi"))
    words = ("sync", "--store", store, "--token-file", token_file, "--until-synced", "--json")
    said = weft(*words, "ws://127.0.0.1:9", relay.url).json()
    assert said["url"].startswith(relay.url)
    assert record_set(store) <= record_set(relay.store)
    run = weft(*words)
    assert run.code == 1
    assert "no relay is named" in run.err


def test_a_refusal_is_said_and_nothing_was_sent(relay: RunningRelay, tmp_path: Path) -> None:
    store = imported(tmp_path / "one.db", conversation("refused", "Hi"))
    before = record_set(relay.store)
    words = ("sync", "--store", store, "--url", relay.url, "--until-synced")
    run = weft(*words, "--token", "wrong")
    assert run.code == 1
    assert "the token is refused" in run.err
    assert weft(*words).code == 1
    assert record_set(relay.store) == before


def test_a_relay_that_is_not_there_is_named_after_the_timeout(tmp_path: Path) -> None:
    store = imported(tmp_path / "one.db", conversation("a", "Hi"))
    words = ("--url", "ws://127.0.0.1:9", "--until-synced", "--timeout", "0.5")
    run = weft("sync", "--store", store, *words)
    assert run.code == 1
    assert "ws://127.0.0.1:9" in run.err
    assert "0.5 s" in run.err
    assert "nobody listens there; it is tried again" in run.err
    assert "Traceback" not in run.err


def test_what_the_token_does_not_cover_is_named(
    relay: RunningRelay, key_file: Path, tmp_path: Path
) -> None:
    store = imported(tmp_path / "one.db", conversation("mine/a", "Hi"), conversation("b", "Yo"))
    token = weft("token", "--key", key_file, "--context", "mine/").out.strip()
    words = ("sync", "--store", store, "--until-synced", "--token", token, relay.url)
    run = weft(*words)
    assert run.code == 0, run.err
    assert "1 context," in run.out
    assert "does not cover" in run.err
    assert "'b'" in run.err
    said = weft(*words, "--json").json()
    assert (said["contexts"], said["contexts_not_allowed"]) == (1, 1)
    assert weft(*words, "--prefix", "mine/").err == ""


def test_a_refusal_is_no_reason_to_wait_and_a_wrong_path_no_refused_token(
    relay: RunningRelay, tmp_path: Path
) -> None:
    store = imported(tmp_path / "one.db", conversation("a", "Hi"))
    run = weft("sync", "--store", store, "--until-synced", relay.url + "/elsewhere")
    assert run.code == 1
    assert "there is nothing at this path" in run.err
    assert "tried again" not in run.err
    tls = relay.url.replace("ws:", "wss:")
    run = weft("sync", "--store", store, "--until-synced", "--timeout", "1", tls)
    assert run.code == 1
    assert "there is no TLS at that port" in run.err


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--url", "ftp://host", "--until-synced"], 1),
        (["--url", "ws://host", "--until-synced", "--token-file", "/nowhere"], 1),
        (["--url", "ws://host", "--until-synced", "--timeout", "-1"], 2),
        (["--url", "http://host:7300", "--until-synced"], 1),
        (["--url", "ws://host"], 2),
    ],
)
def test_a_wrong_command_line_is_an_error(tmp_path: Path, words: list[str], code: int) -> None:
    run = weft("sync", "--store", tmp_path / "one.db", *words)
    assert run.code == code
    assert run.err
    assert "Traceback" not in run.err
