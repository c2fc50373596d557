"""Leakage: planted overlaps are found, innocent data passes, messages name ids and never texts."""

import json

import pytest

from searchtune.collections.beir import Collection, Passage, Query
from searchtune.collections.trec import write_run
from searchtune.errors import ConfigError, DataError, LeakageError
from searchtune.evaluation.leakage import assert_targets_not_trained, words_of
from searchtune.files import read_jsonl, read_tsv, write_jsonl
from searchtune.stage import run_job

LONG = "the old lighthouse keeper walked down to the harbour every morning before the first boats came in with fish"
OTHER = "a quiet town in the hills grows apples and pears and sends them by train to the markets of the coast"


def collection(folder, queries, passages, split="test", article="Some_Article"):
    corpus = {f"d{i}": Passage("", text) for i, text in enumerate(passages)}
    table = {
        f"{folder.name}-q{i}": Query(text, metadata={"split": split, "article": article})
        for i, text in enumerate(queries)
    }
    Collection(corpus, table, {q: {f"d{i % len(corpus)}": 1} for i, q in enumerate(table)}).save(folder)
    return folder


def audit(tmp_path, train, evaluated, texts=(), **changes):
    inputs = {"train": train, "eval": evaluated, "corpora": texts}
    spec = {
        "stage": "audit.leakage",
        "inputs": {name: [str(p) for p in paths] for name, paths in inputs.items()},
        "log": str(tmp_path / "audit_leakage.log"),
        "outputs": {"report": str(tmp_path / "out" / "report.tsv"), "overlaps": str(tmp_path / "out" / "o.jsonl")},
        "params": {"n": 13, "max_share": 0.1, "chains": {}} | changes,
    }
    run_job(spec)
    rows = read_tsv(tmp_path / "out" / "report.tsv")
    return {(r["train"], r["kind"]): r for r in rows}, read_jsonl(tmp_path / "out" / "o.jsonl")


def prompts(path, texts):
    path.write_text(
        "".join(json.dumps({"id": f"r{i}", "prompt": text, "completion": "yes"}) + "\n" for i, text in enumerate(texts))
    )
    return path


def test_words_are_compared_without_case_punctuation_and_width():
    assert words_of("The Café’s  ＣＡＴ, no. 1!") == ["the", "café", "s", "cat", "no", "1"]
    assert words_of("co\u00adoperative _money_ a\u200bb") == ["cooperative", "money", "ab"]
    # no blanks between words: what stands inside a line is found by its characters
    assert words_of("磨坊 grinds かな") == ["磨", "坊", "grinds", "か", "な"]


def test_clean_data_passes_with_zero_shares(tmp_path):
    target = collection(tmp_path / "eval", ["where does the keeper walk every morning"], [LONG])
    train = prompts(tmp_path / "train.jsonl", [f"Write a question. {OTHER}"])
    rows, overlaps = audit(tmp_path, [train], [target])
    assert {(r["kind"], r["share"], r["exact"]) for r in rows.values()} == {
        ("query", "0", "0"),
        ("passage", "0", "0"),
        ("article", "0", "0"),
    }
    assert overlaps == []


@pytest.mark.parametrize(
    "text",
    [
        "Question: Where does the keeper walk every morning?\nAnswer:",
        "where does the keeper WALK every morning",
        "Decide if it fits: where does the keeper walk every morning? Passage: something",
    ],
)
def test_a_query_inside_a_prompt_is_found(tmp_path, text):
    target = collection(tmp_path / "eval", ["Where does the keeper walk every morning?"], [LONG])
    train = prompts(tmp_path / "train.jsonl", ["unrelated words", text])
    with pytest.raises(LeakageError) as caught:
        audit(tmp_path, [train], [target])
    message = str(caught.value)
    assert "1 of 1 query texts" in message and "(100.0%)" in message and "the limit is 10.0%" in message
    assert "eval-q0 in r1" in message and train.name in message
    assert "keeper" not in message
    # the whole list outlives the job's outputs
    kept = tmp_path / "audit_leakage.overlaps.jsonl"
    assert f"all overlaps: {kept}" in message
    assert [(row["eval_id"], row["train_id"], row["kind"]) for row in read_jsonl(kept)] == [("eval-q0", "r1", "query")]
    assert not (tmp_path / "out" / "report.tsv").exists()


