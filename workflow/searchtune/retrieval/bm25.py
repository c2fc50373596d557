"""BM25 first-stage retrieval in Lucene's variant, without Java (package bm25s); and the stage ``retrieve.bm25``."""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import islice
from typing import Any

import numpy as np

from searchtune.collections.trec import Ranking
from searchtune.errors import ConfigError, DataError, nearest
from searchtune.retrieval.first_stage import write_first_stage
from searchtune.stage import Job

STOP_LISTS = {"lucene": "STOPWORDS_EN", "extended": "STOPWORDS_EN_PLUS"}
# how a text is cut into words. ``plain``: at every sign that is no letter, digit or underscore ("don't" is "don", "t").
# ``lucene``: as Lucene's analyser for English cuts European text: by Unicode's word breaks (UAX 29), where one of ' . :
# between letters and one of ' . , ; between digits joins ("don't", "2,500"); the English possessive is dropped, and
# words of one or two letters are not stemmed
WORDS = {
    "plain": re.compile(r"\w+"),
    "lucene": re.compile(r"\w+(?:(?:(?<=[^\W\d_])['‘’.:·](?=[^\W\d_])|(?<=\d)['‘’.,;](?=\d))\w+)*"),
}
_POSSESSIVE = re.compile(r"['’]s$")


@cache
def stop_words(name: str) -> frozenset[str]:
    """Return a stop list: ``lucene`` (33 words) or ``extended`` (with question words, pronouns and auxiliaries).

    On corpora of a few thousand passages the question words of human questions carry no topic but
    match by chance; the extended list makes the stronger baseline and is the default.
    """
    import bm25s.stopwords

    if name not in STOP_LISTS:
        raise ConfigError(f"unknown stop list {name!r}{nearest(name, STOP_LISTS)}")
    return frozenset(getattr(bm25s.stopwords, STOP_LISTS[name]))


@cache
def _stemmer() -> Any:
    import Stemmer

    return Stemmer.Stemmer("porter")


def tokenize(text: str, stop_list: str = "extended", words: str = "plain") -> list[str]:
    """Return the index terms of a text: lower-case words without stop words, as Porter stems.

    ``words`` names one of the ways in ``WORDS`` to cut the text; ConfigError for another.
    """
    if words not in WORDS:
        raise ConfigError(f"unknown way to cut words {words!r}{nearest(words, WORDS)}")
    found = WORDS[words].findall(text.lower())
    if words == "lucene":
        found = [_POSSESSIVE.sub("", word) for word in found]
    stops = stop_words(stop_list)
    kept = [word for word in found if word not in stops]
    stems = _stemmer().stemWords(kept)
    if words == "plain":
        return stems
    # Porter's own program, and Lucene's, leave words of one or two letters alone ("us" is not "u")
    return [stem if len(word) > 2 else word for word, stem in zip(kept, stems, strict=True)]


class BM25Index:
    """An exact BM25 index in memory. Build it with :meth:`build`."""

    def __init__(self, ids: list[str], model: Any, stop_list: str, words: str = "plain") -> None:
        self.ids = ids
        self._model = model
        self._cut = (stop_list, words)

    @classmethod
    def build(
        cls,
        ids: Sequence[str],
        texts: Sequence[str],
        k1: float = 0.9,
        b: float = 0.4,
        stop_list: str = "extended",
        words: str = "plain",
    ) -> "BM25Index":
        """Index ``texts`` under ``ids`` (aligned). k1 saturates term frequency; b is the share of length normalisation.

        DataError for an empty corpus, duplicate ids, or texts that hold no index term at all.
        """
        if len(ids) != len(texts):
            raise DataError(f"BM25: {len(ids)} ids against {len(texts)} texts")
        if not ids:
            raise DataError("BM25: the corpus is empty; there is nothing to index")
        if len(set(ids)) != len(ids):
            duplicate = next(i for i, j in zip(sorted(ids), sorted(ids)[1:], strict=False) if i == j)
            raise DataError(f"BM25: duplicate id {duplicate!r}; ids must be unique")
        # documents lie in the order of their ids, so that position alone breaks ties
        order = sorted(range(len(ids)), key=lambda position: ids[position])
        terms = [tokenize(texts[position], stop_list, words) for position in order]
        if not any(terms):
            raise DataError("BM25: no text has an index term (only stop words)")
        import bm25s

        model = bm25s.BM25(k1=k1, b=b, method="lucene")
        model.index(terms, show_progress=False)
        return cls([ids[position] for position in order], model, stop_list, words)

    @classmethod
    def of(cls, ids: Sequence[str], texts: Sequence[str], settings: Mapping[str, Any]) -> "BM25Index":
        """Index ``texts`` under ``ids`` as ``settings`` say: k1, b, stop_list, words (section retrieval)."""
        cut = (settings.get("stop_list", "extended"), settings.get("words", "plain"))
        return cls.build(ids, texts, settings["k1"], settings["b"], *cut)

    def search(self, queries: Sequence[str], k: int, excluded: Sequence[Iterable[str]] | None = None) -> list[Ranking]:
        """Return, for each query, at most ``k`` (id, score) by falling score, ties by id.

        Only documents that share a term with the query are returned, so a list may be empty.
        ``excluded`` (aligned with ``queries``) names documents to leave out.
        """
        if excluded is not None and len(excluded) != len(queries):
            raise DataError(f"BM25: {len(queries)} queries against {len(excluded)} sets of excluded documents")
        left_out = excluded or [()] * len(queries)
        return [self._top(query, k, set(out)) for query, out in zip(queries, left_out, strict=True)]

    def _top(self, query: str, k: int, excluded: set[str]) -> Ranking:
        terms = self._model.get_tokens_ids(tokenize(query, *self._cut))
        if not terms:
            return []
        scores = self._model.get_scores_from_ids(terms)
        # most documents share no term with the query: what follows looks at the others alone
        found = np.flatnonzero(scores > 0)
        values, wanted = scores[found], k + len(excluded)
        if len(found) > wanted:
            # every document that ties with the last one is a candidate: a partial sort alone would pick at will
            candidates = values >= np.partition(values, -wanted)[-wanted]
            found, values = found[candidates], values[candidates]
        order = np.argsort(-values, kind="stable")
        ranked = zip([self.ids[position] for position in found[order].tolist()], values[order].tolist(), strict=True)
        return [pair for pair in ranked if pair[0] not in excluded][:k] if excluded else list(islice(ranked, k))


def run(job: Job) -> dict[str, Any]:
    """Stage ``retrieve.bm25``: see :func:`write_first_stage`. Params besides: k1, b, stop_list, words."""
    params = job.params

    def search(
        ids: Sequence[str], texts: Sequence[str], queries: Sequence[str], depth: int, excluded: Sequence[set[str]]
    ) -> list[Ranking]:
        """Return each query's passages."""
        return BM25Index.of(ids, texts, params).search(queries, depth, excluded)

    return write_first_stage(job, "bm25", search)
