"""Golden prompts, demonstrations, mixing and the stage ``inters.render``."""

from collections import Counter
from itertools import islice
from pathlib import Path

import pytest
from helpers import ROOT

from searchtune.errors import ConfigError, DataError
from searchtune.files import read_jsonl, read_tsv, write_jsonl
from searchtune.prompts.templates import lint_templates, load_templates
from searchtune.stage import Job
from searchtune.tasks.inventory import TASKS
from searchtune.tasks.mixing import interleave, weights_of
from searchtune.tasks.prompting import TemplateBook, completion, compose, demonstrations, pick_template
from searchtune.tasks.render import kinds_of, run

FOLDER = ROOT / "workflow/prompts/inters"
BOOK = TemplateBook.load(sorted(FOLDER.glob("*.yaml")))


def row(
    number=0,
    task="query_expansion",
    dataset="gov2",
    target="What is it?",
    article=None,
    labels=(),
    group=None,
    **fields,
):
    return {
        "id": f"{task}/{dataset}/{number}",
        "task": task,
        "dataset": dataset,
        "target": target,
        "article": article or f"article {number}",
        "labels": list(labels),
        "references": [],
        "meta": {"group": group} if group else {},
        "fields": fields or {"title": f"subject {number}"},
    }


def prompt(template_id, example, demos=(), **options):
    templates = BOOK.set_of(example)
    return compose(templates, templates[template_id], example, demos, **options)


def test_every_task_has_a_file_with_sound_templates():
    assert {p.stem for p in FOLDER.glob("*.yaml")} >= set(TASKS)
    for path in FOLDER.glob("*.yaml"):
        assert lint_templates(load_templates(path).sets, minimum=3) == []


def test_golden_zero_shot_prompts():
    assert prompt("labelled", row()) == (
        "Expand a short search query into one full sentence that states the need behind it.\n\n"
        "Short query: subject 0\nExpanded query:"
    )
    assert prompt("labelled", row(), with_description=False) == "Short query: subject 0\nExpanded query:"
    claim = row(task="fact_verification", dataset="vitaminc", claim="It {rained}.", evidence="P: Rain fell.")
    assert prompt("choose", claim) == (
        "Check a claim against a piece of evidence.\n\nEvidence: P: Rain fell.\nClaim: It {rained}.\n"
        "Is the claim supported, refuted, or is there not enough information?"
    )
    passage = row(task="passage_reranking", dataset="squad", query="Who?", passage="Ann did.", target="yes")
    assert prompt("answers", passage) == (
        "Judge whether a passage is relevant to a query.\n\nQuery: Who?\nPassage: Ann did.\n"
        "Does the passage answer the query? Answer yes or no."
    )
    question = row(task="query_generation", dataset="new_wiki", passage="Ann won.")
    assert prompt("question", question).endswith("Passage: Ann won.\nWrite a question that this passage answers.")
    narrative = row(task="query_generation", dataset="trec_robust", passage="Relevant are cats.")
    assert prompt("labelled", narrative).endswith("Information need: Relevant are cats.\nShort query:")


def test_golden_few_shot_prompt_ends_with_the_cue_of_its_demonstrations():
    assert prompt("wants", row(), [row(1, target="What about it?")]) == (
        "Expand a short search query into one full sentence that states the need behind it.\n\n"
        "What does a person who searches for subject 1 want to find out?\nAnswer: What about it?\n\n"
        "What does a person who searches for subject 0 want to find out?\nAnswer:"
    )
    assert completion(BOOK.set_of(row())["wants"], row()) == "What is it?"


def test_missing_field_names_template_and_field():
    with pytest.raises(DataError, match=r"query_expansion/wants: placeholder \{title\} has no value"):
        prompt("wants", row(query="x"))
    with pytest.raises(ConfigError, match="task 'query_expansoin'; did you mean 'query_expansion'"):
        BOOK.set_of(row(task="query_expansoin"))


def test_each_template_is_used_once_before_any_comes_back():
    templates = BOOK.set_of(row())
    used = [pick_template(templates, 13, "id", use=n).id for n in range(24)]
    assert sorted(used[:12]) == sorted(t.id for t in templates.templates) and used[12:] == used[:12]


def test_demonstrations_come_from_other_articles_and_queries_and_show_every_label():
    pool = [row(n, labels=["yes", "no"], target="no" if n else "yes", article=f"a{n}", group=f"q{n}") for n in range(9)]
    asked = row(3, labels=["yes", "no"], article="a4", group="q5")
    drawn = demonstrations(pool, asked, 9, "seed")
    assert {d["id"].split("/")[-1] for d in drawn} == {"0", "1", "2", "6", "7", "8"}
    assert sorted(d["target"] for d in drawn[:2]) == ["no", "yes"]
    assert demonstrations(pool, asked, 3, "seed") == drawn[:3] != demonstrations(pool, asked, 3, "other")[:3]


def test_interleaving_keeps_proportions_in_every_beginning():
    weights = weights_of({"a/x": 500, "b/x": 100, "c/x": 40, "d/x": 0}, 120, {"b": 0.6})
    assert weights == {"a/x": 120, "b/x": 60, "c/x": 40}
    # a weight of 90 for 30 examples would run dry and change the proportions half-way
    assert weights_of({"a/x": 30}, 120, {"a": 3.0}) == {"a/x": 30} and weights_of({"a/x": 30}, 120, {"a": 3.0}, 2) == {
        "a/x": 60
    }
    order = list(islice(interleave({k: iter([k] * 500) for k in weights}, weights), 220))
    for end in (22, 55, 110, 220):
        counts = Counter(order[:end])
        for name, weight in weights.items():
            assert abs(counts[name] - end * weight / 220) <= 1
    assert list(interleave({"a": iter([1, 2]), "b": iter([])}, {"a": 1.0, "b": 1.0})) == [1, 2]


