"""A language model as teacher of UDAPDR's student: the same tuples as cross-encoders get, its log-odds as scores."""

from types import SimpleNamespace

import pytest
from helpers import ROOT

from searchtune.collections.beir import Collection, Passage, Query
from searchtune.collections.synthetic import Synthetic
from searchtune.collections.trec import write_run
from searchtune.evaluation.udapdr import note_of
from searchtune.evaluation.udapdr_failures import judge_rows
from searchtune.files import read_jsonl, read_tsv, write_jsonl, write_tsv
from searchtune.reranking.judge import source_first, task_of
from searchtune.reranking.reasoning import COUNTS_COLUMNS
from searchtune.reranking.teachers import plan_windows
from searchtune.stage import provenance_of, run_job

PASSAGES = {
    "a": "The harbour of the old town is busy in spring.",
    "b": "A garden of roses lies behind the mill.",
    "c": "Copper is mined in the north of the island.",
    "d": "The bridge was built of stone and timber in a year that nobody now remembers well at all.",
    "e": "Falcons nest on the cliffs above the harbour.",
}
PROMPT = (
    "Is the passage relevant to the query? Think first, then answer true or false.\nQuery: {query}\nPassage: {passage}"
)
PARAMS = {
    **{"nway": 3, "windows": 2, "depth": 5, "n_tuples": 100, "seed": 13, "faults": []},
    **{"judge": "limrank/direct", "mode": "direct", "form": "chatml", "backend": "transformers", "dtype": "float32"},
    **{"prompt": "default", "max_reasoning_tokens": 4, "max_passage_tokens": 60, "max_query_tokens": 40},
    **{"max_model_len": 512, "block": 3},
}


def row(name: str, source: str, candidates: str, part: str = "label") -> Synthetic:
    return Synthetic(name, f"what is {name} about?", source, 0, part, tuple(candidates), 1)


def test_a_passage_of_several_windows_is_judged_once():
    rows = [row("q1", "a", "abcde"), row("q2", "e", "edcba")]
    windows = plan_windows(rows, PARAMS)
    # five candidates without the source make two windows of two, each behind the source
    assert sorted((r.id, number, "".join(ids)) for r, number, ids in windows) == [
        ("q1", 0, "abc"),
        ("q1", 1, "ade"),
        ("q2", 0, "edc"),
        ("q2", 1, "eba"),
    ]
    task = task_of(windows, Collection({i: Passage("", t) for i, t in PASSAGES.items()}, {}, {}, {}))
    assert sorted(task.candidates) == ["q1", "q2"]
    assert sorted(task.candidates["q1"]) == list("abcde") and len(task.candidates["q2"]) == 5
    assert task.queries["q1"] == "what is q1 about?" and task.passages["c"] == PASSAGES["c"]


def test_the_source_is_first_only_if_no_other_passage_has_its_score():
    rows = [{"passages": ["a", "b"], "scores": scores} for scores in ([2.0, 1.0], [1.0, 1.0], [0.0, 3.0], [5.0, -1.0])]
    # a source that stands twice in its window (fault U4) does not compete with itself
    rows += [{"passages": ["a", "a", "b"], "scores": [2.0, 2.0, 1.0]}]
    assert source_first(rows) == 0.6


def test_verdicts_that_were_not_given_freely_are_counted_by_judge(tmp_path):
    counts = dict.fromkeys(COUNTS_COLUMNS, 0) | {"mode": "reasoning", "pairs": 8, "forced": 6, "empty": 2}
    write_tsv(tmp_path / "counts.tsv", COUNTS_COLUMNS, [counts])
    rows = judge_rows([tmp_path], ["limrank/direct, amazon.judge"])
    assert [(r["calls"], r["failed"], r["share"]) for r in rows] == [(8, 6, 0.75), (8, 2, 0.25), (8, 0, 0.0)]
    assert rows[0]["step"] == "judge limrank/direct, amazon.judge, reasoning: reasoning cut off, verdict forced"


def test_the_quality_table_says_that_cross_encoders_did_not_teach():
    assert note_of("bm25_reranked", 1, "", "") == "one seed"
    assert note_of("bm25_reranked", 3, "", "x") == "3 seeds; cross-encoders, the teacher is x"
    assert note_of("student_adapted", 3, "", "x") == "3 seeds"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    from searchtune.training.tiny import build_lm

    root = tmp_path_factory.mktemp("judge")
    build_lm([*PASSAGES.values(), PROMPT, "true false"] * 4, root / "lm", hidden=32, vocabulary=400)
    Collection(
        {i: Passage("", t) for i, t in PASSAGES.items()}, {"h": Query("harbour?", "", {"split": "test"})},
        {"h": {"a": 1}}, {}, {"id": "small"},
    ).save(root / "small")  # fmt: skip
    rows = [row("q1", "a", "abcde"), row("q2", "e", "edcba"), row("q3", "c", "cabde", "train")]
    write_jsonl(
        root / "filtered" / "queries.jsonl",
        [
            {"id": r.id, "text": r.text, "source": r.source, "prompt": r.prompt, "part": r.part, "rank": r.rank}
            for r in rows
        ],
    )
    candidates = {r.id: [(i, float(-n)) for n, i in enumerate(r.candidates)] for r in rows}
    write_run(root / "filtered" / "candidates.run.gz", candidates, "made")
    return root


