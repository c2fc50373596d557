"""Retrieval-augmented generation: question sets, systems, prompts, scoring, tables, what published shares can carry."""

import json
import subprocess
import sys

import pytest
from helpers import ROOT

from searchtune.collections.beir import Collection, Passage, Query
from searchtune.collections.gpqa import JUDGED_BY, read_gpqa
from searchtune.collections.originals import original_answers
from searchtune.collections.short_answers import equals_one, holds_one, normalised
from searchtune.collections.trec import read_run, write_run
from searchtune.config.schema import Config
from searchtune.errors import ConfigError, DataError
from searchtune.evaluation import limrank_rag as tables
from searchtune.evaluation import proportions
from searchtune.evaluation.gpqa_claim import published_claim
from searchtune.evaluation.rag_scoring import boxed_letter, scores, unusable
from searchtune.files import read_jsonl, read_tsv, write_json, write_jsonl, write_tsv
from searchtune.llm.engine import Completion
from searchtune.plan import plan
from searchtune.prompts.budget import count_tokens
from searchtune.prompts.templates import load_templates
from searchtune.reranking.question_sampling import sample_questions
from searchtune.stage import Job
from searchtune.synthesis import limrank_answer, limrank_questions, rag_systems
from searchtune.synthesis import limrank_rag_arguments as arguments
from searchtune.synthesis.limrank_answer_judge import judge_prompt, parse_verdict
from searchtune.synthesis.limrank_arguments import question_paths
from searchtune.synthesis.rag_prompts import Prompt, PromptMaker, choices_text
from searchtune.tasks.answers import normalise_answer

MINI = ROOT / "workflow/mini/gpqa"
FILES = [
    MINI / name for name in ("gpqa_diamond.csv", "gpqa_original_queries.jsonl", "gpqa_datastore_pool_dedupped.jsonl")
]
PROMPTS = ROOT / "workflow/prompts/limrank/rag.yaml"
PARAMS = {"seed": 0, "bootstrap_samples": 200, "permutations": 1000, "level": 0.95}


# ---- GPQA


def test_the_mini_files_are_what_their_program_writes(tmp_path):
    subprocess.run([sys.executable, str(ROOT / "workflow/mini/make_gpqa.py"), "--out", str(tmp_path)], check=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(p.name for p in FILES)
    for path in FILES:
        assert path.read_bytes() == (tmp_path / path.name).read_bytes()


def test_gpqa_is_read_with_choices_in_a_seeded_order():
    collection = read_gpqa(FILES, "gpqa", 3)
    assert (len(collection.queries), len(collection.corpus), collection.qrels) == (12, 30, {})
    first = collection.queries["recMini00"]
    assert first.text == "A sample of kolbraite is left overnight in galose. Which colour does it show afterwards?"
    meta = first.metadata
    assert meta["answers"] == ["amber"] and sorted(meta["choices"]) == ["amber", "crimson", "indigo", "teal"]
    assert meta["choices"]["ABCD".index(meta["letter"])] == "amber" and meta["split"] == "test"
    assert read_gpqa(FILES, "gpqa", 3).queries == collection.queries
    letters = {query.metadata["letter"] for query in collection.queries.values()}
    assert len(letters) > 1, "the right answer must not stand in one place"
    assert read_gpqa(FILES, "gpqa", 4).queries != collection.queries


def test_without_a_list_of_queries_the_question_is_searched_with():
    assert read_gpqa([FILES[0], FILES[2]], "gpqa", 3).queries == read_gpqa(FILES, "gpqa", 3).queries


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("Correct Answer", "Answer", 1), "no column 'Correct Answer'"),
        (lambda text: text.replace(",amber,", ",,", 1), "question 1 .recMini00.: 'Correct Answer' is empty"),
        (lambda text: text.replace("recMini01", "recMini00"), "question 2 .recMini00.: its id or one of its choices"),
        (lambda text: text.replace("kolbraite", "another"), "line 1: the query is not that of question 'recMini00'"),
        (lambda text: text.split("\n")[0] + "\n", "holds no question"),
    ],
)
def test_broken_questions_are_named(tmp_path, change, message):
    path = tmp_path / "gpqa_diamond.csv"
    path.write_text(change(FILES[0].read_text()))
    with pytest.raises(DataError, match=message):
        read_gpqa([path, *FILES[1:]], "gpqa", 0)


