"""BRIGHT: the publisher's tables, excluded ids, expanded queries, imported runs.

Schema: the dataset card of xlangai/BRIGHT declares the configurations ``examples``, ``<model>_reason`` (query, reasoning,
id: string; excluded_ids, gold_ids_long, gold_ids: list of string; gold_answer: string), ``documents`` and
``long_documents`` (id, content: string), one split a subset, files ``<config>/<split>-00000-of-00001.parquet``; pinned
revision a75a0eb483f6a5233a6efc2d63d71540a4443dfb (the registry's row bright_original).
"""

import gzip
import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import yaml
from helpers import ROOT

from searchtune.collections.arguments import bm25_args, keeps_excluded
from searchtune.collections.beir import Collection, Passage, Query
from searchtune.collections.bright import read_bright
from searchtune.collections.build import make_collection, raw_paths
from searchtune.collections.trec import read_run, write_run
from searchtune.errors import ConfigError, DataError
from searchtune.evaluation import limrank_books as tables
from searchtune.plan import plan
from searchtune.reranking.reasoning import task_of
from searchtune.retrieval.imported import fit_run, read_any_run
from searchtune.stage import run_job

STRINGS = pyarrow.list_(pyarrow.string())
EXAMPLES = pyarrow.schema(
    {
        **dict.fromkeys(("query", "reasoning", "id"), pyarrow.string()),
        **dict.fromkeys(("excluded_ids", "gold_ids_long", "gold_ids"), STRINGS),
        "gold_answer": pyarrow.string(),
    }
)
DOCUMENTS = pyarrow.schema({"id": pyarrow.string(), "content": pyarrow.string()})
PARAMS = {"id": "bright_leetcode", "max_passages": None, "n_train": 0, "n_dev": 0, "n_test": None, "seed": 0,
          "split_seed": 0, "shares": {"train": 0.0, "dev": 0.1, "test": 0.9}}  # fmt: skip


def example(identifier, query, gold, excluded=("N/A",), long=()):
    return {"query": query, "reasoning": "because", "id": identifier, "excluded_ids": list(excluded),
            "gold_ids_long": list(long), "gold_ids": list(gold), "gold_answer": ""}  # fmt: skip


def table(folder: Path, config: str, rows: list[dict], schema) -> Path:
    path = folder / config / "leetcode-00000-of-00001.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema=schema), path)
    return path


DOCS = {"tree/a b.txt": "walk a tree\n  in order", "tree/1.txt": "a tree is walked", "own/q0": "walk the tree",
        "graph/2": "shortest path in a graph", "blank": " \n"}  # fmt: skip


@pytest.fixture
def files(tmp_path) -> dict[str, Path]:
    examples = [
        example("0", "walk the tree\n    def f():", ["tree/a b.txt", "tree/1.txt"], ["own/q0", "gone"], ["tree.txt"]),
        example("1", "nearest way", ["graph/2"], long=["graph.txt"]),
    ]
    reasons = [example(e["id"], f"reasoned {e['id']} graph", e["gold_ids"], e["excluded_ids"]) for e in examples]
    return {
        "examples": table(tmp_path, "examples", examples, EXAMPLES),
        "documents": table(tmp_path, "documents", [{"id": i, "content": t} for i, t in DOCS.items()], DOCUMENTS),
        "long_documents": table(
            tmp_path, "long_documents", [{"id": f"{i}.txt", "content": f"all of {i}"} for i in ("tree", "graph")],
            DOCUMENTS,
        ),
        "gpt4_reason": table(tmp_path, "gpt4_reason", reasons, EXAMPLES),
    }  # fmt: skip


def built(files, *names, **changes) -> Collection:
    return make_collection(read_bright([files[n] for n in names], "x"), PARAMS | changes)


def test_a_subset_is_read_with_its_excluded_ids(files):
    found = built(files, "examples", "documents")
    assert found.qrels == {"0": {"tree/a%20b.txt": 1, "tree/1.txt": 1}, "1": {"graph/2": 1}}
    # 'gone' is in no document and N/A means none; both the code and the query keep their lines
    assert found.excluded == {"0": {"own/q0"}}
    assert found.manifest["left_out"] == {"empty_passages": 1, "excluded": 1}
    assert found.queries["0"].text == "walk the tree\n    def f():" and found.corpus["tree/a%20b.txt"].text.count("\n")
    assert set(found.corpus) == {"tree/a%20b.txt", "tree/1.txt", "own/q0", "graph/2"}
    assert "expanded" not in found.queries["0"].metadata and set(found.queries_of("test")) == {"0", "1"}