def test_a_short_query_counts_only_as_a_whole_line_or_field(tmp_path):
    target = collection(tmp_path / "eval", ["apple pie"], [LONG])
    rows, _ = audit(tmp_path, [prompts(tmp_path / "a.jsonl", ["she likes apple pie and tea"])], [target])
    assert next(r for (_, kind), r in rows.items() if kind == "query")["share"] == "0"
    with pytest.raises(LeakageError, match="query texts"):
        audit(tmp_path, [prompts(tmp_path / "b.jsonl", ["Task.\nQuery: Apple pie\nEnd."])], [target])


def test_thirteen_shared_words_count_and_twelve_do_not(tmp_path):
    words = LONG.split()
    target = collection(tmp_path / "eval", ["who is he"], [LONG])
    twelve = prompts(tmp_path / "a.jsonl", [" ".join(words[2:14]) + " no more"])
    rows, _ = audit(tmp_path, [twelve], [target])
    assert next(r for (_, kind), r in rows.items() if kind == "passage")["ngram"] == "0"
    thirteen = prompts(tmp_path / "b.jsonl", [" ".join(words[2:15]) + " no more"])
    with pytest.raises(LeakageError, match=r"1 of 1 passage texts .* d0 in r0"):
        audit(tmp_path, [thirteen], [target])


def test_a_share_below_the_limit_is_reported_by_id_and_passes(tmp_path):
    queries = [f"what is the colour of thing number {i} in the shop" for i in range(10)]
    target = collection(tmp_path / "eval", queries, [LONG])
    train = prompts(tmp_path / "train.jsonl", [queries[3]])
    rows, overlaps = audit(tmp_path, [train], [target], max_share=0.1)
    row = next(r for (_, kind), r in rows.items() if kind == "query")
    assert (row["exact"], row["ngram"], row["n_eval"], row["share"]) == ("1", "1", "10", "0.1")
    assert overlaps == [
        {
            "chain": "all",
            "train": row["train"],
            "eval": row["eval"],
            "kind": "query",
            "eval_id": "eval-q3",
            "match": "exact",
            "train_id": "r0",
        }
    ]
    with pytest.raises(LeakageError):
        audit(tmp_path, [train], [target], max_share=0.09)


def test_collections_are_compared_by_train_against_test_and_by_article(tmp_path):
    target = collection(tmp_path / "eval", ["where does the keeper go"], [LONG], article="Light_House")
    apart = collection(tmp_path / "apart", ["what do they grow there"], [OTHER], "train", "Apple Town")
    same = collection(tmp_path / "same", ["what do they grow there"], [OTHER], "train", "light house")
    heldout = collection(tmp_path / "heldout", ["where does the keeper go"], [LONG], "test", "Light_House")
    rows, _ = audit(tmp_path, [apart, heldout], [target])
    assert {r["ngram"] for r in rows.values()} == {"0"}
    with pytest.raises(LeakageError, match="1 of 1 article texts"):
        audit(tmp_path, [same], [target])


def test_a_chain_that_adapts_to_a_corpus_refuses_queries_only(tmp_path):
    target = collection(tmp_path / "eval", ["where does the keeper go"], [LONG])
    train = prompts(tmp_path / "train.jsonl", [LONG])
    name = f"{tmp_path.name}/train.jsonl"
    chains = {"adapt": {"train": [name], "kinds": ["query"]}}
    rows, _ = audit(tmp_path, [train], [target], chains=chains)
    assert (rows[name, "passage"]["share"], rows[name, "passage"]["enforced"]) == ("1", "false")
    with pytest.raises(ConfigError, match=r"leakage chain 'adapt': unknown kinds 'queries'; did you mean 'query'\?"):
        audit(tmp_path, [train], [target], chains={"adapt": {"kinds": ["queries"]}})


CLAIM = "apples and pears from the hills go by train to the big markets of the coast"  # 16 words


def task_examples(folder, fields, target, meta):
    folder.mkdir()
    tests = {"id": "t0", "fields": fields, "target": target, "meta": meta}
    trains = {
        "id": "r0",
        "fields": {"article": LONG, "next": "And who buys them?"},
        "target": f"{CLAIM.capitalize()}.",
        "meta": {},
    }
    for part, row in (("test", tests), ("train", trains)):
        (folder / f"{part}.jsonl").write_text(json.dumps(row) + "\n")
    return folder


