"""The command adapt: what a folder holds, what fits it, the card; a model with a canary never leaves."""

import argparse
import json
import subprocess
import sys

import pytest
import yaml

from searchtune import cli
from searchtune.commands import adapt, folder
from searchtune.errors import ConfigError, DataError, ModelError
from searchtune.files import write_json, write_jsonl, write_tsv
from searchtune.registry.table import ROOT
from searchtune.release.card import comparison, render_card, score_rows
from searchtune.release.gate import chain_of, refuse
from searchtune.release.licences import warning

FACTS = {
    "target": "notes",
    "encoder": "minilm-l6",
    "seen": "MS MARCO",
    "writer": "a model",
    "rerankers": 2,
    "synthetic": True,
    "k": 10,
    "dim": 8,
    "passage_length": 20,
    "passages": 150,
    "n": "31",
    "comparison": "It is better than BM25 here.",
    "scores": [{"name": "BM25", "nDCG@10": "0.500 (0.400 to 0.600)", "Success@5": "0.700 (0.600 to 0.800)"}],
    "signs": 5,
    "signs_passed": 4,
    "failed": ["reranker 1"],
    "written": 300,
    "kept": 200,
    "trained": 160,
    "corpus_licence": "",
    "licences": ["CC0-1.0"],
}


def notes(path, count, suffix=".txt"):
    path.mkdir(parents=True)
    for number in range(count):
        words = " ".join(f"word{number}x{i}" for i in range(30))
        (path / f"note{number}{suffix}").write_text(f"{words}.\n", encoding="utf-8")
    return path


def beir(path, passages, queries):
    write_jsonl(
        path / "corpus.jsonl", [{"_id": f"d{i}", "title": "", "text": f"text number {i}"} for i in range(passages)]
    )
    write_jsonl(path / "queries.jsonl", [{"_id": f"q{i}", "text": f"which is {i}"} for i in range(queries)])
    rows = [{"query-id": f"q{i}", "corpus-id": f"d{i}", "score": 1} for i in range(queries)]
    write_tsv(path / "qrels" / "test.tsv", ["query-id", "corpus-id", "score"], rows)
    return path


@pytest.mark.parametrize(
    ("given", "name"),
    [("My Notes.2026", "my_notes"), ("perl-doc", "perl_doc"), ("2026", "corpus_2026"), ("___", "corpus")],
)
def test_a_folder_names_its_collection(tmp_path, given, name):
    assert folder.name_of(tmp_path / given) == name


def test_a_folder_of_texts_is_counted(tmp_path):
    found = folder.inspect(notes(tmp_path / "notes", 150))
    assert (found.reader, found.files, found.passages, found.words, found.queries) == ("texts", 150, 150, 4500, 0)


def test_human_queries_test_where_there_are_enough(tmp_path):
    many, few = folder.inspect(beir(tmp_path / "a", 130, 12)), folder.inspect(beir(tmp_path / "b", 130, 9))
    assert (many.queries, many.judged, few.queries, few.judged) == (12, True, 9, False)
    sizes = [folder.settings_of(found, "mine")["collections"]["mine"]["n_test"] for found in (many, few)]
    assert sizes == [None, 0]  # all of the test split; none, so that held-out synthetic queries test


@pytest.mark.parametrize("given", ["0", "-1", "two", "1.5"])
def test_cores_that_are_no_number_are_refused(given, capsys):
    with pytest.raises(SystemExit):
        cli.main(["adapt", "folder", "--cores", given])
    assert f"'{given}' is neither a number of cores nor 'all'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path / "nothing", "does not exist"),
        (lambda path: notes(path / "few", 5), "gives 5 distinct passages; adapting needs at least 120"),
        (lambda path: notes(path / "empty", 0), "no file ends in .txt"),
    ],
)
def test_a_folder_that_can_not_be_adapted_to_is_refused(tmp_path, make, message):
    with pytest.raises(DataError, match=message):
        folder.inspect(make(tmp_path))


