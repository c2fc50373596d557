"""A corpus without human questions: its test set of held-out synthetic ones, and what is refused."""

import pytest
from helpers import ROOT

from searchtune.collections.beir import Collection, Passage
from searchtune.collections.trec import write_run
from searchtune.errors import ConfigError, DataError
from searchtune.evaluation.leakage import training_texts
from searchtune.files import write_jsonl
from searchtune.plan import plan
from searchtune.stage import Job
from searchtune.synthesis import udapdr_held
from searchtune.synthesis.udapdr_chains import Chains, held_collections

NOTES = {"reader": "texts", "raw": ["mini/topics.nq.test.txt"], "n_test": 0, "target": True}


def filtered(folder, parts):
    rows = [
        {"id": f"q{i}", "text": f"what is {i}?", "source": "a", "prompt": 0, "part": part, "rank": 1}
        for i, part in enumerate(parts)
    ]
    write_jsonl(folder / "queries.jsonl", rows)
    write_run(folder / "candidates.run.gz", {row["id"]: [("a", 1.0)] for row in rows}, "candidates")
    return folder


def made(tmp_path, parts):
    corpus = Collection({"a": Passage("", "one"), "b": Passage("", "two")}, {}, {}, manifest={"id": "notes"})
    corpus.save(tmp_path / "notes")
    inputs = {"collection": tmp_path / "notes", "queries": filtered(tmp_path / "filtered", parts)}
    udapdr_held.run(Job("udapdr.held", inputs, {"collection": tmp_path / "held"}, {"id": "notes_held"}))
    return Collection.load(tmp_path / "held")


def test_only_what_trains_nothing_is_tested_with(tmp_path):
    collection = made(tmp_path, ["train", "held", "label", "held"])
    assert collection.qrels_of("test") == {"q1": {"a": 1}, "q3": {"a": 1}}
    assert list(collection.corpus) == ["a", "b"]
    assert collection.manifest["id"] == "notes_held" and collection.manifest["queries"] == "synthetic, held out"
    # and the audit does not count it as training data
    assert {i for i, _ in training_texts(tmp_path / "filtered")} == {"q0", "q2"}


def test_nothing_held_out_is_an_error_that_says_what_to_change(tmp_path):
    with pytest.raises(DataError, match="no synthetic query was held out to test with.*filter.shares"):
        made(tmp_path, ["train", "label"])


def test_such_a_target_is_scored_on_its_held_out_queries():
    user = {"scale": "ci", "collections": {"notes": NOTES}, "udapdr": {"target": "notes", "run_ablations": ["direct"]}}
    config = plan(ROOT, user)
    chains = Chains(config)
    assert held_collections(config) == ["notes_held"]
    assert chains.scored_path("notes") == "<results>/collections/notes_held"
    assert chains.collection_path("notes.direct") == "<results>/collections/notes"
    assert {row["collection"] for row in chains.runs()} == {"notes_held"}


def test_seeds_must_share_the_held_out_queries():
    part = {"target": "notes", "seeds_from": "queries", "run_ablations": []}
    user = {"scale": "ci", "collections": {"notes": NOTES}, "udapdr": part}
    plan(ROOT, user)
    with pytest.raises(ConfigError, match="seeds_from is 'queries', but 'notes' has no human questions"):
        plan(ROOT, user | {"seeds": [13, 14]})


def test_texts_cannot_have_questions():
    user = {"scale": "ci", "collections": {"notes": NOTES | {"n_test": 20}}}
    with pytest.raises(ConfigError, match="plain texts have no questions"):
        plan(ROOT, user)
