"""Train, dev and test by source article, the same for every data set that holds the article."""

import hashlib
import re
import unicodedata
from collections.abc import Mapping

from searchtune.errors import ConfigError

SPLITS = ("train", "dev", "test")


def normalise_article(title: str) -> str:
    """Return one form for the spellings of a title: NFKC, no case, underscores and runs of space as one space."""
    text = unicodedata.normalize("NFKC", title).replace("_", " ").casefold()
    return re.sub(r"\s+", " ", text).strip()


def check_shares(shares: Mapping[str, float]) -> None:
    """Raise ConfigError unless ``shares`` gives train, dev and test as fractions that sum to 1."""
    if set(shares) != set(SPLITS):
        raise ConfigError(f"splits.shares has keys {sorted(shares)}; expected {', '.join(SPLITS)}")
    if min(shares.values()) < 0 or abs(sum(shares.values()) - 1) > 1e-9:
        raise ConfigError(f"splits.shares is {dict(shares)}; the shares must be 0 or more and sum to 1")


def split_of(article: str, seed: int, shares: Mapping[str, float]) -> str:
    """Return the split of a source article: train, dev or test.

    The choice is a hash of (seed, normalised title) alone, so an article falls into the same split
    in SQuAD, VitaminC or any other source, whatever else is read and in whatever order.
    ``shares`` are fractions of articles, not of questions. ConfigError if they do not sum to 1.
    """
    check_shares(shares)
    digest = hashlib.sha256(f"{seed}\x1f{normalise_article(article)}".encode()).digest()
    point = int.from_bytes(digest[:8], "big") / 2**64
    edge = 0.0
    for name in SPLITS:
        edge += shares[name]
        if point < edge:
            return name
    return next(name for name in reversed(SPLITS) if shares[name] > 0)
