"""Sampling, splits and the canary switch of ``inters.examples``."""

import json

import pytest

from searchtune.collections.beir import Collection, Passage, Query
from searchtune.collections.splits import split_of
from searchtune.errors import DataError
from searchtune.files import read_jsonl, read_tsv
from searchtune.stage import Job
from searchtune.tasks.example import Example
from searchtune.tasks.examples import by_split, run, sizes_of, spread, take

SHARES = {"train": 0.7, "dev": 0.1, "test": 0.2}


def example(number, article, task="query_expansion", dataset="gov2"):
    return Example(f"{task}/{dataset}/{number}", task, dataset, article, {"title": article}, "t")


def test_spread_takes_every_article_once_before_any_twice():
    examples = [example(i, f"a{i % 3}") for i in range(9)]
    order = spread(examples, 5)
    assert {e.article for e in order[:3]} == {"a0", "a1", "a2"} == {e.article for e in order[3:6]}
    assert [e.id for e in spread(list(reversed(examples)), 5)] == [e.id for e in order]
    assert [e.id for e in spread(examples, 6)] != [e.id for e in order]


def test_smaller_samples_are_prefixes_and_too_large_ones_are_refused():
    available = by_split([example(i, f"article {i}") for i in range(60)], 0, SHARES)
    sizes = {"train": 20, "dev": 1, "test": 3}
    large = take(available, sizes, 1, "x")
    small = take(available, sizes | {"train": 5}, 1, "x")
    assert small["train"] == large["train"][:5] and len(large["test"]) == 3
    with pytest.raises(DataError, match=r"query_expansion/gov2: n_dev is 50, but its dev articles give \d+ examples"):
        take(available, sizes | {"dev": 50}, 1, "query_expansion/gov2")


def test_a_published_split_stands_where_it_is_asked_for():
    from dataclasses import replace

    ours, theirs = example(0, "article"), replace(example(1, "article"), split="dev")
    assert [len(by_split([ours, theirs], 0, SHARES)[split_of("article", 0, SHARES)])] == [2]
    assert theirs in by_split([ours, theirs], 0, SHARES, published=True)["dev"]


def test_the_same_title_goes_the_same_way_in_every_data_set():
    for title in ("Pearl farming", "Oxygen", "Steam_engine"):
        spellings = [example(1, title), example(2, title.replace("_", " ").upper(), dataset="fire")]
        assert len([s for s, found in by_split(spellings, 3, SHARES).items() if found]) == 1
        assert by_split(spellings[:1], 3, SHARES)[split_of(title, 3, SHARES)]


def test_evaluate_only_keeps_canaried_data_out_of_training():
    settings = {"n_train": 5, "n_dev": 2, "n_test": 3}
    assert sizes_of(settings, ["bigbench"], "evaluate_only") == {"train": 0, "dev": 2, "test": 3}
    assert sizes_of(settings, ["bigbench"], "train_locally")["train"] == 5
    assert sizes_of(settings, [], "evaluate_only")["train"] == 5


def topics(path, count):
    path.write_text(
        "".join(
            f"<top>\n<num> Number: {i}\n<title> subject {i}\n<desc> Description:\nWhat is {i}?\n"
            f"<narr> Narrative:\nAll about {i}.\n</top>\n"
            for i in range(1, count + 1)
        ),
        encoding="utf-8",
    )


@pytest.fixture
def job(tmp_path):
    raw = tmp_path / "raw/pack"
    raw.mkdir(parents=True)
    topics(raw / "topics.txt", 40)
    rows = [{"input": f"story {i}", "target": f"summary {i}", "comment": i} for i in range(40)]
    (raw / "xsum.json").write_text(json.dumps({"examples": rows}), encoding="utf-8")
    sizes = {"n_train": 8, "n_dev": 1, "n_test": 2, "max_words": 50, "depth": 10, "upto": False}
    params = {
        "pairs": {"query_expansion/gov2": sizes, "summarization/xsum": sizes},
        "seed": 0,
        "split_seed": 0,
        "shares": SHARES,
        "published_splits": False,
        "canary_data": "train_locally",
        "sources": {
            "gov2": {"raw": ["pack/topics.txt"], "canary": [], "licence": "NIST"},
            "xsum": {"raw": ["pack/xsum.json"], "canary": ["bigbench"], "licence": ""},
        },
    }
    return Job("inters.examples", {"raw": [raw], "collections": [], "runs": []}, {"examples": tmp_path / "out"}, params)