def test_a_question_set_needs_documents_and_as_many_queries(tmp_path):
    with pytest.raises(DataError, match="needs one .csv"):
        read_gpqa(FILES[:2], "gpqa", 0)
    short = tmp_path / "queries.jsonl"
    short.write_text(FILES[1].read_text().split("\n")[0] + "\n")
    with pytest.raises(DataError, match="1 queries for 12 questions"):
        read_gpqa([FILES[0], short, FILES[2]], "gpqa", 0)


def questions_job(folder):
    params = {"name": "gpqa", "reader": "gpqa", "raw": [f"gpqa/{path.name}" for path in FILES], "licence": "CC0-1.0",
              "canary": [], "seed": 0, "depth": 5, "k1": 0.9, "b": 0.4, "stop_list": "extended"}  # fmt: skip
    return Job(
        "limrank.questions",
        {"raw": [MINI]},
        {"questions": folder, "run": folder.parent / "bm25.run.gz", "scores": folder.parent / "bm25.scores.tsv.gz"},
        params,
    )


def test_the_question_set_has_its_first_stage_beside_it(tmp_path):
    stats = limrank_questions.run(questions_job(tmp_path / "gpqa"))
    assert (stats["questions"], stats["documents"]) == (12, 30)
    collection, run = Collection.load(tmp_path / "gpqa"), read_run(tmp_path / "bm25.run.gz")
    assert set(run) == set(collection.queries) and all(1 <= len(found) <= 5 for found in run.values())
    # the document on the mineral comes first
    assert "Kolbraite" in collection.corpus[run["recMini00"][0][0]].text
    assert sample_questions(collection, 4, 0, "n") == sample_questions(collection, 4, 0, "n")
    assert len(sample_questions(collection, None, 0, "n")) == len(sample_questions(collection, 99, 0, "n")) == 12


def test_an_unknown_reader_is_named(tmp_path):
    job = questions_job(tmp_path / "gpqa")
    job.params["reader"] = "gpqq"
    with pytest.raises(ConfigError, match="did you mean 'gpqa'"):
        limrank_questions.run(job)


# ---- answers


def test_short_answers_are_compared_after_squads_normalisation():
    assert normalised("The U.S.-based  Band, a trio!") == ["usbased", "band", "trio"]
    for text in ("The Beatles!", "an  apple; the PEAR", "1,330 metres", "don't"):
        assert " ".join(normalised(text)) == normalise_answer(text)
    assert equals_one(["Beatles"], "the beatles.") and not equals_one(["Beatles"], "It was the Beatles")
    assert holds_one(["x", "Beatles"], "It was the Beatles.") and not holds_one(["eat"], "Beatles")
    assert not holds_one(["The"], "the") and not equals_one(["!"], "")


def test_originals_are_the_answers_that_were_swapped_out(tmp_path):
    path = tmp_path / "task.json"
    rows = [("who?", "New", "Old"), ("who?", "Newer", "New"), ("where?", "Here", "There")]
    write_json(path, {"examples": [{"input": f"\nQuestion: {q}\nContext: c", "target_scores": {a: 1, b: 0}}
                                   for q, a, b in rows]})  # fmt: skip
    # 'New' is right for the first passage, so it is no memory
    assert original_answers([path]) == {"who?": ["Old"], "where?": ["There"]}
    write_json(path, {"examples": [{"input": "who?", "target_scores": {}}]})
    with pytest.raises(DataError, match="example 0: expected an input of question and context"):
        original_answers([path])
    write_json(path, {"rows": []})
    with pytest.raises(DataError, match="no example has a true answer"):
        original_answers([path])


OPEN = {"set": "s", "id": "q", "answers": ["Oslo"], "originals": ["Rome"], "choices": None, "letter": None}
CHOICE = {"set": "s", "id": "q", "answers": ["x"], "originals": None, "choices": ["x", "y"], "letter": "B"}


