"""FollowIR in both layouts, as instruction sets, and in the table of benchmarks.

Layouts: jhu-clsp/{robust04,news21,core17}-instructions at the registry's revisions, as AbsTaskInstructionRetrieval of
mteb 1.x reads them; mteb/{Robust04,News21,Core17}InstructionRetrieval, as mteb 2.x reads them, in the files that the
library ``datasets`` writes.
"""

import json

import pyarrow
import pyarrow.parquet
import pytest
from helpers import ROOT

from searchtune.collections.beir import Collection
from searchtune.collections.build import make_collection
from searchtune.collections.followir import changed_documents, pair_ids, read_followir
from searchtune.collections.trec import read_run, write_run
from searchtune.errors import DataError
from searchtune.evaluation import limrank as evaluation
from searchtune.evaluation import limrank_books as tables
from searchtune.evaluation.limrank_benchmarks import Measured, benchmark_table, published_rows
from searchtune.files import read_jsonl
from searchtune.prompts.templates import load_templates, render
from searchtune.reranking.reasoning import task_of
from searchtune.stage import Job, run_job

PARAMS = {"id": "f", "max_passages": None, "n_train": 0, "n_dev": 0, "n_test": None, "seed": 0, "split_seed": 0,
          "shares": {"train": 0.0, "dev": 0.1, "test": 0.9}}  # fmt: skip
CORPUS = {"A": "ferries on the river", "B": "steam ferries", "C": "bridges", "D": "a river ferry"}
OG = {"A": 1, "B": 1, "C": 0, "D": 1}
CHANGED = {"A": 1, "B": 0, "C": 0, "D": 1}
RANKED = ["A", "B", "C", "D", "lost"]


def publishers(folder):
    """Write the publisher's layout."""
    rows = {
        "corpus": [{"_id": i, "title": "", "text": t} for i, t in CORPUS.items()],
        "queries": [{"_id": 310, "text": "ferries", "instruction_og": "Any ferry.", "instruction_changed": "No steam.",
                     "keywords": "ferry", "short_query": "ferries"}],
        "qrels_og/test": [{"query-id": 310, "corpus-id": d, "score": float(s)} for d, s in OG.items()],
        "qrels_changed/test": [{"query-id": 310, "corpus-id": d, "score": float(s)} for d, s in CHANGED.items()],
        "top_ranked": [{"qid": 310, "pid": d} for d in RANKED],
    }  # fmt: skip
    for name, found in rows.items():
        path = folder / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in found))
    return folder


def mtebs(folder):
    """Write mteb's layout."""
    pairs = [("310-og", OG, "Any ferry."), ("310-changed", CHANGED, "No steam.")]
    rows = {
        "corpus/corpus": [{"_id": i, "title": "", "text": t} for i, t in CORPUS.items()],
        "queries/queries": [{"_id": q, "text": "ferries"} for q, _, _ in pairs],
        "instruction/instruction": [{"query-id": q, "instruction": text} for q, _, text in pairs],
        "data/test": [{"query-id": q, "corpus-id": d, "score": s} for q, js, _ in pairs for d, s in js.items()],
        "qrel_diff/qrel_diff": [{"query-id": "310", "corpus-ids": ["B"]}],
        "top_ranked/top_ranked": [{"query-id": q, "corpus-ids": RANKED} for q, _, _ in pairs],
    }
    for name, found in rows.items():
        path = folder / f"{name}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(found), path)
    return folder


def built(folder) -> Collection:
    return make_collection(read_followir([folder], "x"), PARAMS)


def test_both_layouts_give_the_same_collection(tmp_path):
    one, other = built(publishers(tmp_path / "a")), built(mtebs(tmp_path / "b"))
    for part in ("corpus", "queries", "qrels", "candidates", "excluded"):
        assert getattr(one, part) == getattr(other, part), part
    assert one.qrels == {"310-og": OG, "310-changed": CHANGED}
    assert one.queries["310-changed"].instruction == "No steam."
    assert one.queries["310-og"].metadata["changed"] == ["B"]
    assert one.candidates["310-og"] == ["A", "B", "C", "D"]
    # a candidate that no passage has is counted, once for each instruction
    assert one.manifest["left_out"] == {"candidates": 2}


def test_a_collection_keeps_its_candidates_on_disk(tmp_path):
    found = built(mtebs(tmp_path / "raw"))
    found.save(tmp_path / "c")
    assert Collection.load(tmp_path / "c").candidates == found.candidates
    assert "candidates.tsv" in found.manifest["sha256"]