def test_stage_writes_splits_that_share_no_article(job):
    counts = run(job)
    rows = {s: read_jsonl(job.outputs["examples"] / f"{s}.jsonl") for s in ("train", "dev", "test")}
    assert {s: len(found) for s, found in rows.items()} == {"train": 16, "dev": 2, "test": 4}
    articles = {s: {r["article"] for r in found} for s, found in rows.items()}
    assert not articles["train"] & articles["test"] and not articles["dev"] & articles["test"]
    assert set(rows["test"][0]) == {
        "id",
        "task",
        "dataset",
        "category",
        "split",
        "article",
        "fields",
        "target",
        "labels",
        "references",
        "meta",
    }
    assert counts["canary"] == ["bigbench"] and counts["licences"] == ["NIST", "not stated"]
    table = read_tsv(job.outputs["examples"] / "statistics.tsv")
    assert {r["canary"] for r in table if r["dataset"] == "xsum"} == {"bigbench"}
    assert sum(int(r["available"]) for r in table if r["dataset"] == "gov2") == 40


def test_stage_under_evaluate_only_trains_on_topics_alone(job):
    job.params["canary_data"] = "evaluate_only"
    run(job)
    train = read_jsonl(job.outputs["examples"] / "train.jsonl")
    test = read_jsonl(job.outputs["examples"] / "test.jsonl")
    assert {r["dataset"] for r in train} == {"gov2"} and {r["dataset"] for r in test} == {"gov2", "xsum"}


def test_questions_that_a_target_asks_are_not_written_about(job):
    """The default writer of adapt: rules of evidence, 17."""
    raw = job.inputs["raw"][0]
    names = [
        f"river {word}"
        for word in ["alder", "birch", "cedar", "dogwood", "elm", "fir", "ginkgo", "hazel", "ivy", "juniper"]
    ]
    questions = [f"where does the {name} begin" for name in names]
    rows = [json.dumps({"question": question, "answer": ["there"]}) for question in questions]
    (raw / "nq.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    said = [
        f"{i}\t{q} it is known that the {n} does begin far up in the hills"
        for i, (q, n) in enumerate(zip(questions, names, strict=True))
    ]
    (raw / "gar.tsv").write_text("\n".join(said) + "\n", encoding="utf-8")
    corpus = {"d": Passage("", "a passage")}
    asked = {"q": Query("Where does the River Alder begin?", metadata={"split": "test"})}
    Collection(corpus, asked, {"q": {"d": 1}}, manifest={"id": "mine"}).save(raw.parent.parent / "mine")
    pair = "query_generation/gar_nq"
    job.params["pairs"] = {pair: {"n_train": 0, "n_dev": 0, "n_test": 1, "max_words": 50, "depth": 10, "upto": True}}
    job.params["sources"] = {"gar_nq": {"raw": ["pack/nq.jsonl", "pack/gar.tsv"], "canary": [], "licence": ""}}
    counts = []
    for avoided in ([], [raw.parent.parent / "mine"]):
        job.inputs["avoided"] = avoided
        run(job)
        table = read_tsv(job.outputs["examples"] / "statistics.tsv")
        counts.append(sum(int(row["available"]) for row in table))
    assert counts == [10, 9]


def test_missing_raw_file_is_named(job):
    job.params["sources"]["xsum"]["raw"] = ["pack/gone.json"]
    with pytest.raises(DataError, match=r"gone\.json is not there"):
        run(job)