def test_the_last_box_counts():
    assert boxed_letter(r"\boxed{A} no, \boxed{ (C) }") == "C"
    assert boxed_letter(r"so $\boxed{\text{B}}$") == "B"
    with pytest.raises(ValueError, match="no boxed letter"):
        boxed_letter("The answer is B")


def test_scores_of_short_answers_choices_and_judged_ones():
    assert scores(OPEN, {"text": "It is Oslo"}, None) == {"accuracy": 1, "exact match": 0, "says the original": 0}
    assert scores(OPEN, {"text": "rome"}, None) == {"accuracy": 0, "exact match": 0, "says the original": 1}
    assert scores(OPEN, {"text": " "}, None)["accuracy"] == 0
    assert scores(CHOICE, {"text": r"\boxed{A} or \boxed{B}"}, None) == {"accuracy": 1}
    assert scores(CHOICE, {"text": "B"}, None) == {"accuracy": 0}
    judged = {("s", "q", "B"): True, ("s", "q", "C"): None}
    assert scores(CHOICE, {"text": "B"}, judged) == {"accuracy": 1}
    assert scores(CHOICE, {"text": "C"}, judged) == {"accuracy": 0}
    assert [unusable(CHOICE, {"text": t}, None) for t in ("B", r"\boxed{B}", "")] == [True, False, False]
    assert [unusable(CHOICE, {"text": t}, judged) for t in "BC"] == [False, True]
    assert not unusable(OPEN, {"text": "anything"}, None)


def test_the_judge_says_yes_or_no():
    assert parse_verdict("Yes.") and not parse_verdict(" no, it says") and not parse_verdict("No. yes")
    with pytest.raises(ValueError, match="neither yes nor no"):
        parse_verdict("nobody knows")


# ---- systems and prompts


def small() -> Collection:
    texts = {f"d{i}": f"passage number {i} " + "word " * 20 for i in range(6)}
    queries = {f"q{i}": Query(f"question {i}?", metadata={"split": "test", "answers": [f"a{i}"]}) for i in range(4)}
    return Collection(
        {i: Passage("", text) for i, text in texts.items()}, queries, {f"q{i}": {f"d{i}": 1} for i in range(4)},
        manifest={"id": "toy"},
    )  # fmt: skip


def reranked(folder, system="tuned", seed=13, questions=("q0", "q1"), faults=()):
    scored = {q: {"d0": 1.0, "d1": 3.0, "d2": 2.0} for q in questions}
    write_run(folder / "direct/toy.run.gz", scored, "x", {q: ["d0", "d1", "d2"] for q in questions})
    manifest = {"system": system, "modes": ["direct"], "train_seed": seed, "faults": list(faults), "sets": ["toy"]}
    write_json(folder / "manifest.json", manifest)
    return folder, manifest


SYSTEMS = {"set": "toy", "top_k": [1, 2], "more_questions": 1, "sample_seed": 0, "price_faults": True}


@pytest.fixture
def bm25(tmp_path):
    run = {f"q{i}": [("d0", 3.0), ("d1", 2.0), ("d2", 1.0)] for i in range(4)}
    write_run(tmp_path / "bm25.run.gz", run, "bm25")
    return tmp_path / "bm25.run.gz"


def test_every_system_gives_its_own_passages(tmp_path, bm25):
    found, shared = rag_systems.systems_of(small(), "toy", bm25, [reranked(tmp_path / "r")], SYSTEMS)
    assert shared == ["q0", "q1"]
    by_name = {(s.name, s.k, s.fault): s.passages for s in found}
    assert len(by_name["closed_book", 0, ""]) == 3 and by_name["closed_book", 0, ""]["q0"] == []
    assert by_name["bm25", 2, ""]["q1"] == ["d0", "d1"] and len(by_name["bm25", 1, ""]) == 3
    assert by_name["tuned", 2, ""] == {"q0": ["d1", "d2"], "q1": ["d1", "d2"]}
    assert by_name["right_passage", 1, ""]["q1"] == ["d1"]
    # L7: sorted d1 d2 d0, beside them the scores of d0 d1 d2 in their old order: 1 3 2; sorted again: d2 d0 d1
    assert by_name["tuned", 2, "L7"]["q0"] == ["d2", "d0"]
    assert {s.fault for s in rag_systems.systems_of(small(), "toy", bm25, [reranked(tmp_path / "s", faults=["L7"])],
                                                    SYSTEMS)[0]} == {""}  # fmt: skip