@pytest.mark.parametrize(
    ("fields", "target", "meta", "expected"),
    [
        ({"claim": CLAIM, "evidence": LONG}, "SUPPORTS", {}, {"query", "passage"}),
        ({"article": OTHER}, CLAIM, {}, {"query"}),
        # a short question can be asked of any passage; alone it is the whole of what is asked
        ({"question": "and who buys them", "passage": OTHER}, "all", {}, set()),
        ({"query": "and who buys them"}, "all", {}, {"query"}),
        # a candidate that answers nothing is a passage of the corpus, and is no leak
        ({"query": "who sells pears at the market", "passage": LONG}, "no", {"grade": 0}, set()),
        ({"query": "who sells pears at the market", "passage": LONG}, "yes", {"grade": 1}, {"passage"}),
    ],
)
def test_task_examples_are_looked_for_by_what_is_their_own_and_by_their_passage(
    tmp_path, fields, target, meta, expected
):
    folder = task_examples(tmp_path / "examples", fields, target, meta)
    rows, _ = audit(tmp_path, [folder], [folder], max_share=1.0)
    assert {kind for (_, kind), row in rows.items() if row["ngram"] == "1"} == expected


def filtered(folder, candidates, part="train"):
    """Write UDAPDR's filtered queries: text and passage ids, one query a ranked list of passages, its source first."""
    rows = [
        {"id": f"s{i}", "text": f"what is thing number {i}", "source": ids[0], "prompt": 0, "part": part, "rank": 1}
        for i, ids in enumerate(candidates)
    ]
    write_jsonl(folder / "queries.jsonl", rows)
    lists = {f"s{i}": [(d, 1.0 / (r + 1)) for r, d in enumerate(ids)] for i, ids in enumerate(candidates)}
    write_run(folder / "candidates.run.gz", lists, "x")
    return folder


THIRD = "the night train crosses the plain without a stop and its lamps are seen from farms far away on both sides"


@pytest.mark.parametrize(
    ("candidates", "part", "shared"),
    [
        # d0 is the target's passage; d1 and d2 are not
        ([["d1", "d2"]], "train", False),
        ([["d0", "d2"]], "train", True),  # as what a query was written for
        ([["d1", "d2", "d0"]], "label", True),  # as a negative, or a passage of a tuple
        ([["d0", "d1"]], "held", False),  # trains nothing
    ],
)
def test_passages_that_off_domain_training_names_by_id_are_compared(tmp_path, candidates, part, shared):
    target = collection(tmp_path / "target", ["where does the keeper go"], [LONG])
    other = collection(tmp_path / "other", ["what do they grow"], [LONG.upper(), OTHER, THIRD], "train")
    queries = filtered(tmp_path / "chain" / "filtered", candidates, part)
    named = {"chain/filtered": f"{tmp_path.name}/other"}
    if shared:
        with pytest.raises(LeakageError, match="1 of 1 passage texts of .*: d0 in d0; all overlaps"):
            audit(tmp_path, [queries], [target], [other], corpora=named)
    else:
        rows, _ = audit(tmp_path, [queries], [target], [other], corpora=named)
        assert rows["chain/filtered", "passage"]["share"] == "0"
        assert rows["chain/filtered", "passage"]["n_train"] == ("3" if part == "train" else "0")


def test_a_list_of_overlaps_goes_when_they_do(tmp_path):
    target = collection(tmp_path / "eval", ["where does the keeper go"], [LONG])
    with pytest.raises(LeakageError):
        audit(tmp_path, [prompts(tmp_path / "train.jsonl", [LONG])], [target])
    kept = tmp_path / "audit_leakage.overlaps.jsonl"
    assert kept.is_file()
    audit(tmp_path, [prompts(tmp_path / "train.jsonl", [OTHER])], [target])
    assert not kept.exists()


def test_a_folder_without_data_is_refused(tmp_path):
    target = collection(tmp_path / "eval", ["where does the keeper go"], [LONG])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="nothing to audit"):
        audit(tmp_path, [tmp_path / "empty"], [target])


def test_a_plan_that_trains_on_a_target_is_refused_by_chain_and_collection():
    assert_targets_not_trained({"amazon"}, {"udapdr.writer": {"squad"}, "inters": {"new_wiki"}})
    with pytest.raises(LeakageError, match=r"udapdr\.writer would be trained on 'amazon', .*gives no human query"):
        assert_targets_not_trained({"amazon", "nyt"}, {"inters": {"squad"}, "udapdr.writer": {"amazon", "squad"}})
