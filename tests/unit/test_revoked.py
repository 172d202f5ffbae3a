"""The list of revoked tokens: a line each, by hand or by command."""

from __future__ import annotations

from pathlib import Path

import pytest

from weft_engine.errors import CallerError
from weft_server.door.revoked import read_revoked, revoke, revoked_file


def test_what_is_revoked_is_on_the_list(tmp_path: Path) -> None:
    path = revoked_file(tmp_path)
    assert read_revoked(path) == frozenset()
    assert revoke(path, "one", remark="lost\nlaptop")
    assert not revoke(path, "one", remark="again")
    with path.open("a") as file:
        file.write("\n# by hand\ntwo\n three  # four\nopen-ended")
    assert revoke(path, "five", remark="")
    assert read_revoked(path) == {"one", "two", "three", "open-ended", "five"}
    assert path.read_text().startswith("one  # lost laptop\n")


def test_a_list_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text("one\ntwo words\n")
    with pytest.raises(CallerError, match=r"line 2 of .*list is no id"):
        read_revoked(path)
    with pytest.raises(CallerError, match="can't be read"):
        read_revoked(tmp_path)
    with pytest.raises(CallerError, match="can't be written"):
        revoke(tmp_path / "no" / "list", "one", remark="")