def test_bad_questions_and_runs_are_named(tmp_path, bm25):
    one, two = reranked(tmp_path / "a"), reranked(tmp_path / "b", questions=("q0", "q2"))
    with pytest.raises(DataError, match="different questions"):
        rag_systems.systems_of(small(), "toy", bm25, [one, two], SYSTEMS)
    with pytest.raises(DataError, match="has 2 questions beside the 2 reranked ones; lower limrank.rag.more_questions"):
        rag_systems.systems_of(small(), "toy", bm25, [one], SYSTEMS | {"more_questions": 3})
    with pytest.raises(DataError, match="no question is reranked"):
        rag_systems.systems_of(small(), "toy", bm25, [], SYSTEMS | {"more_questions": 0})
    silent = small()
    silent.queries["q1"].metadata["answers"] = []
    with pytest.raises(DataError, match="1 questions have no right answer, such as 'q1'"):
        rag_systems.systems_of(silent, "toy", bm25, [one], SYSTEMS)
    write_run(bm25, {"q3": [("d0", 1.0)]}, "bm25")
    with pytest.raises(DataError, match="no passage for question 'q0'"):
        rag_systems.systems_of(small(), "toy", bm25, [one], SYSTEMS | {"more_questions": 0})


def word_tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer


def maker(collection, **params):
    settings = {"max_passage_tokens": 50, "max_model_len": 200, "short_tokens": 5, "choice_tokens": 9, "form": "plain",
                "prompt": "default", "set": "toy"}  # fmt: skip
    return PromptMaker(collection, load_templates(PROMPTS), word_tokenizer(), settings | params)


def test_golden_prompts():
    collection = Collection({"d": Passage("T", "one two"), "e": Passage("", "three")},
                            {"q": Query("who?"), "m": Query("x", metadata={"question": "Which?", "choices": ["u", "v"]})},
                            {})  # fmt: skip
    made = maker(collection)
    assert made.build("q", ["d", "e"]) == Prompt(
        "Read the documents and answer the question with a short span.\n"
        "Document 1: T one two\nDocument 2: three\nQuestion: who?\nAnswer:"
    )
    assert made.build("q", []).text == "Answer the question in a few words.\nQuestion: who?\nAnswer:"
    assert made.build("m", ["e"]).text == (
        "Which?\n(A) u\n(B) v\nThese documents may help:\nDocument 1: three\n"
        "Answer the question with their help. Think step by step, and end with the letter of the right choice in a box, "
        "such as \\boxed{A}."
    )
    assert made.build("m", []).text == (
        "Which?\n(A) u\n(B) v\nThink step by step, and end with the letter of the right choice in a box, "
        "such as \\boxed{A}."
    )
    assert (made.budget("q"), made.budget("m")) == (5, 9)
    assert choices_text(collection.queries["m"]) == "(A) u\n(B) v"


def test_passages_over_the_window_are_cut_from_the_last_on_and_counted():
    # 23 words a passage
    made = maker(small(), max_passage_tokens=10)
    cut = made.build("q0", ["d0", "d1"])
    assert (cut.cut, cut.left_out) == (2, 0)
    made = maker(small(), max_model_len=60)
    found = made.build("q0", ["d0", "d1", "d2"])
    assert (found.cut, found.left_out) == (1, 1) and "passage number 0" in found.text and "number 2" not in found.text
    assert count_tokens(made.tokenizer, found.text) + 1 + 5 <= 60
    with pytest.raises(DataError, match="question 'q0' alone exceeds limrank.rag.max_model_len"):
        maker(small(), max_model_len=12).build("q0", [])