def test_a_changed_document_is_one_whose_grade_differs():
    assert changed_documents("x", {"A": 1, "B": 2, "C": 1}, {"A": 1, "B": 1, "C": 0}) == ["B", "C"]
    with pytest.raises(DataError, match="qrels_changed lacks 'B', which qrels_og judges"):
        changed_documents("x", {"A": 1, "B": 2}, {"A": 1})


@pytest.mark.parametrize(
    ("name", "rows", "message"),
    [
        ("top_ranked", [{"qid": 311, "pid": "A"}], "query '310': no candidates"),
        ("qrels_changed/test", [{"query-id": 310, "corpus-id": d, "score": s} for d, s in OG.items()],
         "no document changed its grade"),
        ("qrels_og/test", [{"query-id": 310, "corpus-id": "A", "score": "x"}], "row 1: score 'x' is no number"),
        ("queries", [{"_id": 310, "text": "f", "instruction_og": "", "instruction_changed": "a"}], "no og instruction"),
        ("corpus", [{"_id": "A", "title": "", "text": "t"}], "qrels name unknown documents"),
    ],
)  # fmt: skip
def test_broken_sets_are_named(tmp_path, name, rows, message):
    publishers(tmp_path)
    (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match=message):
        built(tmp_path)


def test_half_a_pair_and_a_missing_table_are_refused(tmp_path):
    with pytest.raises(DataError, match="query '310' has no form 'changed'.*Leave n_test empty"):
        pair_ids({"310-og": 1})
    with pytest.raises(DataError, match="ends neither in -og nor in -changed"):
        pair_ids({"310": 1})
    publishers(tmp_path)
    (tmp_path / "qrels_changed" / "test.jsonl").unlink()
    with pytest.raises(DataError, match="no table 'qrels_changed'"):
        built(tmp_path)
    with pytest.raises(DataError, match="needs one folder"):
        read_followir([tmp_path, tmp_path], "x")


@pytest.fixture
def followir(tmp_path):
    built(publishers(tmp_path / "raw")).save(tmp_path / "followir_core17")
    spec = {
        "stage": "limrank.followir",
        "inputs": {"collections": [str(tmp_path / "followir_core17")], "imported": []},
        "outputs": {"followir": str(tmp_path / "followir")},
        "params": {"k1": 0.9, "b": 0.4, "stop_list": "extended", "imported_names": []},
    }
    run_job(spec)
    return tmp_path / "followir" / "followir_core17"


def test_a_set_becomes_an_instruction_set(followir):
    assert read_jsonl(followir / "changed.jsonl") == [{"id": "310", "changed": ["B"]}]
    candidates = read_run(followir / "candidates.run.gz")
    assert candidates["310-og"] == candidates["310-changed"] and len(candidates["310-og"]) == 4
    assert [d for d, _ in candidates["310-og"]][-1] == "C"  # no ferry in it
    # the instruction goes behind the query with one space, and BM25 reads it: steam draws B up
    bm25 = read_run(followir / "bm25.run.gz")
    assert bm25["310-changed"][0][0] == "B"
    task = task_of("followir_core17", Collection.load(followir), candidates, ["310-og", "310-changed"], 4)
    assert task.queries == {"310-og": "ferries Any ferry.", "310-changed": "ferries No steam."}


def test_an_imported_run_orders_the_candidates(followir, tmp_path):
    scores = {f"310-{form}": {"D": 4, "C": 3, "B": 2, "A": 1} for form in ("og", "changed")}
    (tmp_path / "FollowIR_Core17_predictions.json").write_text(json.dumps(scores))
    spec = {
        "stage": "limrank.followir",
        "inputs": {
            "collections": [str(tmp_path / "followir_core17")],
            "imported": [str(tmp_path / "FollowIR_Core17_predictions.json")],
        },
        "outputs": {"followir": str(tmp_path / "again")},
        "params": {"k1": 0.9, "b": 0.4, "stop_list": "extended", "imported_names": ["followir_core17"]},
    }
    run_job(spec)
    run = read_run(tmp_path / "again" / "followir_core17" / "candidates.run.gz")
    assert [d for d, _ in run["310-og"]] == ["D", "C", "B", "A"]


EVALUATION = {"seed": 0, "bootstrap_samples": 100, "level": 0.95}