def test_long_documents_have_long_gold(files):
    found = built(files, "examples", "long_documents")
    assert found.qrels == {"0": {"tree.txt": 1}, "1": {"graph.txt": 1}}
    assert found.excluded == {} and found.corpus["tree.txt"].text == "all of tree"


def test_a_cut_corpus_drops_excluded_ids_with_their_passages(files):
    found = built(files, "examples", "documents", max_passages=3)
    assert found.excluded == {} and len(found.corpus) == 3


def test_the_first_stage_reads_the_expanded_query_and_the_reranker_the_original(files, tmp_path):
    found = built(files, "examples", "documents", "gpt4_reason")
    assert found.queries["0"].metadata["expanded"] == "reasoned 0 graph"
    found.save(tmp_path / "c")
    outputs = {name: str(tmp_path / f"bm25.{name}") for name in ("run.gz", "scores.tsv.gz")}
    spec = {
        "stage": "retrieve.bm25",
        "inputs": {"collection": str(tmp_path / "c")},
        "outputs": {"run": outputs["run.gz"], "scores": outputs["scores.tsv.gz"]},
        "params": {"k1": 0.9, "b": 0.4, "stop_list": "extended", "words": "plain", "depth": 10, "splits": ["test"]},
    }
    run_job(spec)
    run = read_run(tmp_path / "bm25.run.gz")
    # only the reasoning of query 0 names a graph
    assert [d for d, _ in run["0"]] == ["graph/2"]
    task = task_of("c", Collection.load(tmp_path / "c"), run, ["0"], 10)
    assert task.queries["0"].startswith("walk the tree")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"excluded_ids": ["tree/1.txt"]}, "'tree/1.txt' is relevant to query '0' and excluded from it"),
        ({"gold_ids": ["nowhere"]}, "query '0': qrels name unknown documents: 'nowhere'"),
        ({"id": ""}, "an id is empty"),
    ],
)
def test_broken_examples_are_named(files, tmp_path, change, message):
    row = example("0", "walk", ["tree/1.txt"]) | change
    files["examples"] = table(tmp_path, "examples", [row], EXAMPLES)
    with pytest.raises(DataError, match=message):
        built(files, "examples", "documents")


def test_wrong_sets_of_files_are_refused(files, tmp_path):
    with pytest.raises(DataError, match="needs examples, one of documents and long_documents"):
        built(files, "examples", "documents", "long_documents")
    with pytest.raises(DataError, match="BRIGHT has files of examples"):
        read_bright([tmp_path / "qrels" / "x.parquet"], "x")
    files["gpt4_reason"] = table(tmp_path, "gpt4_reason", [example("0", "reasoned", [])], EXAMPLES)
    with pytest.raises(DataError, match="no expanded query has the id '1'"):
        built(files, "examples", "documents", "gpt4_reason")


def test_a_pattern_names_all_shards_of_a_table(tmp_path):
    for name in ("a-1", "a-0", "b-0"):
        (tmp_path / "unit").mkdir(exist_ok=True)
        (tmp_path / "unit" / name).write_text("x")
    assert [p.name for p in raw_paths([tmp_path / "unit"], ["unit/a-*"])] == ["a-0", "a-1"]
    with pytest.raises(DataError, match=r"unit/c-\* is not there"):
        raw_paths([tmp_path / "unit"], ["unit/c-*"])


# ---- excluded ids: before reranking, before scoring, and as fault L8


def toy() -> Collection:
    return Collection(
        {d: Passage("", f"text {d}") for d in "abcdx"},
        {"0": Query("q", metadata={"split": "test"})},
        {"0": {"b": 1, "d": 1}},
        {"0": {"x"}},
    )


FIRST = {"0": [("x", 5.0), ("a", 4.0), ("b", 3.0), ("c", 2.0), ("d", 1.0)]}


