"""Tokenizers: how many tokens a string costs, the same number on every replica.

The vocabularies are the files that the package bpe-openai installs; they are checked against the
digests that tiktoken pins and loaded at the first count that needs them. Must never know: the
network, messages, views. Must never do: stand in for a tokenizer that is not there.
"""

from __future__ import annotations

import gzip
import hashlib
import threading
import zlib
from binascii import a2b_base64
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from weft_engine.errors import TokenizerMissing

if TYPE_CHECKING:
    from tiktoken import Encoding

EXACT_CHARS_MAX: Final = 900_000
"""Above this many characters a text counts as its UTF-8 bytes.

tiktoken's regular expressions keep one stack entry per character of a run of white space and
give up at 1,000,000; and one long piece (8 MB of the letter a) takes it 4 s. No token is shorter
than a byte, so the number of bytes is never less than the true count; and unlike a sum over
chunks it needs no belief about how a cut changes the tokens on its two sides. It is part of the
counting rule, so it never changes without a new renderer."""


@dataclass(frozen=True, slots=True)
class TokenizerId:
    """Names a tokenizer by what it does: `vocabulary` = SHA-256 of the vocabulary file, `pattern` =
    SHA-256 of the regular expression that splits text before merging; both in lower hex."""

    name: str
    vocabulary: str
    pattern: str


O200K_BASE: Final = TokenizerId(
    name="o200k_base",
    vocabulary="446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    pattern="2d1b8dc11e89af71459b36004f698ab3693f59fd84f63e8ec2b49564ab857420",
)
CL100K_BASE: Final = TokenizerId(
    name="cl100k_base",
    vocabulary="223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    pattern="f021c3d976978e62ee64cdad150cc3405c2e3d6e3b40407850bb9e8d9eb65899",
)
DEFAULT_TOKENIZER: Final = O200K_BASE
KNOWN: Final = {known.name: known for known in (O200K_BASE, CL100K_BASE)}

_UPPER: Final = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_LOWER: Final = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_ENDING: Final = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
# Kept here and not taken from tiktoken, whose newer versions rewrite them for speed: the digest
# is part of a view's spec and must not depend on which tiktoken is installed.
_PATTERNS: Final = {
    "o200k_base": "|".join(
        (
            rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_ENDING}",
            rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_ENDING}",
            r"\p{N}{1,3}",
            r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
            r"\s*[\r\n]+",
            r"\s+(?!\S)",
            r"\s+",
        )
    ),
    "cl100k_base": "|".join(
        (
            r"'(?i:[sdmt]|ll|ve|re)",
            r"[^\r\n\p{L}\p{N}]?+\p{L}++",
            r"\p{N}{1,3}+",
            r" ?[^\s\p{L}\p{N}]++[\r\n]*+",
            r"\s++$",
            r"\s*[\r\n]",
            r"\s+(?!\S)",
            r"\s",
        )
    ),
}

_lock: Final = threading.Lock()
_loaded: Final[dict[str, Encoding]] = {}


class Tokenizer:
    """Counts with one tokenizer. Cheap to make: the vocabulary (0.2 s, once per process) is
    loaded by the first count of a text that is not empty. Safe to use from any thread."""

    __slots__ = ("_encoding", "id")

    def __init__(self, which: TokenizerId) -> None:
        """Raises TokenizerMissing if this version of Weft doesn't know exactly this tokenizer."""
        if KNOWN.get(which.name) != which:
            raise TokenizerMissing(
                f"no tokenizer {which.name!r} with vocabulary {which.vocabulary[:12]} and pattern"
                f" {which.pattern[:12]}",
                hint=f"this version has {', '.join(sorted(KNOWN))}",
            )
        self.id: Final = which
        self._encoding: Encoding | None = None

    def count(self, text: str) -> int:
        """Ordinary tokens of `text` (special tokens are spelled out like any other text); its
        UTF-8 bytes if it is longer than EXACT_CHARS_MAX. `text` holds no lone surrogate.
        Raises TokenizerMissing if the vocabulary is not installed."""
        if not text:
            return 0
        if len(text) > EXACT_CHARS_MAX:
            return len(text.encode())
        encoding = self._encoding
        if encoding is None:
            encoding = self._encoding = _load(self.id)
        return len(encoding.encode_ordinary(text))


def tokenizer_id(name: str) -> TokenizerId:
    """The id of the tokenizer with this name, without loading it; or TokenizerMissing."""
    if name not in KNOWN:
        raise TokenizerMissing(
            f"no tokenizer {name!r}", hint=f"this version has {', '.join(sorted(KNOWN))}"
        )
    return KNOWN[name]


def _load(which: TokenizerId) -> Encoding:
    # One lock for all: two threads that need a vocabulary at once must not both build it.
    with _lock:
        encoding = _loaded.get(which.name)
        if encoding is None:
            encoding = _loaded[which.name] = _build(which)
        return encoding


def _build(which: TokenizerId) -> Encoding:
    pattern = _PATTERNS[which.name]
    assert hashlib.sha256(pattern.encode()).hexdigest() == which.pattern
    ranks = _ranks(_vocabulary(which))
    # Imported here because it costs more than a whole view, and most views count nothing.
    from tiktoken import Encoding

    return Encoding(which.name, pat_str=pattern, mergeable_ranks=ranks, special_tokens={})


def _ranks(vocabulary: bytes) -> dict[bytes, int]:
    """Lines of ``<token in base64> <rank>``."""
    ranks: dict[bytes, int] = {}
    for line in vocabulary.splitlines():
        token, _, rank = line.partition(b" ")
        ranks[a2b_base64(token)] = int(rank)
    return ranks


def _vocabulary(which: TokenizerId) -> bytes:
    path = _vocabulary_path(which.name)
    try:
        vocabulary = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise TokenizerMissing(
            f"the vocabulary of {which.name} can't be read from {path}: {error}",
            hint="install bpe-openai again: pip install --force-reinstall bpe-openai",
        ) from error
    digest = hashlib.sha256(vocabulary).hexdigest()
    if digest != which.vocabulary:
        raise TokenizerMissing(
            f"{path} is another vocabulary: SHA-256 {digest}, not {which.vocabulary}",
            hint="install a bpe-openai that has the original file",
        )
    return vocabulary


def _vocabulary_path(name: str) -> Path:
    # Finding a top-level package does not import it: its native module (70 MB) stays out.
    package = find_spec("bpe_openai")
    if package is None or not package.submodule_search_locations:
        raise TokenizerMissing(
            f"the vocabulary of {name} is not installed", hint="pip install bpe-openai"
        )
    return Path(package.submodule_search_locations[0]) / "data" / f"{name}.tiktoken.gz"