def test_sizes_fit_the_folder(tmp_path):
    small = folder.Folder(tmp_path, "texts", 1, 150, 4500, 0)
    part = folder.settings_of(small, "notes")["udapdr"]
    # two queries of each passage that is no demonstration: 2 x (150 - 16); a hundredth of the passages: 1
    assert (part["scale_up"]["per_prompt"], part["filter"]["k"]) == (268, 1)
    large = folder.Folder(tmp_path, "beir", 1, 5000, 500_000, 40)
    found = folder.settings_of(large, "mine", "CC0-1.0")
    assert (found["udapdr"]["scale_up"]["per_prompt"], found["udapdr"]["filter"]["k"]) == (960, 10)
    assert found["collections"]["mine"] == {
        "reader": "beir", "folder": str(tmp_path), "licence": "CC0-1.0", "target": True, "n_test": None,
    }  # fmt: skip


def test_a_corpus_that_does_not_fit_the_memory_is_said_so_beforehand(tmp_path):
    part = {"student": {"passage_length": 128}}
    # 8,192 passages at once of 128 tokens at most, 3 KB each: 3 GiB; 70 million tokens of text, thrice: 1 GiB
    large = folder.Folder(tmp_path, "beir", 1, 100_000, 50_000_000, 40)
    said = adapt.memory_line(adapt.memory_of(large, part), machine=4096)
    assert said.startswith("memory: about 4.7 GiB") and "WARNING: this machine has 4.0 GiB" in said
    assert "WARNING" not in adapt.memory_line(adapt.memory_of(large, part), machine=8192)


def arguments(path, **given):
    rest = {"name": None, "licence": "", "cores": "1", "configfile": None, "json": False, "dry_run": True}
    return argparse.Namespace(**({"folder": path} | rest | given))


def test_the_settings_are_a_sound_configuration_without_canaried_data(tmp_path, monkeypatch):
    from searchtune.plan import plan

    monkeypatch.setattr(adapt, "RESULTS", tmp_path)
    name, path, _ = adapt.settings_file(arguments(tmp_path), folder.inspect(notes(tmp_path / "my notes", 150)))
    config = plan(ROOT, yaml.safe_load(path.read_text()))
    assert config["udapdr"]["target"] == name and config["udapdr"]["off_domain"] == ""
    assert config["canary_data"] == "evaluate_only"
    used = {name for name, pair in config["inters"]["pairs"].items() if pair["n_train"]}
    assert used == {f"query_generation/{name}" for name in ("gar_nq", "trec_robust", "trec_adhoc", "gov2")}
    assert not any(config["inters"]["sources"][pair.split("/")[1]]["canary"] for pair in used)


def test_a_licence_under_which_the_model_must_stay_is_told_and_bars_no_run_of_ones_own(tmp_path):
    assert "will not pass the result on (non-commercial use only)" in warning("CC BY-NC 4.0")
    assert "did you mean 'CC BY 4.0'?" in warning("CC-BY 4.0")
    assert warning("") == warning("own") == warning("CC BY-SA 4.0") == ""
    model = tmp_path / "adapted"
    model.mkdir()
    write_json(tmp_path / "adapted.prov.json", provenance(model) | {"licences": ["CC BY-NC 4.0", "CC0-1.0"]})
    refuse(chain_of(model), ModelError, stated="CC BY-NC 4.0")
    with pytest.raises(ModelError, match="'CC BY-NC 4.0'"):
        refuse(chain_of(model), ModelError, stated="CC0-1.0")