def test_excluded_ids_do_not_use_up_the_depth():
    assert task_of("c", toy(), FIRST, ["0"], 2).candidates == {"0": ["a", "b"]}
    assert task_of("c", toy(), FIRST, ["0"], 2, keep_excluded=True).candidates == {"0": ["x", "a"]}


@pytest.mark.parametrize(("faults", "first", "ndcg"), [([], ["a", "b"], 0.386853), (["L8"], ["x", "a"], 0.0)])
def test_excluded_ids_are_taken_out_before_scoring(tmp_path, faults, first, ndcg):
    # corrected: b at rank 2: (1 / log2(3)) / (1 + 1 / log2(3)) = 0.386853; released: x and a fill the two places
    write_run(tmp_path / "bm25.run.gz", FIRST, "bm25")
    ranked = {"0": {d: -float(i) for i, d in enumerate(first)}}
    write_run(tmp_path / "r" / "direct" / "c.run.gz", ranked, "x")
    manifest = {"system": "untuned", "modes": ["direct"], "train_seed": None, "faults": faults}
    book = tables.Book()
    params = {"metrics": ["nDCG@10"], "own_metrics": {}}
    tables.book_collection(book, "c", toy(), tmp_path / "bm25.run.gz", [(tmp_path / "r", manifest)], params, 100)
    for key in (("c", "bm25", ""), ("c", "untuned", "direct")):
        assert book.values[key]["nDCG@10"][0]["0"] == pytest.approx(ndcg, abs=1e-6)
        assert book.depths[key] == 2


def test_a_run_that_holds_excluded_ids_is_scored_without_them(tmp_path):
    write_run(tmp_path / "bm25.run.gz", FIRST, "bm25")
    write_run(tmp_path / "r" / "direct" / "c.run.gz", {"0": {"x": 3.0, "b": 2.0, "a": 1.0}}, "x")
    manifest = {"system": "untuned", "modes": ["direct"], "train_seed": None, "faults": []}
    book = tables.Book()
    params = {"metrics": ["RR"], "own_metrics": {"c": ["RR", "P@1"]}}
    tables.book_collection(book, "c", toy(), tmp_path / "bm25.run.gz", [(tmp_path / "r", manifest)], params, 100)
    assert book.values["c", "untuned", "direct"]["P@1"][0]["0"] == 1.0
    assert book.values["c", "bm25", ""]["RR"][0]["0"] == 0.5  # x is gone, a is not relevant


def test_fault_l8_keeps_excluded_ids_in_the_first_stage_of_limranks_own_collections(tmp_path):
    config = plan(ROOT, {"scale": "ci"})
    assert "keep_excluded" not in bm25_args(config, "bright_crafts")
    active = plan(ROOT, {"scale": "ci", "faults": ["L8"]})
    assert bm25_args(active, "bright_crafts")["keep_excluded"] is True
    # a target of UDAPDR shares its run, and L8 is no fault of UDAPDR
    shared = [active["udapdr"]["target"], *active["udapdr"]["more_targets"]]
    assert not any(keeps_excluded(active, name) for name in shared)
    toy().save(tmp_path / "c")
    kept = {}
    for keep in (False, True):
        spec = {
            "stage": "retrieve.bm25",
            "inputs": {"collection": str(tmp_path / "c")},
            "outputs": {"run": str(tmp_path / f"{keep}.run.gz"), "scores": str(tmp_path / f"{keep}.scores.tsv.gz")},
            "params": {
                "k1": 0.9,
                "b": 0.4,
                "stop_list": "extended",
                "words": "plain",
                "depth": 10,
                "splits": ["test"],
                "keep_excluded": keep,
            },
        }
        run_job(spec)
        kept[keep] = {d for d, _ in read_run(tmp_path / f"{keep}.run.gz")["0"]}
    assert kept == {False: {"a", "b", "c", "d"}, True: {"a", "b", "c", "d", "x"}}


# ---- imported runs


