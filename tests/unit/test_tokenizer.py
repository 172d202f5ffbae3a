"""Tokenizers: tiktoken's counts from installed files, without a network, loaded when needed."""

from __future__ import annotations

import gzip
import hashlib
import importlib
import subprocess
import sys
import textwrap
from importlib.util import find_spec
from pathlib import Path

import pytest
import tiktoken
import tiktoken.load

from weft_engine.errors import TokenizerMissing
from weft_engine.views.slot import INTERRUPTED, INTERRUPTED_TOKENS
from weft_engine.views.tokenizer import (
    CL100K_BASE,
    DEFAULT_TOKENIZER,
    EXACT_CHARS_MAX,
    KNOWN,
    O200K_BASE,
    Tokenizer,
    TokenizerId,
    tokenizer_id,
)

SAMPLES = [
    "",
    " ",
    "hello world",
    "It's 12345 o'clock; WE'LL see!\r\n\n\t  indented\n",
    "<|endoftext|> is text here",
    "日本語のテキスト、emoji 👩‍👩‍👧 and a\u0301ccents",
    '{"flight": "HAT001", "passengers": [{"first_name": "Mia"}]}',
    "x" * 5_000 + " " * 5_000 + "y",
    "\x00\x1c\u2028\u3000",
]


def installed_data() -> Path:
    package = find_spec("bpe_openai")
    assert package is not None
    assert package.submodule_search_locations
    return Path(package.submodule_search_locations[0]) / "data"


def pinned_encoding(name: str, monkeypatch: pytest.MonkeyPatch) -> tiktoken.Encoding:
    """tiktoken's own definition of the encoding, its download answered from the installed file."""

    def read_installed(address: str) -> bytes:
        packed = installed_data() / f"{address.rpartition('/')[2]}.gz"
        return gzip.decompress(packed.read_bytes())

    monkeypatch.setattr(tiktoken.load, "read_file", read_installed)
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "")
    public = importlib.import_module("tiktoken_ext.openai_public")
    return tiktoken.Encoding(**public.ENCODING_CONSTRUCTORS[name]())


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_is_the_encoding_that_tiktoken_defines(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pinned = pinned_encoding(name, monkeypatch)  # tiktoken checks the vocabulary's SHA-256 itself
    counter = Tokenizer(KNOWN[name])
    for sample in SAMPLES:
        assert counter.count(sample) == len(pinned.encode_ordinary(sample)), sample


def test_ids_name_the_content() -> None:
    assert DEFAULT_TOKENIZER == O200K_BASE == tokenizer_id("o200k_base")
    for known in (O200K_BASE, CL100K_BASE):
        packed = installed_data() / f"{known.name}.tiktoken.gz"
        content = gzip.decompress(packed.read_bytes())
        assert hashlib.sha256(content).hexdigest() == known.vocabulary


def test_pattern_digests_are_those_of_tiktokens_patterns(monkeypatch: pytest.MonkeyPatch) -> None:
    # If a newer tiktoken spells a pattern differently, look whether it still splits the same way.
    for known in (O200K_BASE, CL100K_BASE):
        pattern = pinned_encoding(known.name, monkeypatch)._pat_str
        assert hashlib.sha256(pattern.encode()).hexdigest() == known.pattern


@pytest.mark.parametrize(
    "wrong",
    [
        TokenizerId("p50k_base", O200K_BASE.vocabulary, O200K_BASE.pattern),
        TokenizerId("o200k_base", CL100K_BASE.vocabulary, O200K_BASE.pattern),
        TokenizerId("o200k_base", O200K_BASE.vocabulary, CL100K_BASE.pattern),
    ],
)
def test_never_substitutes(wrong: TokenizerId) -> None:
    with pytest.raises(TokenizerMissing) as caught:
        Tokenizer(wrong)
    assert "o200k_base" in caught.value.hint


def test_unknown_name() -> None:
    with pytest.raises(TokenizerMissing, match="gpt-9"):
        tokenizer_id("gpt-9")


@pytest.mark.parametrize("name", sorted(KNOWN))
@pytest.mark.parametrize("character", [" ", "a", "\n", "é"])
def test_a_long_run_is_counted_and_never_too_low(name: str, character: str) -> None:
    counter = Tokenizer(KNOWN[name])
    longest = character * (EXACT_CHARS_MAX - 1) + "x"
    exact = counter.count(longest)
    beyond = counter.count(longest + character)
    assert 0 < exact <= beyond == len((longest + character).encode())


def run_python(code: str, *, first_on_path: Path | None = None) -> str:
    start = f"import sys\nsys.path.insert(0, {str(first_on_path)!r})\n" if first_on_path else ""
    done = subprocess.run(
        [sys.executable, "-c", start + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_never_touches_the_network_and_loads_only_what_it_counts_with(tmp_path: Path) -> None:
    out = run_python(
        f"""
        import os, socket, sys
        def forbidden(*_, **__):
            raise AssertionError("the network was asked")
        socket.socket = socket.create_connection = socket.getaddrinfo = forbidden
        os.environ["TIKTOKEN_CACHE_DIR"] = {str(tmp_path)!r}
        from weft_engine.views.tokenizer import KNOWN, Tokenizer
        from weft_engine.views import view
        counters = [Tokenizer(known) for known in KNOWN.values()]
        assert [counter.count("") for counter in counters] == [0, 0]
        assert "tiktoken" not in sys.modules
        print([counter.count("hello world") for counter in counters])
        assert "bpe_openai" not in sys.modules
        """
    )
    assert out == "[2, 2]\n"
    assert list(tmp_path.iterdir()) == []


def test_many_threads_may_count_first() -> None:
    out = run_python(
        """
        import threading
        from concurrent.futures import ThreadPoolExecutor
        from weft_engine.views.tokenizer import O200K_BASE, Tokenizer
        ready = threading.Barrier(8)
        def count(_):
            ready.wait()
            return Tokenizer(O200K_BASE).count("one two three")
        with ThreadPoolExecutor(8) as pool:
            print(set(pool.map(count, range(8))))
        """
    )
    assert out == "{3}\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "can't be read"),
        (b"no gzip", "can't be read"),
        (gzip.compress(b"AA== 0\n")[:-4], "can't be read"),
        (gzip.compress(b"AA== 0\n"), "another vocabulary"),
    ],
    ids=["absent", "no gzip", "torn", "other"],
)
def test_a_missing_or_other_vocabulary_is_told(
    content: bytes | None, said: str, tmp_path: Path
) -> None:
    data = tmp_path / "bpe_openai" / "data"
    data.mkdir(parents=True)
    (tmp_path / "bpe_openai" / "__init__.py").touch()
    if content is not None:
        (data / "o200k_base.tiktoken.gz").write_bytes(content)
    out = run_python(
        """
        from weft_engine.errors import TokenizerMissing
        from weft_engine.views.tokenizer import O200K_BASE, Tokenizer
        try:
            Tokenizer(O200K_BASE).count("x")
        except TokenizerMissing as error:
            print(error.message, "|", error.hint)
        """,
        first_on_path=tmp_path,
    )
    assert said in out
    assert "install" in out


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_the_remark_on_a_waiting_call_was_counted_right(name: str) -> None:
    assert INTERRUPTED_TOKENS[name] == Tokenizer(KNOWN[name]).count(INTERRUPTED)