def test_the_plan_is_the_same_in_words_and_as_data(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(adapt, "RESULTS", tmp_path / "runs")
    monkeypatch.setattr(adapt, "ROOT", tmp_path)
    for name in ("config", "workflow"):
        (tmp_path / name).symlink_to(ROOT / name)
    # Snakemake's own dry run is left out: the plan is what is looked at
    monkeypatch.setattr(adapt, "snakemake", lambda *_: 0)
    given = ["adapt", str(notes(tmp_path / "mine", 150)), "--name", "mine_too", "-n"]
    assert cli.main([*given, "--json"]) == 0
    shown = capsys.readouterr().out
    planned = json.loads(shown)["plan"]
    assert (planned["passages"], planned["words"], planned["judged"]) == (150, 4500, False)
    # two queries of each passage that is no demonstration, by each of the two prompts: 2 x 268
    assert (planned["synthetic_queries"], planned["rerankers"]) == (536, 2) and planned["minutes"] > 0
    assert cli.main(given) == 0
    text = capsys.readouterr().out
    assert f"about {planned['minutes']:.0f} minutes" in text and "150 passages, 4,500 words" in text
    assert "0 human queries: too few to tell" in text


def test_a_name_of_the_workflow_s_own_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="'amazon' is a collection of the workflow's own.*--name"):
        adapt.settings_file(arguments(tmp_path, name="amazon"), folder.Folder(tmp_path, "texts", 1, 150, 1, 0))


def test_errors_are_one_line_and_exit_code_2(tmp_path, capsys):
    assert cli.main(["adapt", str(tmp_path / "nothing")]) == 2
    assert "DataError" in capsys.readouterr().err
    assert cli.main(["search", str(tmp_path), "a query"]) == 2
    assert "has no model; give the folder that `searchtune adapt` made" in capsys.readouterr().err


def rows(p="0.01", ours="0.60"):
    row = {"ci_low": "0.4", "ci_high": "0.7", "p_vs_bm25": p, "n": "31"}
    return [
        row | {"system": system, "metric": metric, "value": value}
        for system, value in (("bm25", "0.50"), ("student_adapted", ours))
        for metric in ("nDCG@10", "Success@5")
    ]


def test_the_card_s_table_and_sentence():
    found = score_rows(rows())
    assert [row["name"] for row in found] == ["BM25", "**this model**"]
    assert found[1]["nDCG@10"] == "0.600 (0.400 to 0.700)"
    assert comparison(rows()) == "It is better than BM25 here (nDCG@10 +0.100, p 0.01)."
    assert comparison(rows(ours="0.40")) == "It is worse than BM25 here (nDCG@10 -0.100, p 0.01)."
    assert comparison(rows(p="0.2")) == "It can't be told apart from BM25 here (nDCG@10 +0.100, p 0.2)."


def test_the_card_says_what_its_queries_are():
    card = render_card(FACTS)
    head = yaml.safe_load(card.split("---")[1])
    assert head["base_model"] == "minilm-l6"
    assert "weaker evidence than human" in card and "not passed: reranker 1" in card
    human = render_card(FACTS | {"synthetic": False, "failed": []})
    assert "On 31 human test queries" in human and "weaker" not in human and "not passed" not in human


