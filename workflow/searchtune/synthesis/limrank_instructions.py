"""Stage ``limrank.instructions``: an instruction-following set in FollowIR's form, made of a collection with articles.

FollowIR gives each TREC query two instructions; the second is narrower and makes some relevant documents
non-relevant. Here, for every article of the test split with enough passages:

* the query is the name of the article; its relevant passages are passages of the article;
* the original instruction asks for anything about it;
* the changed instruction excludes the passages that mention one name X. X is a capitalised name (two words or more,
  or an answer of a human question) which does not occur in the title and stands in at least ``n_changed`` passages of
  the article while at least ``n_unchanged`` others lack it; of those names the one that splits the article most
  evenly is taken, ties alphabetically. So which passages become non-relevant can be read off the texts themselves;
* an article gives up to ``names_per_article`` such queries, with the next best names; the first names of all articles
  come before the second ones. Queries of one article are not independent: scores are averaged by article first;
* the candidates of a query are ``n_changed`` passages with X, ``n_unchanged`` without, and the ``n_other`` passages
  known to be of other articles (by a question of any split) that BM25 ranks highest for the query; the article's other
  passages are left out, so that a ranking can be wrong. Their first-stage order is BM25's for the query without any
  instruction.

No sampling by model or by hand; the same collection and parameters give the same set. The output folder is a
collection of its own (queries ``<id>-og`` and ``<id>-changed`` with ``instruction``, qrels of both), with
``changed.jsonl`` (newly non-relevant documents), ``candidates.run.gz`` (what is reranked) and ``bm25.run.gz`` (BM25
with the instruction as part of the query, the baseline of FollowIR).
"""

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

from searchtune.collections.beir import Collection, Query
from searchtune.collections.trec import Ranking, write_run
from searchtune.errors import DataError
from searchtune.files import write_jsonl
from searchtune.retrieval.bm25 import BM25Index
from searchtune.stage import Job

ORIGINAL, CHANGED = "og", "changed"
SPLITS = ("train", "dev", "test")
ASK = "A relevant passage gives any information about {title}."
NARROW = "A relevant passage gives any information about {title}. Passages that mention {name} are not relevant."
_NAME = re.compile(r"\b[A-Z][a-z]+(?: (?:of |the |de |van )?[A-Z][a-z]+)+\b")


@dataclass(frozen=True)
class Pair:
    """One query with two instructions: passages that stay relevant, that stop being so, and others."""

    id: str
    title: str
    name: str
    changed: list[str]
    unchanged: list[str]
    others: list[str]


def run(job: Job) -> dict[str, Any]:
    """Stage function. Input: collection. Output: instructions (folder). Params: n_queries, split, n_changed,
    n_unchanged, n_other, k1, b, stop_list, words."""
    params = job.params
    collection = Collection.load(job.inputs["collection"])
    ids = list(collection.corpus)
    index = BM25Index.of(ids, [collection.passage_text(i) for i in ids], params)
    pairs = find_pairs(collection, index, params)
    if len(pairs) < params["n_queries"]:
        raise DataError(
            f"{params['n_queries']} instruction queries were asked for, split {params['split']!r} of "
            f"{collection.manifest.get('id', 'the collection')!r} gives {len(pairs)}; lower "
            "limrank.instructions.n_queries, n_changed or n_unchanged"
        )
    write(job, collection, index, pairs)
    return {
        "queries": len(pairs),
        "changed_documents": sum(len(p.changed) for p in pairs),
        "candidates": sum(len(p.changed) + len(p.unchanged) + len(p.others) for p in pairs),
    }


def passages_by_article(collection: Collection, split: str) -> dict[str, list[str]]:
    """Return article -> ids of its passages, by the queries of a split that are judged relevant to them; sorted."""
    found: dict[str, set[str]] = defaultdict(set)
    for query_id, query in collection.queries_of(split).items():
        documents = [d for d, grade in collection.qrels.get(query_id, {}).items() if grade > 0]
        found[str(query.metadata.get("article", ""))].update(documents)
    return {article: sorted(documents) for article, documents in sorted(found.items()) if article}


def answers_by_article(collection: Collection, split: str) -> dict[str, set[str]]:
    """Return article -> capitalised answers of its questions: names that people asked for."""
    found: dict[str, set[str]] = defaultdict(set)
    for query in collection.queries_of(split).values():
        for answer in query.metadata.get("answers", []):
            if re.fullmatch(r"[A-Z][A-Za-z]{3,}(?: [A-Z][A-Za-z]+)*", answer):
                found[str(query.metadata.get("article", ""))].add(answer)
    return found


def mentions(text: str, name: str) -> bool:
    """Say whether a text has a name as whole words."""
    return re.search(rf"\b{re.escape(name)}\b", text) is not None