def scores(folder: Path, value, name="score.json") -> Path:
    path = folder / name
    data = json.dumps(value).encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def test_both_forms_of_a_run_are_read_and_excluded_ids_taken_out(tmp_path):
    value = {"0": {"x": 9, "a": 1.5, "d": 1.5, "b": 2.0}}
    path = scores(tmp_path, value)
    run = read_any_run(path)
    assert [d for d, _ in run["0"]] == ["x", "b", "a", "d"]
    fitted, counts = fit_run(run, toy(), "run")
    assert [d for d, _ in fitted["0"]] == ["b", "a", "d"]
    assert counts == {"other_queries": 0, "unknown": 0, "excluded": 1}
    assert fit_run(run, toy(), "run", keep_excluded=True)[0]["0"][0][0] == "x"
    assert read_any_run(scores(tmp_path, value, "score.json.gz")) == run
    write_run(tmp_path / "x.run", value, "x")
    assert [d for d, _ in read_any_run(tmp_path / "x.run")["0"]] == ["x", "b", "a", "d"]


def test_the_stage_writes_a_run_in_our_form(tmp_path):
    toy().save(tmp_path / "c")
    spec = {
        "stage": "retrieve.import",
        "inputs": {"collection": str(tmp_path / "c"), "imported": str(scores(tmp_path, {"0": {"a": 1, "x": 2, "b": 1}}))},
        "outputs": {"run": str(tmp_path / "i.run.gz"), "scores": str(tmp_path / "i.scores.tsv.gz")},
        "params": {"keep_excluded": False},
    }  # fmt: skip
    run_job(spec)
    assert [d for d, _ in read_run(tmp_path / "i.run.gz")["0"]] == ["a", "b"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"1": {"a": 1.0}}, "lacks the queries '0'; is it a run of this collection"),
        ({"0": {"a": 1.0}, "7": {"a": 1.0}}, "names queries that the collection does not have: '7'"),
        ({"0": {"a": 1.0, "z": 0.5}}, "query '0' names passages that the collection does not have: 'z'"),
        ({"0": {"x": 1.0}}, "no passage is left that may be reranked"),
        ({"0": {"a": "high"}}, "the score of 'a' is 'high', no number"),
        ({"0": ["a"]}, r"not of the form \{query: \{document: score\}\}"),
        ({"0": {"a": float("nan")}}, "every score must be a finite number"),
    ],
)
def test_wrong_runs_are_refused_with_the_ids_at_fault(tmp_path, value, message):
    with pytest.raises(DataError, match=message):
        fit_run(read_any_run(scores(tmp_path, value)), toy(), "score.json")


def test_a_sampled_collection_takes_its_part_of_a_run():
    part = toy()
    part.manifest = {"available_queries": {"test": 5}, "available_passages": 9}
    run = {"0": [("z", 2.0), ("a", 1.0)], "3": [("a", 1.0)]}
    fitted, counts = fit_run(run, part, "run")
    assert fitted == {"0": [("a", 1.0)]} and counts == {"other_queries": 1, "unknown": 1, "excluded": 0}


# ---- configuration


def test_the_twelve_subsets_are_configured_and_registered():
    collections = yaml.safe_load((ROOT / "config/collections.yaml").read_text())["collections"]
    chosen = plan(ROOT, {"scale": "paper"})["limrank"]["collections"]
    subsets = [name for name in chosen if name.startswith("bright_")]
    assert len(subsets) == 12
    for name in [*subsets, *(n for n in collections if n.endswith("_long"))]:
        folders = [raw.split("/")[1] for raw in collections[name]["raw"]]
        assert folders == ["examples", "long_documents" if name.endswith("_long") else "documents", "gpt4_reason"]
        assert collections[name]["target"] and collections[name]["wrapper"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"collections": {"bright_crafts": {"wrapper": "leetcod"}}}, "names 'leetcod'.*did you mean 'leetcode'"),
        ({"collections": {"reddit": {"run": "no/run.json"}}}, "collections.reddit.run is 'no/run.json', which is no file"),
        ({"limrank": {"followir": ["reddit"]}}, "limrank.followir names 'reddit', whose reader is 'squad'"),
        ({"limrank": {"collections": ["followir_mini"]}}, "limrank.collections names 'followir_mini', whose reader"),
        ({"limrank": {"followir": ["folowir_mini"]}}, "did you mean 'followir_mini'"),
        ({"collections": {"followir_mini": {"n_test": 1}}}, "leave its n_test and max_passages empty"),
    ],
)  # fmt: skip
def test_benchmarks_are_checked_before_any_job(change, message):
    with pytest.raises(ConfigError, match=message):
        plan(ROOT, {"scale": "ci"} | change)