def test_p_mrr_and_map_of_a_set_by_hand(followir, tmp_path):
    order = {"310-og": "ABDC", "310-changed": "ADCB"}
    run = {query: {d: -float(i) for i, d in enumerate(ds)} for query, ds in order.items()}
    write_run(tmp_path / "r" / "direct" / "followir_core17.run.gz", run, "x")
    book = tables.Book()
    params = {"instruction_metrics": ["nDCG@5"], "own_metrics": {"followir_core17": ["AP@1000"]}}
    manifest = {"system": "untuned", "modes": ["direct"], "train_seed": None}
    tables.book_instructions(book, followir, [(tmp_path / "r", manifest)], params, "followir_core17")
    values = book.values["followir_core17", "untuned", "direct"]
    assert values["p-MRR"][0] == {"310": pytest.approx(100 * (1 - 2 / 4))}  # B: from 2 to 4
    assert values["AP@1000"][0] == {"310": 1.0} and "nDCG@5" not in values
    assert set(book.values["followir_core17", "bm25", ""]) == {"p-MRR", "AP@1000"}


def test_bm25_is_cut_to_what_the_rerankers_saw(followir, tmp_path):
    run = {query: {"A": 2.0, "C": 1.0} for query in ("310-og", "310-changed")}
    write_run(tmp_path / "r" / "direct" / "followir_core17.run.gz", run, "x")
    book = tables.Book()
    params = {"instruction_metrics": ["AP@1000"]}
    manifest = {"system": "untuned", "modes": ["direct"], "train_seed": None}
    tables.book_instructions(book, followir, [(tmp_path / "r", manifest)], params, "followir_core17")
    # B is below the depth under both instructions and can't move; A is one of three relevant documents
    for key in (("followir_core17", "bm25", ""), ("followir_core17", "untuned", "direct")):
        assert book.depths[key] == 2 and book.values[key]["p-MRR"][0] == {"310": 0.0}
        assert book.values[key]["AP@1000"][0] == {"310": pytest.approx(1 / 3)}


# ---- the table of benchmarks


def measured(collection, metric, values, depth=100, system="bm25"):
    return seeded(collection, metric, [values], depth, system)


def seeded(collection, metric, seeds, depth=100, system="tuned"):
    """``seeds``: values of every query, one list a training seed."""
    tables = [{f"q{n}": v for n, v in enumerate(values)} for values in seeds]
    return Measured(collection, system, "", depth, metric, tables)


def test_means_are_over_sets_and_not_over_queries():
    found = [measured("bright_aops", "nDCG@10", [0.0, 0.2]), measured("bright_pony", "nDCG@10", [0.5] * 8)]
    found.append(measured("bright_pony_long", "nDCG@10", [1.0, 1.0]))
    readers = {f.collection: "bright" for f in found} | {"reddit": "squad"}
    rows = benchmark_table([*found, measured("reddit", "nDCG@10", [1.0, 1.0])], readers, None, EVALUATION)
    by_set = {row["dataset"]: row for row in rows}
    assert set(by_set) == {"aops", "pony", "pony_long", "mean2"}
    assert by_set["mean2"]["value"] == pytest.approx((0.1 + 0.5) / 2) and by_set["mean2"]["n"] == 10
    assert by_set["mean2"]["note"] == "unweighted mean of 2 sets; the published mean is over 12"
    assert by_set["aops"]["depth"] == 100 and by_set["mean2"]["ci_low"] <= 0.3 <= by_set["mean2"]["ci_high"]


def test_a_short_list_warns_that_map_is_none():
    sets = {"robust04": ("AP@1000", [0.2, 0.4]), "news21": ("nDCG@5", [0.6, 0.6]), "core17": ("AP@1000", [0.1, 0.1])}
    found = [measured(f"followir_{name}", *part) for name, part in sets.items()]
    found += [measured(f"followir_{name}", "p-MRR", [10.0, 20.0]) for name in sets]
    readers = {f.collection: "followir" for f in found}
    params = EVALUATION | {"imported": ["followir_news21"]}
    rows = {(r["dataset"], r["metric"]): r for r in benchmark_table(found, readers, None, params)}
    assert rows["robust04", "AP@1000"]["note"] == "WARNING: 100 documents are ranked, so this is AP@100, no MAP@1000"
    assert rows["news21", "nDCG@5"]["note"] == "first stage: imported run"
    assert rows["mean3", "score"]["value"] == pytest.approx((0.3 + 0.6 + 0.1) / 3)
    assert "WARNING: MAP needs 1000 ranked documents" in rows["mean3", "score"]["note"]
    assert rows["mean3", "p-MRR"]["value"] == pytest.approx(15.0)
    deep = benchmark_table([measured("followir_core17", "AP@1000", [0.1, 0.2], 1000)], readers, None, EVALUATION)
    assert deep[0]["note"] == ""