def test_a_model_with_a_canary_a_barred_licence_or_no_provenance_stays(tmp_path):
    model = tmp_path / "adapted"
    model.mkdir()
    with pytest.raises(ModelError, match="no provenance"):
        chain_of(model, ModelError)
    write_json(tmp_path / "adapted.prov.json", provenance(model) | {"canary": ["bigbench"]})
    with pytest.raises(ModelError, match=r"stays on this machine; canary 'bigbench', brought by adapted"):
        refuse(chain_of(model), ModelError)
    write_json(tmp_path / "adapted.prov.json", provenance(model) | {"licences": ["CC BY-NC 4.0"]})
    with pytest.raises(ModelError, match=r"licence 'CC BY-NC 4.0', brought by adapted: non-commercial use only"):
        refuse(chain_of(model), ModelError)
    write_json(tmp_path / "adapted.prov.json", provenance(model))
    refuse(chain_of(model), ModelError)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A whole exported folder, made by the stages themselves."""
    from searchtune.collections.beir import Collection, Passage, Query
    from searchtune.retrieval.late_interaction import LateInteractionModel, Settings
    from searchtune.stage import run_job
    from searchtune.training.tiny import build_encoder

    path = tmp_path_factory.mktemp("exported")
    texts = [f"the {word} runs past mill number {i}, slowly" for i, word in enumerate(["river", "boat", "road"] * 5)]
    build_encoder(texts * 2, path / "encoder", hidden=32, vocabulary=200)
    corpus = {f"d{i}": Passage("A title", text, "notes/a.txt") for i, text in enumerate(texts)}
    queries = {"q": Query("which river", metadata={"split": "test"})}
    Collection(corpus, queries, {"q": {"d0": 1}}, manifest={"id": "notes"}).save(path / "notes")
    LateInteractionModel.load(path / "encoder", "untrained", Settings(dim=8, passage_length=16)).save(path / "adapted")
    write_json(path / "adapted.prov.json", provenance(path / "adapted"))
    job = {
        "stage": "retrieve.late",
        "inputs": {"collection": str(path / "notes"), "model": str(path / "adapted")},
        "outputs": {"runs": str(path / "runs"), "index": str(path / "indexes")},
        "params": {"systems": {"student_adapted": "trained"}, "depth": 5, "splits": ["test"], "batch_size": 4,
                   "precision": "float32"},
    }  # fmt: skip
    run_job(job)
    write_jsonl(path / "filtered" / "queries.jsonl", [{"part": "train"}, {"part": "held"}])
    write_tsv(path / "tables" / "signs.tsv", ["sign", "passed"], [{"sign": "alive", "passed": True}])
    write_tsv(path / "tables" / "synthesis.tsv", ["stage", "in"], [{"stage": "scale_up", "in": 4}])
    quality = [row | {"collection": "notes"} for row in rows()]
    write_tsv(path / "tables" / "quality.tsv", list(quality[0]), quality)
    (path / "audit.tsv").write_text("chain\n")
    given = ("encoder", "seen", "writer", "rerankers", "synthetic", "k")
    names = {"model": "adapted", "index": "indexes", "collection": "notes", "filtered": "filtered",
             "tables": "tables", "audit": "audit.tsv"}  # fmt: skip
    job = {
        "stage": "adapt.export",
        "inputs": {key: str(path / name) for key, name in names.items()},
        "outputs": {"folder": str(path / "out")},
        "params": {"target": "notes", "scored": "notes"} | {key: FACTS[key] for key in given},
    }
    run_job(job)
    return path / "out"


def provenance(path):
    from searchtune.files import sha256_tree
    from searchtune.stage import fingerprint

    output = {"name": "model", "path": str(path), "sha256": sha256_tree(path), "fingerprint": fingerprint(path)}
    recipe = {"stage": "train.student", "code": "c", "params": {}, "inputs": [], "key": "k"}
    return {"output": output, "recipe": recipe, "canary": [], "licences": ["CC0-1.0"], "execution": {}}


def test_what_leaves_the_machine_names_no_folder_of_the_user(tmp_path):
    from searchtune.collections.arguments import collection_args
    from searchtune.release.gate import steps_of
    from searchtune.stage import run_job

    corpus = tmp_path / "private plans"
    corpus.mkdir()
    (corpus / "a.txt").write_text("text", encoding="utf-8")
    entry = {"reader": "texts", "raw": [], "folder": str(corpus), "max_passages": None, "n_train": 0, "n_dev": 0,
             "n_test": 0, "licence": "", "canary": [], "target": True}  # fmt: skip
    config = {"collections": {"mine": entry}, "splits": {"seed": 1, "train": 0.7, "dev": 0.1}}
    job = {
        "stage": "collections.build",
        "inputs": {"raw": [str(corpus)]},
        "outputs": {"collection": str(tmp_path / "results" / "collections" / "mine")},
        "params": collection_args(config, "mine"),
    }  # fmt: skip
    run_job(job)
    steps = steps_of(chain_of(tmp_path / "results" / "collections" / "mine"))
    assert [step["artefact"] for step in steps if not step["stage"]] == ["private plans"]
    assert str(tmp_path) not in json.dumps(steps) and tmp_path.name not in json.dumps(steps)


@pytest.mark.slow
def test_the_search_command_finds_what_the_index_holds(exported, capsys):
    from searchtune.retrieval.late_interaction import LateInteractionModel, search
    from searchtune.retrieval.token_index import TokenIndex

    assert cli.main(["search", str(exported), "the boat", "a road", "-k", "3", "--json"]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    model, index = LateInteractionModel.load(exported / "model"), TokenIndex.load(exported / "index")
    expected = search(index, model.encode_queries(["the boat", "a road"]), 3)
    assert [[hit["id"] for hit in answer["passages"]] for answer in answers] == [[i for i, _ in e] for e in expected]
    assert answers[0]["passages"][0]["title"] == "A title" and answers[0]["query"] == "the boat"
    assert cli.main(["search", str(exported), "the boat", "-k", "1"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("the boat\n  1. ") and "notes/a.txt: A title" in shown
    assert cli.main(["search", str(exported), "the boat", "-k", "0"]) == 2


@pytest.mark.slow
def test_the_card_s_own_code_gives_the_model_s_scores(exported):
    from searchtune.retrieval.late_interaction import LateInteractionModel, maxsim

    card = (exported / "model" / "README.md").read_text()
    code = card.split("```python\n")[1].split("```")[0]
    query, passage = "which river", "A title the river, runs past; mill number 3!"
    code += f"\nprint(score({query!r}, {passage!r}))\n"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=exported / "model", capture_output=True, text=True, check=True
    )
    model = LateInteractionModel.load(exported / "model")
    vectors = model.encode_passages([passage])[0]
    assert float(done.stdout) == pytest.approx(
        maxsim(model.encode_queries([query])[0], vectors, [len(vectors)]).item(), abs=1e-4
    )


@pytest.mark.slow
def test_the_model_s_folder_names_no_path_of_this_machine(exported):
    for file in (exported / "model").glob("*.*"):
        if file.suffix in (".md", ".json"):
            assert str(exported.parent) not in file.read_text(), file
    assert "provenance" in {file.stem for file in (exported / "model").iterdir()}


def test_cost_is_work_times_the_rates_of_a_run(tmp_path):
    from searchtune.commands import costs

    record = {
        "recipe": {"stage": "retrieve.late", "key": "k"},
        "execution": {"wall_s": 10.0, "threads": 2, "ended": "now"},
        "counts": {"vectors": 4000},
    }
    for name in ("index", "runs"):  # two outputs of one job
        write_json(tmp_path / f"{name}.prov.json", record)
    write_json(tmp_path / "other.prov.json", record | {"execution": record["execution"] | {"ended": "later"}})
    table = costs.rates_of(tmp_path)
    # two jobs: 2 x 4,000 vectors in 2 x 10 s x 2 threads
    assert table == [{"stage": "retrieve.late", "unit": "vectors", "done": 8000, "core_seconds": 40.0}]
    write_tsv(tmp_path / "rates.tsv", costs.COLUMNS, table)
    # 48,000 vectors at 5 ms each on two cores: two minutes
    assert costs.minutes({"retrieve.late": 48_000}, 2, tmp_path / "rates.tsv") == pytest.approx(2.0)


def test_the_work_of_an_adaptation_is_counted():
    from searchtune.commands.costs import work_of
    from searchtune.plan import plan

    part = plan(ROOT, {"scale": "adapt", "papers": ["udapdr"]})["udapdr"]
    work = work_of(part, 0, 1000, 50_000, 30)
    assert work["udapdr.scale_up"] == 2 * 960 and work["udapdr.seed"] == 16 * 6 and work["train.sft"] == 0
    assert work["retrieve.late"] == pytest.approx(3 * 70_000)
    assert work["rerank.cross_encoder"] == 2 * 30 * 20
    # passages longer than the encoder reads: 1,000 x 180 tokens, three times
    assert work_of(part, 0, 1000, 900_000, 30)["retrieve.late"] == 3 * 180_000