def test_kinds_of_test_prompts():
    assert kinds_of(row(), 0) == ["generate"]
    assert kinds_of(row(task="fact_verification"), 0) == ["score", "generate"]
    assert kinds_of(row(task="fact_verification"), 2) == ["score"]
    assert kinds_of(row(task="passage_reranking"), 0) == ["score"]


@pytest.fixture
def job(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    (tmp_path / "model").mkdir()
    tokenizer.save(str(tmp_path / "model/tokenizer.json"))
    labels = ["informational", "navigational"]
    for split, first, count in (("train", 0, 20), ("dev", 50, 4), ("test", 70, 3)):
        rows = [row(n) for n in range(first, first + count)]
        rows += [
            row(
                n,
                "query_intent_classification",
                "trec_web_subtopics",
                labels[n % 2],
                labels=labels,
                query=f"q {n}",
                subtopic=f"goal {n}",
            )
            for n in range(first, first + count)
        ]
        write_jsonl(tmp_path / f"examples/{split}.jsonl", rows)
    outputs = {
        "train": tmp_path / "train.jsonl",
        "dev": tmp_path / "dev.jsonl",
        "prompts": tmp_path / "prompts",
        "statistics": tmp_path / "statistics.tsv",
    }
    params = {
        "form": "plain",
        "seed": 13,
        "test_seed": 42,
        "cap": 100,
        "weights": {},
        "uses": 2,
        "mixed_uses": 2,
        "total_tokens": 100_000,
        "max_tokens": 60,
        "few_shot_share": 0.3,
        "max_shots": 1,
        "n_shots": 2,
        "max_prompt_tokens": 400,
        "max_new_tokens": {"query_expansion": 7},
        "with_description": True,
        "n_templates": None,
        "bare": False,
        "leave_out": [],
    }
    templates = [FOLDER / "query_expansion.yaml", FOLDER / "query_intent_classification.yaml"]
    inputs = {"examples": tmp_path / "examples", "tokenizer": tmp_path / "model", "templates": templates}
    return Job("inters.render", inputs, outputs, params)


def test_stage_writes_instructions_prompts_and_statistics(job):
    counts = run(job)
    train = read_jsonl(job.outputs["train"])
    assert counts["train_rows"] == len(train) > 60 and counts["train_tokens"] == sum(r["n_tokens"] for r in train)
    assert set(train[0]) == {"id", "prompt", "completion", "task", "dataset", "template", "shots", "n_tokens"}
    assert all(r["n_tokens"] == len((r["prompt"] + " " + r["completion"]).split()) <= 60 for r in train)
    assert {r["shots"] for r in train} == {0, 1}
    zero, few = (read_jsonl(job.outputs["prompts"] / f"{n}.jsonl") for n in ("zero_shot", "few_shot"))
    assert Counter(r["kind"] for r in zero) == {"generate": 6, "score": 3}
    assert [r["continuations"] for r in few if r["kind"] == "score"] == [["informational", "navigational"]] * 3
    assert {r["max_tokens"] for r in zero if r["task"] == "query_expansion"} == {7}
    assert {r["shots"] for r in few} == {2}
    for shown in few:
        for part in shown["prompt"].split("\n\n")[1:-1]:
            number = next(w for w in part.replace('"', " ").replace("?", " ").split() if w.isdigit())
            assert int(number) < 20, "a demonstration must come from train"
    table = read_tsv(job.outputs["statistics"])
    assert sum(int(r["rows"]) for r in table if r["set"] == "train") == len(train)


def test_shorter_mixture_is_a_prefix_and_two_runs_agree(job):
    run(job)
    whole = job.outputs["train"].read_text()
    run(job)
    assert job.outputs["train"].read_text() == whole
    job.params["total_tokens"] = 500
    run(job)
    part = job.outputs["train"].read_text()
    assert whole.startswith(part) and 0 < len(part) < len(whole)
    assert sum(r["n_tokens"] for r in read_jsonl(job.outputs["train"])) <= 500


def test_demonstrations_that_do_not_fit_are_left_out_and_a_long_prompt_is_refused(job):
    job.params["max_prompt_tokens"] = 75
    run(job)
    assert {r["shots"] for r in read_jsonl(job.outputs["prompts"] / "few_shot.jsonl")} <= {0, 1, 2}
    assert min(r["shots"] for r in read_jsonl(job.outputs["prompts"] / "few_shot.jsonl")) < 2
    job.params["max_prompt_tokens"] = 5
    with pytest.raises(DataError, match=r"'query_expansion/gov2/70' has \d+ tokens, max_prompt_tokens is 5"):
        run(job)


def test_empty_mixture_is_an_error(job):
    job.params["total_tokens"] = 3
    with pytest.raises(DataError, match="the mixture is empty; raise total_tokens"):
        run(job)
    (Path(job.inputs["examples"]) / "dev.jsonl").write_text('{"id": "x"}\n')
    with pytest.raises(DataError, match=r"dev.jsonl, row 1: no key 'task'"):
        run(job)