def test_published_rows_stand_beside_with_their_depth():
    path = ROOT / "config/expected/limrank.tsv"
    bright = published_rows(path, "bright")
    rank1 = next(r for r in bright if (r["dataset"], r["system"], r["depth"]) == ("biology", "rank1-7b", "100"))
    assert rank1["value"] == pytest.approx(0.488) and rank1["metric"] == "nDCG@10"
    headline = next(r for r in bright if r["system"] == "limrank-7b")
    assert headline["depth"] == "" and headline["note"].startswith("depth not stated")
    followir = {(r["dataset"], r["system"], r["metric"]): r["value"] for r in published_rows(path, "followir")}
    assert followir["core17", "followir-7b", "p-MRR"] == 16.5
    assert followir["robust04", "followir-7b", "AP@1000"] == pytest.approx(0.248)
    litsearch, *_ = published_rows(path, "litsearch")
    assert (litsearch["dataset"], litsearch["metric"]) == ("litsearch", "R@5")


def test_the_interval_of_a_mean_keeps_each_sets_weight():
    found = [measured("bright_aops", "nDCG@10", [0.0] * 2), measured("bright_pony", "nDCG@10", [1.0] * 50)]
    mean = benchmark_table(found, {f.collection: "bright" for f in found}, None, EVALUATION)[-1]
    assert (mean["dataset"], mean["value"], mean["ci_low"], mean["ci_high"]) == ("mean2", 0.5, 0.5, 0.5)


def test_training_seeds_are_resampled_for_all_sets_at_once():
    # one model is always wrong, the other always right: two drawn anew are the same one a time in two, so that the
    # interval is 0 to 1. Seeds drawn for each of three sets apart would all be the wrong one a time in 64, below 2.5%
    names = ("bright_aops", "bright_pony", "bright_biology")
    found = [seeded(name, "nDCG@10", [[0.0] * 5, [1.0] * 5]) for name in names]
    rows = benchmark_table(found, dict.fromkeys(names, "bright"), None, EVALUATION)
    assert [row["dataset"] for row in rows] == ["aops", "pony", "biology", "mean3"]
    assert {(row["value"], row["ci_low"], row["ci_high"]) for row in rows} == {(0.5, 0.0, 1.0)}
    assert [row["n"] for row in rows] == [5, 5, 5, 15]


def test_every_seed_of_a_scored_set_reaches_the_table():
    books, name = evaluation.Books(), "followir_core17"
    for seed, value in ((13, -10.0), (42, 10.0)):
        books.followir.add((name, "tuned", "direct"), {"p-MRR": {"310": value, "311": value}}, 0.0, 1000, seed)
    job = Job("limrank.evaluate", {"collections": []}, {}, EVALUATION | {"followir": [name]})
    (row,) = evaluation.benchmark_rows(job, books)
    # both models drawn anew are the worse one a time in four
    assert (row["dataset"], row["value"], row["ci_low"], row["ci_high"], row["n"]) == ("core17", 0, -10, 10, 2)


def test_one_seed_has_the_interval_over_queries():
    # means of two draws from {0, 1}: 0, 1/2, 1 with shares 1/4, 1/2, 1/4
    (row,) = benchmark_table(
        [measured("bright_pony", "nDCG@10", [0.0, 1.0])], {"bright_pony": "bright"}, None, EVALUATION
    )
    assert (row["value"], row["ci_low"], row["ci_high"], row["n"]) == (0.5, 0.0, 1.0, 2)
    (row,) = benchmark_table([measured("bright_pony", "nDCG@10", [0.3])], {"bright_pony": "bright"}, None, EVALUATION)
    assert (row["ci_low"], row["ci_high"], row["n"]) == (None, None, 1)


def test_sets_of_a_mean_need_the_same_training_seeds_and_queries():
    found = [seeded("bright_aops", "nDCG@10", [[0.1, 0.2]] * 2), seeded("bright_pony", "nDCG@10", [[0.1, 0.2]] * 3)]
    with pytest.raises(DataError, match=r"bright: tuned .*bright_aops \(2\), bright_pony \(3\)"):
        benchmark_table(found, {f.collection: "bright" for f in found}, None, EVALUATION)
    with pytest.raises(DataError, match="evaluated on different queries"):
        seeded("bright_aops", "nDCG@10", [[0.1, 0.2], [0.1]]).table()


def test_wrappers_hold_the_query_once_and_are_data():
    wrappers = load_templates(ROOT / "workflow/prompts/limrank/wrappers.yaml")["wrapper"]
    assert [w.id for w in wrappers.templates] == ["stackexchange", "aops", "theoremqa", "leetcode", "pony"]
    for wrapper in wrappers.templates:
        assert render(wrapper.prompt, {"query": "why {x}?"}).endswith(": why {x}?")