def test_the_judge_reads_the_end_of_a_long_answer():
    template = load_templates(PROMPTS)["judge"]["default"].prompt
    question = {"set": "s", "id": "q", "question": "who?", "answers": ["x", "y"], "letter": "C"}
    text, cut = judge_prompt(template, word_tokenizer(), question, "it is x", "plain", 99)
    assert not cut and "Right answer: x or y (choice C)\nGiven answer: it is x\n" in text
    text, cut = judge_prompt(template, word_tokenizer(), question, "long " * 50 + "so it is x", "plain", 60)
    assert cut and "long so it is x\nDoes" in text and count_tokens(word_tokenizer(), text) <= 60
    with pytest.raises(DataError, match="leaves the judge no room"):
        judge_prompt(template, word_tokenizer(), question, "it is x", "plain", 10)


class FakeEngine:
    """Answers with the first document's number, or ``none``."""

    model, revision, max_model_len = "fake", "0", 500

    def __init__(self):
        self.asked = []

    def count(self, prompts):
        return [len(p.split()) for p in prompts]

    def generate(self, prompts, sampling):
        self.asked += prompts
        texts = [p.split("passage number ")[1][0] if "Document" in p else "none" for p in prompts]
        return [Completion(t, "stop", 3, 1) for t in texts]


def test_a_prompt_that_several_systems_give_is_asked_once(tmp_path, bm25):
    systems, _ = rag_systems.systems_of(small(), "toy", bm25, [reranked(tmp_path / "r")], SYSTEMS)
    made = maker(small())
    prompts = {(i, q): made.build(q, ds) for i, s in enumerate(systems) for q, ds in s.passages.items()}
    params = SYSTEMS | {"n_samples": 1, "temperature": 0.0, "top_p": 1.0}
    engine = FakeEngine()
    job = Job("limrank.answer", {}, {}, params, work=tmp_path / "work")
    calls = limrank_answer.ask(job, engine, made, prompts)
    assert len(engine.asked) == len(set(engine.asked)) == len(calls) < len(prompts)
    rows = limrank_answer.answer_rows("toy", systems, prompts, calls, params)
    assert len(rows) == len(prompts)
    said = {(r["name"], r["k"], r["fault"], r["question"]): r["text"] for r in rows}
    assert said["tuned", 1, "", "q1"] == said["right_passage", 1, "", "q1"] == "1"
    assert said["closed_book", 0, "", "q0"] == "none"


# ---- tables


def answers_folder(tmp_path, samples=1):
    """Two shared questions and two more; the reranker is right on both, BM25 on one, the right passage always."""
    questions = [{"set": "toy", "id": f"q{i}", "question": "?", "answers": ["yes"], "originals": ["old"],
                  "reranked": i < 2, "choices": None, "letter": None} for i in range(4)]  # fmt: skip
    said = {
        ("closed_book", "", 0, ""): ["old", "no", "", "no"],
        ("bm25", "", 1, ""): ["yes", "no", "no", "no"],
        ("tuned", "direct", 1, ""): ["yes", "yes"],
        ("tuned", "direct", 1, "L7"): ["no", "no"],
        ("right_passage", "", 1, ""): ["yes"] * 4,
    }
    rows = [{"set": "toy", "question": f"q{i}", "name": name, "mode": mode, "k": k, "fault": fault, "sample": sample,
             "train_seed": 13 if name == "tuned" else None, "text": text, "finish_reason": "stop"}
            for (name, mode, k, fault), texts in said.items()
            for i, text in enumerate(texts) for sample in range(samples)]  # fmt: skip
    write_jsonl(tmp_path / "questions.jsonl", questions)
    write_jsonl(tmp_path / "answers.jsonl", rows)
    counts = {"collection": "toy", "system": "bm25", "mode": "", "train_seed": "", "k": 1, "fault": "", "prompts": 4}
    write_tsv(
        tmp_path / "counts.tsv", limrank_answer.COUNTS_COLUMNS, [counts | {"passages": 4, "cut": 1, "left_out": 2}]
    )
    return tmp_path