def judged(root, out, **changes) -> SimpleNamespace:
    files = {"collection": root / "small", "queries": root / "filtered", "model": root / "lm"}
    files["prompts"] = ROOT / "workflow/prompts/limrank/rerank.yaml"
    stats = run_job(
        {
            "stage": "score.judge",
            "inputs": {name: str(path) for name, path in files.items()},
            "outputs": {"tuples": str(out / "tuples.jsonl"), "judged": str(out / "judged")},
            "params": PARAMS | changes,
        }
    )
    return SimpleNamespace(stats=stats, tuples=read_jsonl(out / "tuples.jsonl"), folder=out / "judged")


def log_odds(folder, query: str, passage: str) -> float:
    """Log-probability of `` true`` minus that of `` false``, each read behind the prompt by the model itself."""
    import torch
    from tokenizers import Tokenizer
    from transformers import AutoModelForCausalLM

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    text = PROMPT.format(query=query, passage=passage)
    text = f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n<think> </think>"
    prompt = tokenizer.encode(text, add_special_tokens=False).ids
    found = []
    for verdict in (" true", " false"):
        ids = tokenizer.encode(verdict, add_special_tokens=False).ids
        with torch.inference_mode():
            logprobs = model(torch.tensor([prompt + ids])).logits[0].log_softmax(-1)
        found.append(sum(logprobs[len(prompt) - 1 + n, token].item() for n, token in enumerate(ids)))
    return found[0] - found[1]


@pytest.mark.slow
def test_scores_are_the_log_odds_of_true_against_false(inputs, tmp_path):
    found = judged(inputs, tmp_path)
    assert found.stats["tuples"] == 4 and found.stats["pairs"] == 10 and found.stats["labelled"] == 2
    assert {"".join(t["passages"]) for t in found.tuples} == {"abc", "ade", "edc", "eba"}
    for made in found.tuples:
        direct = [log_odds(inputs / "lm", made["query"], PASSAGES[i]) for i in made["passages"]]
        assert made["scores"] == pytest.approx(direct, abs=2e-4)
        assert made["teachers"] == [made["scores"]] and made["phase"] == 0
    values = [score for made in found.tuples for score in made["scores"]]
    assert max(values) - min(values) > 1e-3, "scores that do not differ would make this test blind"
    # every call is kept, and nothing was forced or empty
    assert len(read_jsonl(found.folder / "calls" / "direct-tuples.jsonl.gz")) == 10
    counts = read_tsv(found.folder / "counts.tsv")[0]
    assert (counts["pairs"], counts["queries"], counts["forced"], counts["empty"]) == ("10", "2", "0", "0")
    assert provenance_of(tmp_path / "tuples.jsonl")["recipe"]["stage"] == "score.judge"


@pytest.mark.slow
def test_fewer_tuples_are_a_prefix_and_cuts_and_forced_verdicts_are_counted(inputs, tmp_path):
    every, few = judged(inputs, tmp_path / "all"), judged(inputs, tmp_path / "few", n_tuples=2)
    assert [t["passages"] for t in few.tuples] == [t["passages"] for t in every.tuples[:2]]
    # other batches, other roundings
    for mine, theirs in zip(few.tuples, every.tuples, strict=False):
        assert mine["id"] == theirs["id"] and mine["scores"] == pytest.approx(theirs["scores"], abs=1e-5)
    cut = judged(inputs, tmp_path / "cut", max_passage_tokens=12)
    assert cut.stats["passages_cut"] > 0
    thinking = judged(inputs, tmp_path / "think", mode="reasoning")
    assert thinking.stats["forced"] + thinking.stats["empty"] > 0
    assert [t["passages"] for t in thinking.tuples] == [t["passages"] for t in every.tuples]
    # fault L14: a reasoning that was cut off scores a silent 0.5, whose log-odds are 0
    silent = judged(inputs, tmp_path / "silent", mode="reasoning", faults=["L14"])
    assert silent.stats["fallback"] == silent.stats["forced"] > 0
    assert any(0.0 in t["scores"] for t in silent.tuples)
