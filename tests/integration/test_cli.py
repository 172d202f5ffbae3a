"""The command `weft` as a user meets it."""

from __future__ import annotations

import json
import os
import pty
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.command_line import WEFT, Run, conversation, opened, weft
from weft_server.cli import main
from weft_server.cli.dispatch import COMMANDS
from weft_server.door.token_keys import read_keys
from weft_server.door.tokens import check


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Three contexts, imported."""
    file = tmp_path / "in.jsonl"
    names = ("acme/b", "acme/a", "zoo")
    file.write_text("".join(f"{conversation(name, 'hello', 'hi', 'bye')}\n" for name in names))
    assert main(["import", str(file), "--store", str(tmp_path / "s.db")]) == 0
    return tmp_path / "s.db"


class Here:
    """`weft` in this process, which is quicker."""

    def __init__(self, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.store = store
        self._capsys = capsys

    def __call__(self, *words: str) -> Run:
        self._capsys.readouterr()
        code = main([*words, "--store", str(self.store)])
        shown = self._capsys.readouterr()
        return Run(code, shown.out, shown.err)


@pytest.fixture
def here(store: Path, capsys: pytest.CaptureFixture[str]) -> Here:
    return Here(store, capsys)


# ---- help -----------------------------------------------------------------------------------


def test_help_names_every_command() -> None:
    told = weft("--help")
    assert told.code == 0
    for name in COMMANDS:
        assert f"\n    {name} " in told.out
    assert weft("--version").out.startswith("weft 0.")
    assert weft().code == 2


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert f"usage: weft {name}" in told
    assert "--json" in told


@pytest.mark.parametrize(
    ("command", "more", "unknown"),
    [
        ("mesh kill", "a b", "b"),
        ("token show", "x y z", "y z"),
        ("view", "acme/chat --store s.db --none", "--none"),
    ],
)
def test_too_many_words_show_the_usage_of_their_command(
    command: str, more: str, unknown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([*command.split(), *more.split()])
    said = capsys.readouterr().err
    assert f"usage: weft {command} [" in said
    assert f"weft {command}: error: unrecognized arguments: {unknown}\n" in said


def test_help_loads_no_engine_and_no_extra() -> None:
    code = (
        "import sys; sys.argv = ['weft', '--help']\n"
        "from weft_server.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'pycrdt', 'tiktoken', 'nacl', 'cryptography', 'starlette', 'uvicorn', 'jwt'}\n"
        "heavy.add('sqlite3')\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip() == "[]"


# ---- reading --------------------------------------------------------------------------------


def test_contexts(here: Here) -> None:
    lines = here("contexts", "--json").lines()
    assert [line["context"] for line in lines] == ["acme/a", "acme/b", "zoo"]
    assert [line["messages"] for line in lines] == [3, 3, 3]
    assert len({line["fingerprint"] for line in lines}) == 3
    some = here("contexts", "--prefix", "acme/", "--json").lines()
    assert [line["context"] for line in some] == ["acme/a", "acme/b"]
    assert "       3  20" in here("contexts").out
    none = here("contexts", "--prefix", "nobody")
    assert none.code == 0
    assert "no contexts whose names begin with 'nobody'" in none.err


def said(run: Run) -> list[str]:
    return [line["event"]["parts"][0]["text"] for line in run.lines()]


def test_history(here: Here) -> None:
    assert said(here("history", "zoo", "--json")) == ["hello", "hi", "bye"]
    assert said(here("history", "zoo", "--json", "--reverse")) == ["bye", "hi", "hello"]
    assert said(here("history", "zoo", "--json", "--limit", "1")) == ["hello"]
    assert said(here("history", "zoo", "--json", "--limit", "1", "--reverse")) == ["bye"]
    shown = here("history", "zoo").out
    assert shown.index("    hello") < shown.index("    hi") < shown.index("    bye")


def test_history_of_events_both_ways(here: Here) -> None:
    for text in ("1", "2", "3"):
        here("append", "zoo", text)
    words = ("history", "zoo", "--events", "--json")
    ids = [line["id"] for line in here(*words).lines()]
    back = [line["id"] for line in here(*words, "--reverse").lines()]
    assert len(ids) == 6
    assert ids == back[::-1] == sorted(ids)


def test_long_histories_come_in_pages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, long = tmp_path / "long.jsonl", tmp_path / "long.db"
    file.write_text(conversation("long", *(str(number) for number in range(450))))
    here = Here(long, capsys)
    assert here("import", str(file)).code == 0
    expected = [str(number) for number in range(450)]
    for events in ([], ["--events"]):
        assert said(here("history", "long", "--json", *events)) == expected
        assert said(here("history", "long", "--json", "--reverse", *events)) == expected[::-1]


def test_history_lists_what_is_no_event(here: Here) -> None:
    with opened(here.store) as connection:
        connection.execute(
            "INSERT INTO problems SELECT id, 1, 7, 0, 'bad', 'why' FROM contexts WHERE name = 'zoo'"
        )
    assert "1 entries are no events" in here("history", "zoo").err
    assert "'bad': why" in here("history", "zoo", "--events").out


def test_a_message_can_not_steer_the_terminal(here: Here) -> None:
    here("append", "zoo", "\x1b[2Jgone\x07", "--author", "me\x1b[1m\nfake")
    for words in (("history", "zoo"), ("view", "zoo"), ("history", "zoo", "--events")):
        shown = here(*words).out
        assert "\x1b" not in shown
        assert "\\x1b[2Jgone\\x07" in shown
    assert said(here("history", "zoo", "--json"))[-1] == "\x1b[2Jgone\x07"


def test_view(here: Here) -> None:
    view = here("view", "zoo", "--json", "--budget", "1000", "--reserve", "100").json()
    assert sorted(view) == [
        "fingerprint",
        "messages",
        "needs_compaction",
        "receipt",
        "used_tokens",
    ]
    assert [message["content"] for message in view["messages"]] == ["hello", "hi", "bye"]
    assert view["receipt"]["fingerprint"] == view["fingerprint"]
    assert view["receipt"]["spec"]["reserved"] == 100
    assert 0 < view["used_tokens"] <= 900
    assert view["needs_compaction"] is False
    shown = here("view", "zoo").out
    assert "zoo: 3 messages" in shown
    assert f"{view['used_tokens']} tokens used" in shown


def test_reading_takes_no_lock_and_makes_no_writer(here: Here) -> None:
    before = here.store.read_bytes()
    for words in (["contexts"], ["history", "zoo"], ["view", "zoo"], ["export"], ["verify"]):
        assert here(*words).code == 0
    assert here.store.read_bytes() == before


# ---- writing --------------------------------------------------------------------------------


def test_append(here: Here, tmp_path: Path) -> None:
    id_ = here("append", "new/chat", "hi there").out.strip()
    told = here("append", "new/chat", "well?", "--role", "assistant", "--author", "bot", "--json")
    assert told.json()["context"] == "new/chat"
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    file = tmp_path / "m.json"
    file.write_text(json.dumps({"role": "assistant", "content": None, "tool_calls": [call]}))
    here("append", "new/chat", "--json-message", str(file))
    file.write_text(json.dumps({"role": "tool", "tool_call_id": "c1", "content": "42"}))
    here("append", "new/chat", "--json-message", str(file))
    events = [line["event"] for line in here("history", "new/chat", "--json").lines()]
    assert [event["role"] for event in events] == ["user", "assistant", "assistant", "tool"]
    assert [event["author"] for event in events] == ["user", "bot", "assistant", "tool"]
    assert here("history", "new/chat", "--json").lines()[0]["id"] == id_
    assert events[3]["parts"][0]["call"][1] == 0
    assert here("verify").code == 0


def test_append_from_stdin_is_as_it_is(store: Path, here: Here) -> None:
    assert weft("append", "zoo", "-", "--store", store, stdin=" é\n\n".encode()).code == 0
    assert said(here("history", "zoo", "--json"))[-1] == " é\n\n"
    refused = weft("append", "zoo", "-", "--store", store, stdin=b"\xff")
    assert refused.code == 1
    assert "stdin is no UTF-8" in refused.err


def test_import_from_stdin_with_a_byte_order_mark(tmp_path: Path) -> None:
    line = conversation("a", "x").encode()
    told = weft("import", "-", "--store", tmp_path / "s.db", stdin=b"\xef\xbb\xbf" + line + b"\r\n")
    assert told.code == 0
    assert "imported stdin" in told.out
    assert weft("export", "--store", tmp_path / "s.db").lines() == [json.loads(line)]


def test_export_has_what_was_added(here: Here, tmp_path: Path) -> None:
    here("append", "acme/a", "one more")
    lines = here("export").lines()
    assert [line["id"] for line in lines] == ["acme/a", "acme/b", "zoo"]
    assert lines[0]["messages"][-1] == {"role": "user", "content": "one more"}
    target = tmp_path / "out.jsonl"
    told = here("export", "--prefix", "acme/", "--output", str(target), "--json")
    assert told.json() == {"contexts": 2}
    assert [json.loads(line) for line in target.read_text().splitlines()] == lines[:2]


# ---- tokens ---------------------------------------------------------------------------------


def test_token(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = tmp_path / "key"
    words = ["token", "--key", str(key)]
    assert main([*words, "--new-key", "--context", "acme/", "--admin", "--expires", "2h"]) == 0
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    now_s = int(time.time())
    grant = check(read_keys(key), capsys.readouterr().out.strip(), now_s)
    assert grant.prefixes == ("acme/",)
    assert grant.rights == {"admin"}
    assert grant.expires_s is not None
    assert 7_100 < grant.expires_s - now_s <= 7_200
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["ctx"], told["rights"], told["exp"]) == ([""], ["read", "write"], None)
    assert main([*words, "--new-key"]) == 1
    assert "exists already" in capsys.readouterr().err


def test_without_the_library_the_extra_is_named(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['jwt'] = None\n"
        "from weft_server.cli import main\n"
        f"sys.exit(main(['token', '--new-key', '--key', {str(tmp_path / 'key')!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "hint: pip install '.[server]'" in done.stderr


# ---- as a process ---------------------------------------------------------------------------


def test_a_reader_that_has_read_enough(tmp_path: Path) -> None:
    file, store = tmp_path / "in.jsonl", tmp_path / "s.db"
    file.write_text("".join(f"{conversation(f'c{n}', 'x' * 50_000)}\n" for n in range(20)))
    assert weft("import", file, "--store", store).code == 0
    for words in (["export"], ["history", "c0", "--full", "--json"], ["contexts"]):
        process = subprocess.Popen(
            [*WEFT, *words, "--store", store], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1)
        process.stdout.close()
        assert process.stderr.read() == b""
        process.stderr.close()
        # 0 if all fitted into the pipe before its end went away.
        assert process.wait(30) == 141 or words != ["export"]


def test_interrupting_an_import_keeps_what_was_imported(tmp_path: Path) -> None:
    store = tmp_path / "s.db"
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*WEFT, "import", "-", "--store", store], stdin=subprocess.PIPE, stderr=theirs
    )
    os.close(theirs)
    assert process.stdin is not None
    process.stdin.write(f"{conversation('a', 'x', 'y')}\n".encode())
    process.stdin.flush()
    shown = b""
    # The progress of a terminal tells when the line is in.
    while b"conversations: 1" not in shown:
        shown += os.read(ours, 4096)
    for _ in range(6):
        process.send_signal(signal.SIGINT)
        try:
            code = process.wait(5)
            break
        except subprocess.TimeoutExpired:
            # Python notices a signal before a read of stdin or in it, not between: press it again.
            continue
    else:
        process.kill()
        code = process.wait()
    assert code == 130
    process.stdin.close()
    shown += os.read(ours, 4096)
    os.close(ours)
    assert b"imported before it stopped: conversations: 1, new messages: 2" in shown
    assert b"Traceback" not in shown
    assert weft("verify", "--store", store).code == 0
    assert [line["context"] for line in weft("contexts", "--json", "--store", store).lines()] == [
        "a"
    ]