def test_accuracy_on_the_shared_questions_and_on_all(tmp_path):
    rows = tables.rag_rows(tables.load_answers(answers_folder(tmp_path)), PARAMS)
    found = {(r["questions"], r["system"], r["metric"]): (r["value"], r["n"]) for r in rows}
    assert found["reranked", "bm25", "accuracy"] == (0.5, 2) and found["all", "bm25", "accuracy"] == (0.25, 4)
    assert found["reranked", "tuned", "accuracy"] == (1.0, 2) and ("all", "tuned", "accuracy") not in found
    assert found["all", "closed_book", "says the original"] == (0.25, 4)
    assert found["all", "right_passage", "exact match"] == (1.0, 4)
    assert all(set(row) == set(tables.RAG_COLUMNS) for row in rows)


def test_paired_tests_by_hand(tmp_path):
    rows = tables.paired_rows(tables.load_answers(answers_folder(tmp_path)), PARAMS)
    found = {(r["system"], r["against"]): r for r in rows}
    assert set(found) == {("bm25", "closed_book"), ("tuned", "bm25"), ("tuned", "closed_book"),
                          ("right_passage", "closed_book")}  # fmt: skip
    # four of four won: two of sixteen sign patterns are as extreme
    best = found["right_passage", "closed_book"]
    assert (best["before"], best["after"], best["n"]) == (0, 100, 4) and best["p_value"] == pytest.approx(2 / 16)
    assert found["tuned", "bm25"]["change"] == 50 and found["tuned", "bm25"]["p_value"] == 1
    assert {row["seeds"] for row in rows} == {1}
    adjusted = tables.adjusted_rows(rows, [0.5, 1, 1, 0.04])
    assert all(set(row) == set(tables.TEST_COLUMNS) for row in adjusted)
    assert [row["p_holm"] for row in adjusted] == [0.5, 1, 1, 0.04]
    assert [row["verdict"] for row in adjusted][:3] == ["can't tell at this scale (one seed)"] * 3
    [sign] = tables.rag_sign(rows)
    assert sign["value"] == 1 and not sign["passed"]


def test_samples_of_one_model_are_one_seed(tmp_path):
    book = tables.load_answers(answers_folder(tmp_path, samples=3))
    assert {row["seeds"] for row in tables.rag_rows(book, PARAMS)} == {1}
    rows = tables.paired_rows(book, PARAMS)
    assert {row["seeds"] for row in rows} == {1}
    found = {row["verdict"] for row in tables.adjusted_rows(rows, [1] * len(rows))}
    assert found == {"can't tell at this scale (one seed)"}


def drawn(**draws: dict) -> tables.Answers:
    """Answers to two questions from the top 1: system -> (training seed, sample) -> value of each question."""
    book = tables.Answers(shared={"toy": ["q0", "q1"]})
    for system, found in draws.items():
        key = ("toy", system, "direct" if system == "tuned" else "", 1 if system != "closed_book" else 0, "")
        for draw, values in found.items():
            book.values[key]["accuracy"][draw] = dict(zip(("q0", "q1"), values, strict=True))
    return book


def test_samples_are_averaged_before_anything_is_resampled():
    # each question is right once of two: 1/2 and 1/2, so that no resample of questions is another mean
    book = drawn(tuned={(13, 0): [1, 0], (13, 1): [0, 1]}, bm25={(None, 0): [0, 0], (None, 1): [0, 0]})
    row = next(row for row in tables.rag_rows(book, PARAMS) if row["system"] == "tuned")
    assert (row["value"], row["ci_low"], row["ci_high"], row["n"], row["seeds"]) == (0.5, 0.5, 0.5, 2, 1)
    [test] = tables.paired_rows(book, PARAMS)
    assert (test["change"], test["ci_low"], test["ci_high"], test["seeds"]) == (50, 50, 50, 1)


def test_training_seeds_are_resampled_and_paired_with_the_one_untrained_side():
    # one model is always right and one never, three samples each. Two seeds drawn anew are both the bad one a time in
    # four, so that the interval reaches 0; six draws taken for seeds would be a time in 64, less than 2.5%
    tuned = {(seed, sample): [value] * 2 for seed, value in ((13, 1), (42, 0)) for sample in range(3)}
    book, params = drawn(tuned=tuned, bm25={(None, n): [1, 0] for n in range(3)}), PARAMS | {"bootstrap_samples": 2000}
    rows = {row["system"]: row for row in tables.rag_rows(book, params)}
    assert [rows["tuned"][c] for c in ("value", "ci_low", "ci_high", "seeds")] == [0.5, 0, 1, 2]
    assert rows["bm25"]["seeds"] == 1
    [test] = tables.paired_rows(book, params)
    # by seed and question 0 1, -1 0: one seed and one question twice, a time in 16, gives -1, and another one 1
    assert [test[c] for c in ("before", "after", "change", "ci_low", "ci_high", "seeds")] == [50, 50, 0, -100, 100, 2]


