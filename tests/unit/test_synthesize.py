"""The synthesizer as a product: query files, personas, shards, bands, retries, guards, card, and what it refuses."""

import argparse
import hashlib
import json
from pathlib import Path
from textwrap import wrap

import numpy as np
import pytest
from helpers import ROOT

from searchtune import cli
from searchtune.collections.beir import Collection, Passage, Query
from searchtune.commands import synthesis_costs, synthesize
from searchtune.errors import ConfigError, DataError
from searchtune.files import write_jsonl, write_tsv
from searchtune.llm.engine import Completion, Sampling, Scored
from searchtune.plan import plan
from searchtune.prompts.templates import load_templates, render
from searchtune.release.dataset import split_rows
from searchtune.release.dataset_warnings import warnings_of
from searchtune.reranking.verdicts import FALSE, TRUE
from searchtune.stage import Job
from searchtune.synthesis import limrank, limrank_arguments, limrank_judge, limrank_models
from searchtune.synthesis.limrank_filter import EvaluationTexts
from searchtune.synthesis.limrank_funnel import Funnel
from searchtune.synthesis.limrank_guard import EmbeddingGuard
from searchtune.synthesis.limrank_schemas import Forms
from searchtune.synthesis.limrank_seeds import Seed, seed_fault
from searchtune.synthesis.limrank_shards import commissions_of, cut, splits_of
from searchtune.synthesis.near import NearDuplicates
from searchtune.synthesis.personas import load_personas, phrase
from searchtune.synthesis.query_files import read_query_file

PROMPTS = ROOT / "workflow/prompts/limrank"

# ---- query files


@pytest.mark.parametrize(
    ("name", "text", "rows"),
    [
        ("a.txt", "cat diet\n\n dog  diet\n", [("1", "cat diet"), ("2", "dog diet")]),
        ("a.tsv", "x1\tcat diet\nx2\tdog diet\n", [("x1", "cat diet"), ("x2", "dog diet")]),
        (
            "a.jsonl",
            '{"_id": "x", "text": "cat diet"}\n{"query": "dog diet"}\n',
            [("x", "cat diet"), ("2", "dog diet")],
        ),
        ("a.txt", "7:cat diet\n8:1:dog diet\n", [("7", "cat diet"), ("8", "dog diet")]),
        ("a.txt", "<top>\n<num> Number: 7\n<title> cat diet\n</top>\n", [("7", "cat diet")]),
        ("a.txt", "1984: the book\nother query\n", [("1", "1984: the book"), ("2", "other query")]),
    ],
)
def test_query_files_are_told_apart_by_content(tmp_path, name, text, rows):
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_query_file(tmp_path / name) == rows


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.txt", b"", "holds no query"),
        ("a.txt", b"\n  \n", "holds no query"),
        ("a.tsv", b"x\tcat\ndog\n", "query 2: 1 cells; expected id<tab>text"),
        ("a.tsv", b"x\tcat\nx\tdog\n", "id 'x' appears twice"),
        ("a.jsonl", b'{"text": "cat"}\n{"text": \n', r"a\.jsonl.*2"),
        ("a.jsonl", b'{"text": "cat"}\n{"title": "dog"}\n', "line 2: no text under text, query"),
        ("a.jsonl", b'{"text": "caf\xe9"}\n', "cannot be read as text"),
        ("a.txt", b"\x00\x01cat", "is no text"),
    ],
)
def test_broken_query_files_are_named_errors(tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=message):
        read_query_file(tmp_path / name)
    with pytest.raises(DataError, match="does not exist"):
        read_query_file(tmp_path / "none.txt")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("wie lange dauert eine dialyse bei der katze", "not_english"),
        ("comment faire une tarte avec des pommes", "not_english"),
        ("que es la depresion", "not_english"),
        ("the la brea tar pits", ""),
        ("lyrics of la vie en rose", ""),
        ("how to make creme de cassis", ""),
    ],
)
def test_seeds_in_another_language_are_left_out(text, fault):
    assert seed_fault(text, 2, 12) == fault


# ---- personas


