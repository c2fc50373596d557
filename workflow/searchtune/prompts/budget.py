"""Length budgets: cut texts to words or tokens before they are put into a prompt.

Tokens are counted with the light ``tokenizers`` library, which starts in a fraction of a second and reads the
same tokenizer.json as the model's own tokenizer.
"""

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from searchtune.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

WORD = re.compile(r"\S+")


def first_words(text: str, n: int) -> str:
    """Return the part of ``text`` that holds its first ``n`` words (separated by white space), unchanged inside."""
    if n < 0:
        raise ConfigError(f"a text cannot be cut to {n} words; give a number of at least 0")
    end = 0
    for count, match in enumerate(WORD.finditer(text), 1):
        if count > n:
            break
        end = match.end()
    return text[:end]


@cache
def _read_tokenizer(path: Path) -> "Tokenizer":
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    # a saved tokenizer may carry padding or truncation of its training; lengths here are always the true ones
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def load_tokenizer(model_dir: Path) -> "Tokenizer":
    """Return the tokenizer of a model folder, without padding and truncation; ModelError if it has none."""
    path = Path(model_dir) / "tokenizer.json"
    if not path.is_file():
        raise ModelError(f"{model_dir} holds no tokenizer.json; prepare the model again (stage models.prepare)")
    return _read_tokenizer(path.resolve())


def count_tokens(tokenizer: "Tokenizer", text: str) -> int:
    """Return the number of tokens of ``text``, without special tokens added around it."""
    return len(tokenizer.encode(text, add_special_tokens=False).ids)


def count_many(tokenizer: "Tokenizer", texts: list[str]) -> list[int]:
    """Return the number of tokens of each text, counted on all cores at once."""
    return [len(encoding.ids) for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]


def fit_tokens(tokenizer: "Tokenizer", text: str, n: int) -> str:
    """Return the longest beginning of ``text`` (cut between tokens, trailing space removed) of at most ``n`` tokens."""
    if n < 0:
        raise ConfigError(f"a text cannot be cut to {n} tokens; give a number of at least 0")
    encoding = tokenizer.encode(text, add_special_tokens=False)
    if len(encoding.ids) <= n:
        return text
    cut = text[: encoding.offsets[n - 1][1]].rstrip() if n else ""
    # a cut word can split into more pieces than it had inside the whole text
    while cut and count_tokens(tokenizer, cut) > n:
        cut = cut[:-1].rstrip()
    return cut


def fit_pieces(tokenizer: "Tokenizer", pieces: list[str], budget: int, separator: str = "\n") -> list[str]:
    """Return as many whole pieces, from the first on, as fit into ``budget`` tokens with separators between."""
    kept: list[str] = []
    for piece in pieces:
        if count_tokens(tokenizer, separator.join([*kept, piece])) > budget:
            break
        kept.append(piece)
    return kept