def test_three_training_seeds_are_not_called_one():
    tuned = {(seed, 0): [1, 1] for seed in (13, 42, 71)}
    tests = tables.paired_rows(drawn(tuned=tuned, closed_book={(None, 0): [0, 0]}), PARAMS)
    [row] = tables.adjusted_rows(tests, [0.01])
    assert (row["seeds"], row["verdict"]) == (3, "better")


def test_sides_with_seeds_of_their_own_are_paired_by_seed():
    both = tables._differences({13: [1, 1], 42: [1, 0]}, {42: [0, 0], 13: [1, 0]}, "toy")
    assert both == [[0, 1], [1, 0]]
    with pytest.raises(DataError, match="toy: the sides have other training seeds"):
        tables._differences({13: [1, 1]}, {42: [0, 0]}, "toy")


def test_what_the_fault_is_worth_and_what_could_not_be_used(tmp_path):
    folder = answers_folder(tmp_path)
    book = tables.load_answers(folder)
    found = tables.rag_fault_rows(book)
    assert [(r["fault"], r["corrected"], r["released"]) for r in found] == [("L7", 1.0, 0.5), ("L7", 1.0, 0.0)]
    rows = {row["step"]: row for row in tables.failure_rows(book, folder / "counts.tsv")}
    assert (rows["answers to toy: empty"]["failed"], rows["answers to toy: empty"]["calls"]) == (1, 16)
    assert rows["answers to toy: not parsed"]["failed"] == 0
    assert rows["passages for answers to toy: cut to their budget"]["share"] == 0.25
    assert rows["passages for answers to toy: left out, the prompt was full"]["failed"] == 2


def test_a_question_that_a_system_left_out_is_named(tmp_path):
    folder = answers_folder(tmp_path)
    rows = [r for r in read_jsonl(folder / "answers.jsonl") if (r["name"], r["question"]) != ("tuned", "q1")]
    write_jsonl(folder / "answers.jsonl", rows)
    with pytest.raises(DataError, match="tuned direct has no answer to question 'q1'"):
        tables.rag_rows(tables.load_answers(folder), PARAMS)


def test_a_judges_word_replaces_the_comparison(tmp_path):
    folder = answers_folder(tmp_path / "a")
    said = {(r["question"], r["text"]) for r in read_jsonl(folder / "answers.jsonl")}
    write_jsonl(tmp_path / "j/verdicts.jsonl",
                [{"set": "toy", "question": q, "text": t, "right": t == "no" or None} for q, t in said])  # fmt: skip
    book = tables.load_answers(folder, tmp_path / "j")
    found = {
        (r["questions"], r["system"]): r["value"] for r in tables.rag_rows(book, PARAMS) if r["metric"] == "accuracy"
    }
    assert found["all", "bm25"] == 0.75 and found["all", "right_passage"] == 0
    assert book.failures["answers to toy", "not parsed"][1] > 0


# ---- what published shares can carry


def test_shares_are_turned_into_counts():
    assert (proportions.count_of(30.3, 198), proportions.count_of(28.3, 198)) == (60, 56)
    with pytest.raises(DataError, match="no share of 198"):
        proportions.count_of(30.5, 198)