def test_personas_of_three_forms(tmp_path):
    hub, lines = tmp_path / "persona.jsonl", tmp_path / "mine.txt"
    hub.write_text('{"persona": "A Political Analyst who knows El Salvador."}\n{"persona": "An astronomer"}\n')
    lines.write_text("a gardener\n\nThe owner of a shop\n")
    assert [p.text for p in load_personas(hub)] == ["a Political Analyst who knows El Salvador", "an astronomer"]
    assert [(p.id, p.text) for p in load_personas(lines)] == [("p1", "a gardener"), ("p3", "the owner of a shop")]
    assert phrase("Ada, an engineer.") == "Ada, an engineer"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("p.jsonl", "", "holds no personas"),
        ("p.txt", "\n", "holds no personas"),
        ("p.jsonl", '{"persona": ""}\n', "line 1: key 'persona' is missing, empty"),
        ("p.jsonl", '{"text": "x"}\n', "line 1: key 'persona'"),
        ("p.csv", "x\n", "ends in '.csv'; expected one of .yaml"),
        ("p.yaml", "[1, 2]\n", "no YAML mapping"),
    ],
)
def test_broken_personas_are_named_errors(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        load_personas(tmp_path / name)


def test_personahub_is_fetched_where_it_is_named():
    config = plan(ROOT, {"scale": "ci", "limrank": {"personas": "personahub"}})
    artefact = limrank_arguments.persona_artefact(config)
    assert artefact in config["plan"]["artefacts"] and artefact.startswith("proj-persona--PersonaHub-")
    assert limrank_arguments.synthesis_inputs(config)["personas"] == f"<resources>/raw/{artefact}"
    assert limrank_arguments.synthesize_args(config)["personas_file"] == "persona.jsonl"


@pytest.mark.parametrize(
    ("user", "message"),
    [
        ({"personas": "personahab"}, "neither a file .* did you mean 'personahub'"),
        ({"personas": "no/such.yaml"}, "limrank.personas is 'no/such.yaml', which does not exist"),
        ({"queries": "no/such/file"}, "limrank.queries is 'no/such/file', which does not exist"),
        ({"synthesize": {"evaluation": ["redit"]}}, "evaluation names 'redit'.*did you mean 'reddit'"),
        ({"query_writer": "tiny-ml"}, "limrank.query_writer names 'tiny-ml'.*did you mean 'tiny-lm'"),
        ({"passage_writer": "tiny-t5"}, "passage_writer names 'tiny-t5', an encoder-decoder.*JSON"),
    ],
)
def test_wrong_sources_fail_at_plan_time(user, message):
    with pytest.raises(ConfigError, match=message):
        plan(ROOT, {"scale": "ci", "limrank": user})


# ---- shards


def test_the_default_split_is_that_of_one_shard():
    assert splits_of(8, 0.25, None) == ["dev"] * 2 + ["train"] * 6
    assert splits_of(4, 0.0, None)[0] == "dev"  # a reranker is compared on it


def test_splits_in_shards_do_not_depend_on_how_many_seeds_follow():
    assert splits_of(11, 0.2, 5) == (["dev"] + ["train"] * 4) * 2 + ["dev"]
    assert splits_of(200, 0.2, 100)[:100] == splits_of(100, 0.2, 100)
    assert splits_of(1000, 0.3, 10).count("dev") == 300
    assert set(splits_of(10, 0.0, 5)) == {"train"}


def test_bands_are_asked_for_in_turn_and_shards_hold_whole_seeds():
    seeds = [Seed(f"s{i}", f"seed {i}") for i in range(5)]
    pairs = [(seed, None) for seed in seeds for _ in range(2)]
    commissions = commissions_of(pairs, dict.fromkeys([s.id for s in seeds], "train"), ["simple", "multi_step"])
    assert [c.band for c in commissions[:3]] == ["simple", "multi_step", "simple"]
    shards = cut(commissions, 2)
    assert [[c.seed.id for c in shard.commissions] for shard in shards] == [
        ["s0", "s0", "s1", "s1"],
        ["s2", "s2", "s3", "s3"],
        ["s4", "s4"],
    ]
    assert [shard.work(Path("w")).name for shard in shards] == ["shard-0000", "shard-0001", "shard-0002"]
    assert cut(commissions, None)[0].work(Path("w")) == Path("w")
    assert shards[0].draws(13).random() == cut(commissions, None)[0].draws(13).random() != shards[1].draws(13).random()


# ---- guards


def test_near_duplicates_by_hand():
    near = NearDuplicates(0.6)
    assert not near.repeats("one two three four five six")  # triples 123 234 345 456
    assert near.repeats("one two three four five seven")  # 123 234 345 of 5 in all: 0.6
    assert not near.repeats("one two three four eight nine")  # 123 234 of 6: 0.33
    assert not near.repeats("one two")  # has no triple
    assert not NearDuplicates(0.61).repeats("one two three four five six")
    strict = NearDuplicates(0.61)
    assert not strict.repeats("one two three four five six") and not strict.repeats("one two three four five seven")
    off = NearDuplicates(None)
    assert not off.repeats("a b c d") and not off.repeats("a b c d")


def test_near_duplicates_equal_the_comparison_of_all_pairs():
    from random import Random

    from searchtune.synthesis.limrank_filter import ngrams

    rng, kept, near = Random(0), [], NearDuplicates(0.4)
    for _ in range(300):
        text = " ".join(rng.choices("abcd", k=12))
        grams = ngrams(text, 3)
        copy = any(len(grams & other) / len(grams | other) >= 0.4 for other in kept)
        assert near.repeats(text) is copy
        kept += [] if copy else [grams]
    assert 5 < len(kept) < 295


class Letters:
    """An encoder whose vector counts the letters a and b."""

    def encode(self, texts):
        found = np.array([[t.count("a") + 1e-9, t.count("b") + 1e-9] for t in texts], dtype="float32")
        return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_the_guard_finds_texts_close_to_an_evaluation_text_of_their_kind():
    guard = EmbeddingGuard(Letters(), 0.8, ["aaaa"], ["bbbb"])
    # (3, 1) and (1, 0) have cosine 3 / sqrt(10) = 0.949; (1, 1) has 0.707
    assert guard.leaks("query", ["aaab", "ab", "bb"]) == [True, False, False]
    assert guard.leaks("passage", ["aaab", "bb"]) == [False, True]
    assert guard.leaks("query", []) == []
    assert EmbeddingGuard(Letters(), 0.8, ["a"], []).leaks("passage", ["bb"]) == [False]


def test_funnel_adds_up_shards():
    funnel = Funnel()
    for lost in ({"loop": 1}, {"loop": 2, "duplicate": 1}):
        funnel.add("write_passage", "positive", "default", 10, lost)
    assert funnel.rows == [
        {"stage": "write_passage", "strategy": "positive", "prompt": "default", "in": 20, "out": 16, "keep_rate": 0.8}
    ]
    assert [(row["reason"], row["count"]) for row in funnel.reasons] == [("loop", 3), ("duplicate", 1)]


# ---- bands and prompts


def test_an_instruction_stands_behind_its_question():
    import re

    form = Forms().expansion("tea", ("expert",), "instruction")["properties"]["expert_query"]["pattern"].strip("^$")
    assert re.fullmatch(form, "How is tea made? Leave out texts on green tea.")
    assert not re.fullmatch(form, "How is tea made?")
    plain = Forms().expansion("tea", ("expert",), "simple")["properties"]["expert_query"]["pattern"].strip("^$")
    assert re.fullmatch(plain, "How is tea made?")


def test_every_band_has_words_and_an_example_that_is_json():
    templates = load_templates(PROMPTS / "synthesis.yaml")
    bands = templates.constants["bands"]
    assert set(bands) == {"simple", "multi_step", "instruction"}
    for words in bands.values():
        answers = [json.loads(part.splitlines()[0]) for part in words.split("Answer: ")[1:]]
        assert len({answer["domain"] for answer in answers}) == 3
        for answer in answers:
            assert {"subject", "daily_life_query", "expert_query", "domain", "difficulty"} == set(answer)
        fields = {"seed": "S", "persona": "P", "band": words}
        assert render(templates["expand_query_banded"]["default"].prompt, fields, "x").endswith("Search: S\nAnswer:")


# ---- the stage with a writer that obeys its schema


class Scripted:
    """A model that fills in the form of each request; ``broken`` ids get no JSON, ``verdict`` is what it says of pairs."""

    def __init__(self, broken=(), verdict=None, window=4000, log=None, killed_after=None):
        self.model, self.revision, self.max_model_len, self.killed_after = "scripted", "r1", window, killed_after
        self.broken, self.verdict, self.log = broken, verdict, log if log is not None else []

    def count(self, prompts):
        return [len(prompt.split()) for prompt in prompts]

    def generate(self, prompts, sampling):
        if self.killed_after is not None and len(self.log) >= self.killed_after:
            raise KeyboardInterrupt
        samplings = [sampling] * len(prompts) if isinstance(sampling, Sampling) else sampling
        self.log += prompts
        return [
            Completion(self.answer(p, s), "stop", len(p.split()), 5) for p, s in zip(prompts, samplings, strict=True)
        ]

    def answer(self, prompt, sampling):
        if sampling.json_schema is None:
            return "because it says so."
        if any(mark in prompt for mark in self.broken) and sampling.seed < 1000:
            return '{"subject": '
        keys = sampling.json_schema["properties"]
        fields = {"domain": "science", "difficulty": "direct", "reasoning": f"It must explain {len(prompt)} facts."}
        subject = keys.get("subject", {}).get("enum", [""])[0]
        told = " ".join(f"w{part}" for part in wrap(hashlib.sha256(prompt.encode()).hexdigest(), 8))
        fields |= {"daily_life_query": f"What is {subject} to me {told}?", "expert_query": f"Why is {subject} {told}?"}
        fields |= {"subject": subject, "text": f"The text tells {told}."}
        fields |= {"positives": [f"It answers {told}."]}
        fields |= {
            "hard_negatives": [{"description": f"Another thing {told}.", "fails_because": "It does not answer."}]
        }
        return json.dumps({key: fields[key] for key in keys})

    def score(self, prompts, continuations):
        if list(continuations[0]) == [TRUE, FALSE] and self.verdict is not None:
            return [[Scored(-0.1, 1), Scored(-3.0, 1)][:: 1 if self.verdict else -1] for _ in prompts]
        return [[Scored(-1.0 - len(p) % 7, len(c.split())) for c in row] for p, row in zip(prompts, continuations)]


def planted_folder(path):
    Collection(
        {f"d{i}": Passage("", f"passage {i} one two three") for i in range(8)},
        {f"q{i}": Query(f"query {i}", metadata={"split": "train", "article": f"a{i}"}) for i in range(8)},
        {f"q{i}": {f"d{i}": 1} for i in range(8)},
    ).save(path)
    return path


def synthesis(tmp_path, monkeypatch, engine, out="out", **changes):
    """Run the stage on a query file with the scripted model; return its output folder and counts."""
    monkeypatch.setattr(limrank_models, "open_engine", lambda *_, **__: engine)
    queries = tmp_path / "queries.txt"
    if not queries.exists():
        words = "amber birch cedar daisy ember fern grape hazel iris jade kelp lily mint nut oak pine"
        queries.write_text("".join(f"{word} colour\n" for word in words.split()))
    if not (tmp_path / "planted").exists():
        planted_folder(tmp_path / "planted")
    config = plan(ROOT, {"scale": "ci", "limrank": {"queries": str(queries)}})
    plain = {"shard_seeds": None, "retries": 0, "near_duplicate": None, "difficulties": [], "text_chars": None}
    params = limrank_arguments.synthesize_args(config) | plain | {"n_seeds": 8, "n_planted": 8} | changes
    inputs = {
        "raw": [queries], "personas": PROMPTS / "personas.yaml", "prompts": PROMPTS / "synthesis.yaml",
        "writer": tmp_path, "judge": tmp_path, "planted": tmp_path / "planted", "evaluation": [],
    }  # fmt: skip
    job = Job("limrank.synthesize", inputs, {"synthesis": tmp_path / out}, params, work=tmp_path / f"work-{out}")
    return tmp_path / out, limrank.run(job)


def rows_of(folder, name="pairs.jsonl"):
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def test_the_first_seeds_of_a_larger_run_give_the_rows_of_a_smaller_one(tmp_path, monkeypatch):
    given = {"shard_seeds": 4, "difficulties": ["simple", "instruction"], "near_duplicate": 0.99}
    few, _ = synthesis(tmp_path, monkeypatch, Scripted(), "few", n_seeds=8, **given)
    many, _ = synthesis(tmp_path, monkeypatch, Scripted(), "many", n_seeds=16, **given)
    small, large = rows_of(few, "queries.jsonl"), rows_of(many, "queries.jsonl")
    assert len(large) > len(small) > 8 and large[: len(small)] == small
    seeds = {row["seed_id"] for row in small}
    text = [(r["id"], r["plan"], r["words"], r["split"], r["band"]) for r in rows_of(many) if r["seed_id"] in seeds]
    assert text == [(r["id"], r["plan"], r["words"], r["split"], r["band"]) for r in rows_of(few)]
    assert {row["band"] for row in small} == {"simple", "instruction"}


def test_a_killed_run_goes_on_from_the_calls_that_it_kept(tmp_path, monkeypatch):
    whole, asked = Scripted(), {"shard_seeds": 2, "retries": 1}
    expected, _ = synthesis(tmp_path, monkeypatch, whole, "whole", **asked)
    killed = Scripted(killed_after=len(whole.log) // 2)
    with pytest.raises(KeyboardInterrupt):
        synthesis(tmp_path, monkeypatch, killed, "cut", **asked)
    assert 0 < len(killed.log) < len(whole.log) and not (tmp_path / "cut").exists()
    rest = Scripted()
    found, _ = synthesis(tmp_path, monkeypatch, rest, "cut", **asked)
    assert len(killed.log) + len(rest.log) == len(whole.log)  # no call was made twice
    names = sorted(p.relative_to(expected) for p in expected.rglob("*") if p.is_file())
    assert names and [(found / name).read_bytes() for name in names] == [(expected / n).read_bytes() for n in names]


def test_malformed_json_is_counted_and_asked_for_again(tmp_path, monkeypatch):
    lost, first = synthesis(tmp_path, monkeypatch, Scripted(broken=["Search: birch"]), "lost", n_seeds=16)
    mended, second = synthesis(
        tmp_path, monkeypatch, Scripted(broken=["Search: birch"]), "mended", n_seeds=16, retries=2
    )
    assert (first["parse_errors"], first["asked_again"]) == (2, 0)  # two kinds of query of one seed
    assert (second["parse_errors"], second["asked_again"]) == (0, 1)
    seeds = [{row["seed"] for row in rows_of(folder, "queries.jsonl")} for folder in (lost, mended)]
    assert seeds[1] - seeds[0] == {"birch colour"}


def test_a_prompt_over_the_window_is_a_counted_case(tmp_path, monkeypatch):
    (tmp_path / "queries.txt").write_text("oak colour\n" + "very " * 30 + "long\npine colour\nfern colour\n")
    tokens = dict.fromkeys(["query_tokens", "trace_tokens", "plan_tokens", "passage_tokens"], 100)
    params = {"max_seed_words": 50, "n_seeds": 4} | tokens
    # the prompt with its examples has some 150 words, 30 more with the long query, and may add 100
    window = 100 + len(load_templates(PROMPTS / "synthesis.yaml")["expand_query"]["default"].prompt.split()) + 20
    folder, _ = synthesis(tmp_path, monkeypatch, Scripted(window=window), **params, max_model_len=window)
    reasons = (folder / "reasons.tsv").read_text()
    assert "expand_query\texpert\tover_window\t1" in reasons and "expand_query\tdaily_life\tover_window\t1" in reasons
    assert len({row["seed"] for row in rows_of(folder, "queries.jsonl")}) == 3


def test_duplicate_queries_are_counted(tmp_path, monkeypatch):
    (tmp_path / "queries.txt").write_text("oak colour\nOak  colour!\npine colour\nfern colour\nmint colour\n")
    folder, _ = synthesis(tmp_path, monkeypatch, Scripted(), n_seeds=4)
    assert "seeds\tweb_queries\tduplicate\t1" in (folder / "reasons.tsv").read_text()


@pytest.mark.parametrize(("verdict", "word"), [(True, "true"), (False, "false")])
def test_a_judge_that_says_one_word_is_refused_or_shown(tmp_path, monkeypatch, verdict, word):
    given = {"judge_mode": "reasoning", "calibrate": False}
    with pytest.raises(DataError, match=f"the judge says {word} to all 8 planted test pairs.*limrank.judge"):
        synthesis(tmp_path, monkeypatch, Scripted(verdict=verdict), "a", judge_check="error", **given)
    folder, _ = synthesis(tmp_path, monkeypatch, Scripted(verdict=verdict), "b", **given)
    report = json.loads((folder / "judge.json").read_text())
    assert report["true_share"] == float(verdict) and report["accuracy"] == 0.5 and report["ci_low"] < 0.5


def test_passages_over_the_judge_s_window_are_cut_and_counted(tmp_path, monkeypatch):
    folder, _ = synthesis(tmp_path, monkeypatch, Scripted(), planted_words=5)
    report = json.loads((folder / "judge.json").read_text())
    assert report["cut_passages"] == len(rows_of(folder)) > 0


@pytest.mark.parametrize(
    ("change", "stage", "rows"),
    [
        ({"kinds": ["expert"]}, None, lambda r: {x["kind"] for x in r} == {"expert"}),
        ({"use_reasoning": False}, "reason", lambda r: True),
        ({"n_hard": 0}, None, lambda r: "hard_negative" not in {x["role"] for x in r}),
        ({"use_personas": False}, None, lambda r: {x["persona"] for x in r} == {""}),
        ({"registers": ["plain"]}, None, lambda r: {x["register"] for x in r} == {"plain"}),
        ({"length_bands": [45]}, None, lambda r: {x["words"] for x in r} == {45}),
        ({"difficulties": ["multi_step"]}, None, lambda r: {x["band"] for x in r} == {"multi_step"}),
    ],
)
def test_each_component_is_one_key(tmp_path, monkeypatch, change, stage, rows):
    folder, _ = synthesis(tmp_path, monkeypatch, Scripted(), **change)
    assert rows_of(folder) and rows(rows_of(folder))
    assert not stage or not (folder / f"calls/{stage}.jsonl.gz").exists()


def test_models_of_their_own_write_queries_and_passages(tmp_path, monkeypatch):
    opened, asked = [], []

    def open_engine(path, *_, **given):
        opened.append(path.name)
        asked.append(given["tensor_parallel"])
        engine = Scripted()
        engine.model = path.name
        engine.close = lambda: opened.append(f"{path.name} closed")
        return engine

    job = Job("limrank.synthesize", {"writer": tmp_path / "w", "judge": tmp_path / "w", "query_writer": tmp_path / "q"}, {},
              {"backend": "vllm", "dtype": "auto", "max_model_len": 9, "seed": 1}, tensor_parallel=2)  # fmt: skip
    monkeypatch.setattr(limrank_models, "open_engine", open_engine)
    models = limrank_models.Models(job)
    names = [models.engine(step).model for step in ("expand_query", "reason", "write_passage", "judge")]
    assert names == ["q", "w", "w", "w"] and asked == [2, 2]
    assert opened == ["q", "q closed", "w"], "two models do not fit into a GPU's memory"
    assert models.used["judge"] == {"model": "w", "revision": "r1"}


# ---- the data set


def test_rows_without_provenance_are_refused(tmp_path):
    from searchtune.release.gate import chain_of

    folder = tmp_path / "synthesis"
    folder.mkdir()
    with pytest.raises(DataError, match="no provenance"):
        chain_of(folder)


FACTS = {
    "splits": [{"true": 60, "false": 60}, {"true": 10, "false": 10}],
    "kept": 140,
    "pairs": 200,
    "keep_rate": "70%",
    "models": [{"step": "expand_query", "model": "w"}, {"step": "judge", "model": "j"}],
    "coverage": [
        {"by": "domain", "value": "law", "pairs": 100, "kept": 70},
        {"by": "domain", "value": "art", "pairs": 100, "kept": 70},
    ],
}
JUDGE = {"keep_rate": 0.7, "ci_low": 0.8, "true_share": 0.5, "cut_passages": 0, "forced": 0}
PARAMS = {"compared": ["held"], "leak_encoder": "minilm-l6"}


@pytest.mark.parametrize(
    ("facts", "judge", "params", "message"),
    [
        ({}, {}, {}, None),
        ({"kept": 40}, {}, {}, "Only 40 rows"),
        ({"splits": [{"true": 3, "false": 0}]}, {}, {}, "3 true and 0 false"),
        ({}, {"keep_rate": 0.97}, {}, "drops nearly all or nearly none"),
        ({}, {"ci_low": 0.45}, {}, "can't be told from chance"),
        ({}, {"true_share": 1.0}, {}, "every planted pair the same verdict"),
        ({}, {"cut_passages": 4}, {}, "did not see their ends: 4"),
        ({"models": [{"step": "reason", "model": "w"}, {"step": "judge", "model": "w"}]}, {}, {}, "judges what it has"),
        (
            {"coverage": [{"by": "domain", "value": "law", "pairs": 9, "kept": 9}]},
            {},
            {},
            "100% of the kept rows are of",
        ),
        ({}, {}, {"compared": []}, "No evaluation set was given"),
        ({}, {}, {"leak_encoder": None}, "by words only"),
    ],
)
def test_the_card_warns(facts, judge, params, message):
    found = warnings_of(FACTS | facts, JUDGE | judge, PARAMS | params)
    assert (not found) if message is None else (len(found) == 1 and message in found[0]), found


def test_splits_are_counted():
    row = {"split": "train", "label": True, "query": "a", "seed_id": "s"}
    rows = split_rows([row, row | {"label": False}, row | {"query": "b", "split": "dev"}])
    assert rows[0] == {"split": "train", "rows": 2, "true": 1, "false": 1, "queries": 1, "seeds": 1}
    assert rows[1]["rows"] == 1


# ---- the command


def given(tmp_path, text="oak leaves\npine cones\nfern spores\noak leaves\n", **rest):
    (tmp_path / "my queries.txt").write_text(text)
    base = {
        "queries": tmp_path / "my queries.txt", "out": tmp_path / "out", "personas": None, "evaluation": [], "seeds": None,
        "name": None, "licence": "", "cores": "1", "configfile": None, "json": False, "dry_run": True,
    }  # fmt: skip
    return argparse.Namespace(**(base | rest))


def test_the_plan_counts_seeds_calls_and_tokens(tmp_path, monkeypatch):
    monkeypatch.setattr(synthesize, "RESULTS", tmp_path / "results")  # an absolute path stands for itself
    name, path, config, dropped = synthesize.settings_file(given(tmp_path))
    assert (name, dropped, config["limrank"]["synthesize"]["n_seeds"]) == ("my_queries", {"duplicate": 1}, 3)
    assert path.is_file() and config["name"] == "my_queries" and config["canary_data"] == "evaluate_only"
    inputs = limrank_arguments.synthesis_inputs(config)
    assert inputs["raw"] == [str(tmp_path / "my queries.txt")] and "leak_encoder" not in inputs
    calls = synthesis_costs.calls_of(config["limrank"]["synthesize"])
    # 3 seeds, 1 persona, 2 kinds, a positive and a hard negative, a random one, 24 planted queries
    assert calls == {
        "expand_query": 3, "reason": 6, "describe_passages": 6, "write_passage": 12, "judge": 2 * (18 + 48) + 18,
    }  # fmt: skip
    assert (
        synthesis_costs.tokens_of(config["limrank"]["synthesize"]) == 3 * 160 + 6 * 110 + 6 * 180 + 12 * 150 + 18 * 48
    )
    planned = synthesize.describe(given(tmp_path), config, dropped, 2)
    assert planned["minutes_at_most"] == round(sum(calls.values()) * 267.1 / 634 / 2 / 60, 1)


def test_an_unrated_model_has_no_time(tmp_path):
    config = plan(ROOT, {"scale": "workstation"})
    assert synthesis_costs.work_of(config) == {}


def test_evaluation_folders_become_collections(tmp_path):
    folder = tmp_path / "Held Out"
    write_jsonl(folder / "corpus.jsonl", [{"_id": f"d{i}", "title": "", "text": f"text {i}"} for i in range(3)])
    write_jsonl(folder / "queries.jsonl", [{"_id": "q1", "text": "Oak leaves?"}])
    write_tsv(
        folder / "qrels.tsv", ["query-id", "corpus-id", "score"], [{"query-id": "q1", "corpus-id": "d1", "score": 1}]
    )
    found, texts = synthesize.collections_of([folder])
    assert found == {"held_held_out": {"reader": "beir", "folder": str(folder), "target": True, "n_test": None}}
    assert texts == {"oak leaves"}
    with pytest.raises(ConfigError, match="two folders of --evaluation"):
        synthesize.collections_of([folder, folder])
    with pytest.raises(DataError, match="does not exist"):
        synthesize.collections_of([tmp_path / "none"])


def test_foreign_folders_are_not_overwritten(tmp_path):
    from searchtune.commands.out import check_out

    out = tmp_path / "out"
    check_out(out, "summary.json")
    out.mkdir()
    check_out(out, "summary.json")
    (out / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="holds files that are not of an earlier run"):
        check_out(out, "summary.json")
    (out / "summary.json").write_text("{}")
    check_out(out, "summary.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "DataError: .* holds no query"),
        ("wie ist das\nwas ist das\n", "0 of 2 queries can be seeds.*'not_english': 2"),
        ("one good query\n", "1 of 1 queries can be seeds, at least 2"),
    ],
)
def test_bad_query_files_exit_with_one_line(tmp_path, capsys, text, message):
    import re

    (tmp_path / "q.txt").write_text(text)
    code = cli.main(["synthesize", "--queries", str(tmp_path / "q.txt"), "--out", str(tmp_path / "out"), "-n"])
    error = capsys.readouterr().err
    assert code == 2 and error.count("\n") == 1 and re.search(message, error), error


def test_bad_personas_exit_with_one_line(tmp_path, capsys):
    (tmp_path / "q.txt").write_text("oak leaves\npine cones\n")
    arguments = ["synthesize", "--queries", str(tmp_path / "q.txt"), "--out", str(tmp_path / "out"), "-n"]
    assert cli.main([*arguments, "--personas", str(tmp_path / "none.yaml")]) == 2
    assert "personas file" in capsys.readouterr().err


# ---- our planted pairs


def test_planted_pairs_of_our_own_are_distinct_and_judged():
    folder = PROMPTS / "planted"
    queries = [json.loads(line) for line in (folder / "queries.jsonl").read_text().splitlines()]
    corpus = [json.loads(line) for line in (folder / "corpus.jsonl").read_text().splitlines()]
    assert len(queries) == len(corpus) == 24
    assert len({row["text"] for row in corpus}) == 24
    assert all(20 <= len(row["text"].split()) <= 70 for row in corpus)


def test_the_judge_s_report_has_the_share_of_true():
    planted = [limrank_judge.Planted(str(i), "q", "p", i % 2 == 0, "test") for i in range(4)]
    report = limrank_judge.judge_report(planted, [0.9, 0.8, 0.7, 0.1], calibrate=False)
    assert report["true_share"] == 0.75
    limrank_judge.refuse_constant(report)
    with pytest.raises(DataError, match="says false to all 4"):
        limrank_judge.refuse_constant(report | {"true_share": 0.0})


def test_evaluation_texts_may_be_none():
    assert isinstance(limrank.evaluation_texts([], 6, 13), EvaluationTexts)