def choose_names(texts: dict[str, str], title: str, answers: set[str], n_changed: int, n_unchanged: int) -> list[str]:
    """Return the names that split an article's passages within the bounds, the most even split first."""
    names = set(answers) | {name for text in texts.values() for name in _NAME.findall(text)}
    title_words = set(title.lower().split())
    counts = Counter(
        {
            name: sum(mentions(text, name) for text in texts.values())
            for name in sorted(names)
            if title_words.isdisjoint(name.lower().split())
        }
    )
    usable = [
        (abs(2 * n - len(texts)), name)
        for name, n in counts.items()
        if n >= n_changed and len(texts) - n >= n_unchanged
    ]
    return [name for _, name in sorted(usable)]


def find_pairs(collection: Collection, index: BM25Index, params: dict[str, Any]) -> list[Pair]:
    """Return at most ``n_queries`` pairs: the best name of every article, articles in alphabetical order, then the
    second names, and so on up to ``names_per_article``."""
    articles = passages_by_article(collection, params["split"])
    answers = answers_by_article(collection, params["split"])
    found: list[tuple[int, str, str]] = []
    for article, documents in articles.items():
        texts = {d: collection.passage_text(d) for d in documents}
        names = choose_names(texts, article, answers.get(article, set()), params["n_changed"], params["n_unchanged"])
        found += [(rank, article, name) for rank, name in enumerate(names[: params["names_per_article"]])]
    own = {
        document: article
        for split in SPLITS
        for article, documents in passages_by_article(collection, split).items()
        for document in documents
    }
    return [
        make_pair(f"i{number}", article, name, articles[article], own, collection, index, params)
        for number, (_, article, name) in enumerate(sorted(found)[: params["n_queries"]])
    ]


def make_pair(
    key: str,
    article: str,
    name: str,
    documents: list[str],
    own: dict[str, str],
    collection: Collection,
    index: BM25Index,
    params: dict[str, Any],
) -> Pair:
    """Return one query: its passages with and without the name, and BM25's best passages of other articles.

    ``own`` maps passages to their article. A passage of unknown article (no question of it was sampled) may be of
    this one, and is no candidate; nor is one that names the title: whether it is relevant would be a matter of opinion.
    """
    title = article.replace("_", " ")
    ranking = [d for d, _ in index.search([title], len(index.ids))[0]]
    order = {d: rank for rank, d in enumerate(ranking)}
    ranked = sorted(documents, key=lambda d: (order.get(d, len(order)), d))
    others = [d for d in [*ranking, *(i for i in index.ids if i not in order)] if own.get(d, article) != article]
    clear = [d for d in others if title.lower() not in collection.passage_text(d).lower()]
    named = {d: mentions(collection.passage_text(d), name) for d in ranked}
    return Pair(
        key,
        title,
        name,
        [d for d in ranked if named[d]][: params["n_changed"]],
        [d for d in ranked if not named[d]][: params["n_unchanged"]],
        clear[: params["n_other"]],
    )


def write(job: Job, source: Collection, index: BM25Index, pairs: list[Pair]) -> None:
    """Write collection, changed documents, candidate run and BM25 run."""
    folder = job.outputs["instructions"]
    pool = {p.id: [*p.changed, *p.unchanged, *p.others] for p in pairs}
    queries, qrels, candidates, bm25 = {}, {}, {}, {}
    for pair in pairs:
        plain = restricted(index, pair.title, pool[pair.id])
        for form, text in ((ORIGINAL, ASK), (CHANGED, NARROW)):
            key = f"{pair.id}-{form}"
            instruction = text.replace("{title}", pair.title).replace("{name}", pair.name)
            queries[key] = Query(pair.title, instruction, {"split": "test", "article": pair.title, "answers": []})
            relevant = pair.unchanged + (pair.changed if form == ORIGINAL else [])
            qrels[key] = {d: int(d in relevant) for d in pool[pair.id]}
            candidates[key] = plain
            bm25[key] = restricted(index, f"{pair.title} {instruction}", pool[pair.id])
    corpus = {d: source.corpus[d] for ds in pool.values() for d in ds}
    manifest: dict[str, Any] = {
        key: source.manifest[key] for key in ("licence", "canary", "source") if key in source.manifest
    }
    Collection(corpus, queries, qrels, manifest={"id": "instructions", **manifest, "params": job.params}).save(folder)
    write_jsonl(
        folder / "changed.jsonl",
        ({"id": p.id, "title": p.title, "name": p.name, "changed": p.changed, "unchanged": p.unchanged} for p in pairs),
    )
    write_run(folder / "candidates.run.gz", candidates, "bm25-query")
    write_run(folder / "bm25.run.gz", bm25, "bm25-instruction")


def restricted(index: BM25Index, query: str, pool: list[str]) -> Ranking:
    """Return BM25's ranking of the passages of a pool; those that share no term with the query come last, by id."""
    wanted = set(pool)
    found = [(d, score) for d, score in index.search([query], len(index.ids))[0] if d in wanted]
    seen = {d for d, _ in found}
    return found + [(d, 0.0) for d in sorted(wanted - seen)]