def test_sign_test_and_intervals_by_hand():
    assert (
        proportions.sign_test(4, 0) == 0.125 and proportions.sign_test(3, 3) == 1 and proportions.sign_test(0, 0) == 1
    )
    assert proportions.sign_test(5, 1) == pytest.approx(14 / 64)
    assert proportions.questions_needed() == 6
    # Wilson, 15 of 148 (Newcombe 1998): 0.0624 to 0.1605
    assert proportions.wilson_interval(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    # Newcombe 1998b, table II, 56/70 - 48/80, method 10: 0.0524 to 0.3339 has other sizes; equal sizes: no difference
    low, high = proportions.difference_interval(30, 100, 30, 100)
    assert low == pytest.approx(-high) and high == pytest.approx(0.1254, abs=5e-4)


def test_four_questions_of_198_carry_no_claim():
    found = proportions.paired_bounds(60, 56, 198)
    assert found.p_best == 0.125 and found.p_worst == pytest.approx(0.78, abs=0.01)
    assert found.low < 0 < found.high and found.difference == pytest.approx(4 / 198)
    with pytest.raises(DataError, match="counts lie between"):
        proportions.paired_bounds(199, 56, 198)


def test_the_published_row_says_so():
    row = published_claim(read_tsv(ROOT / "config/expected/limrank.tsv"))
    assert (row["before"], row["after"], row["n"], row["verdict"]) == (
        28.3,
        30.3,
        198,
        "can't tell at this scale (one seed)",
    )
    assert row["change"] == pytest.approx(2.0202, abs=1e-4) and row["ci_low"] < -6 and row["ci_high"] > 10
    assert "60 against 56 of 198 questions" in row["note"] and "p 0.125, unadjusted, if" in row["note"]
    # four questions won and none lost: 2 / 2^4, which no other comparison changes
    assert row["p_holm"] == 0.125
    assert set(row) <= set(tables.TEST_COLUMNS)
    with pytest.raises(DataError, match="no accuracy of 'limrank-7b'"):
        published_claim([])


# ---- plan


@pytest.mark.parametrize("scale", ["ci", "demo", "laptop", "workstation", "paper"])
def test_every_scale_answers_questions(scale):
    config = plan(ROOT, {"scale": scale})
    assert len(arguments.set_paths(config)) == len(arguments.run_paths(config)) >= 1
    own = arguments.question_sets(config)
    assert own == (["gpqa"] if scale in ("ci", "paper") else [])
    assert arguments.asks_judge(config) == (scale == "ci") == ("judged" in arguments.answer_inputs(config))
    assert arguments.originals(config).keys() == {"nq_swapped"}


def test_question_sets_are_audited_for_leakage():
    from searchtune.audited import chains_of_papers, scored_sets

    config = plan(ROOT, {"scale": "ci"})
    assert "limrank/questions/gpqa" in scored_sets(config)
    # the audit knows an artefact by the last two parts of its path
    chains = chains_of_papers(config)
    assert "questions/gpqa" in chains["limrank"]["eval"] and "questions/gpqa" in chains["inters"]["eval"]


def test_no_set_means_no_answers():
    config = plan(ROOT, {"scale": "ci", "limrank": {"rag": {"sets": []}}})
    assert arguments.answer_inputs(config) == {} and question_paths(config) == []


@pytest.mark.parametrize(
    ("rag", "message"),
    [
        ({"sets": ["gpqq"]}, "limrank.rag.sets names 'gpqq'.*did you mean 'gpqa'"),
        ({"model": "tiny-ln"}, "limrank.rag.model names 'tiny-ln'.*'tiny-lm'"),
        ({"judge": {"model": "tiny-ln"}}, "limrank.rag.judge.model names 'tiny-ln'.*'tiny-lm'"),
        ({"top_k": [6]}, "asks for 6 passages, but limrank.rerank.depth is 5"),
        ({"top_k": [0]}, "top_k is .0.; give different counts"),
        ({"temperature": 0}, "all answers would be the same"),
        ({"questions": {"reddit": {"raw": ["x/y.csv"]}}}, "has 'reddit', which is a collection"),
    ],
)
def test_what_cannot_be_answered_is_refused_at_plan_time(rag, message):
    with pytest.raises(ConfigError, match=message):
        plan(ROOT, {"scale": "ci", "limrank": {"rag": rag}})


def test_defaults_are_valid():
    assert Config().limrank.rag.sets == ["nq_swapped"] and JUDGED_BY == "generated answers"
    assert json.loads(Config().limrank.rag.model_dump_json())["scoring"] == "exact"
