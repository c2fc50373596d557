"""The released template file of INTERS: parsed as data, mapped to our names, with every trap that it holds.

The fixture has the form of the released file and our own wordings. The file itself is not part of the project.
"""

import shutil
from copy import deepcopy

import pytest
from helpers import ROOT

from searchtune.errors import ConfigError, DataError
from searchtune.files import read_jsonl, write_jsonl
from searchtune.plan import plan
from searchtune.prompts.templates import load_templates
from searchtune.stage import Job
from searchtune.tasks import arguments
from searchtune.tasks.prompting import TemplateBook, completion, compose
from searchtune.tasks.released_source import PATTERNS, SHOWN, read_released
from searchtune.tasks.released_templates import TABLE, demonstration_form, load_released, load_table, overlay
from searchtune.tasks.render import run

FIXTURE = ROOT / "tests/fixtures/inters/instruct_templates.py.txt"
WHOLE = load_table()
OWN = {path.stem: load_templates(path) for path in sorted((ROOT / "workflow/prompts/inters").glob("*.yaml"))}


def table(**changes):
    """Return the mapping table, cut down to the keys of the fixture."""
    part = deepcopy(WHOLE)
    part["keys"] = {key: part["keys"][key] for key in read_released(FIXTURE).patterns}
    return part | changes


FILES = load_released(FIXTURE, table())


def test_the_table_has_the_57_keys_and_56_pairs_of_the_paper():
    keys = WHOLE["keys"]
    assert len(keys) == 57 and len({entry["pair"] for entry in keys.values()}) == 56
    assert {entry["pair"].split("/")[0] for entry in keys.values()} == set(OWN) - {"query_generation"}
    assert len({entry["pair"].split("/")[0] for entry in keys.values()}) == 20


def test_a_whole_file_gives_684_templates(tmp_path):
    """Build a file with all 57 keys out of the table: each placeholder of a part in each of its prompts."""
    prompts, turned = {}, {}
    for key, entry in WHOLE["keys"].items():
        prompts[key] = [None] * 12
        for part in entry.get("parts") or [{"templates": list(range(12))}]:
            fields = part.get("fields", entry["fields"])
            (output,) = [name for name, ours in fields.items() if ours == "target"]
            inputs = " ".join(f"{{{name}}}" for name, ours in fields.items() if ours != "target")
            for n in part["templates"]:
                prompts[key][n] = (f"{key} {n} {inputs}", f"{{{output}}}")
        turned[key] = []
    names = {entry["pair"].split("/")[0] for entry in WHOLE["keys"].values()}
    descriptions = {WHOLE["descriptions"].get(name, name): "A task." for name in names}
    assert len(descriptions) == 13
    text = f"TASK_DESCRIPTIONS = {descriptions}\nHAS_REVERSE = {turned}\n{PATTERNS} = {prompts}\n{SHOWN} = {prompts}\n"
    (tmp_path / "f.py").write_text(text)
    found = load_released(tmp_path / "f.py")
    assert len(found) == 20
    assert sum(len(item.templates) for file in found.values() for item in file.values()) == 57 * 12
    assert len(found["query_reformulation"]["trec_cast"].templates) == 24
    assert sorted(found["fact_checking"]) == sorted(
        f"{name}{form}"
        for name in ("climate_fever", "fever", "scifact")
        for form in ("", ".query_generation", ".pairwise", ".pairwise_check", ".listwise", ".listwise_check")
    )


def test_reversed_templates_get_their_mark_and_our_fields():
    item = FILES["query_description"]["gov2"]
    assert item.description == "This is the task of query description."
    assert [t.id for t in item.templates if t.is_reversed] == ["reversed_gov2_10", "reversed_gov2_11"]
    assert item["gov2_3"].prompt == "Title {title}, wording 3" and item["gov2_3"].completion == "{target}"
    assert item["gov2_3"].cue == "\n\nResult: "
    turned = item["reversed_gov2_10"]
    assert (turned.prompt, turned.completion) == ("Text: {target} Give its heading.", "{title}")


def test_literal_braces_stay_text():
    orcas = FILES["query_intent_classification"]["orcas_i"]
    row = {"fields": {"query": "a {b}"}, "target": "factual"}
    assert compose(orcas, orcas["i_1"], row, with_description=False) == (
        "Pick for a {b} from {factual, abstain, instrumental, transactional, navigational}"
    )
    fever = FILES["fact_verification"]["fever"]
    row = {"fields": {"claim": "C", "evidence": "E"}, "target": "support"}
    assert compose(fever, fever["fever_9"], row, with_description=False) == "C E Which label {support or refute}?"
    assert compose(fever, fever["fever_8"], row, with_description=False).endswith("one of {support, refute}.")


def test_misspelt_key_placeholder_and_cue_are_read():
    assert FILES["query_suggestion"]["aol"]["aol_0"].prompt == "Log: {history} What follows? Way 0"
    web = FILES["query_intent_classification"]["trec_web"]
    assert web["web_1"].prompt == "Query {query} ({description}): faceted, ambiguous"
    assert FILES["query_expansion"]["trec_cast"]["cast_0"].cue == " Description: "


def test_two_keys_of_one_data_set_are_one_set_and_one_key_of_two_data_sets_is_two():
    cast = FILES["query_reformulation"]["trec_cast"]
    assert len(cast.templates) == 24 and cast["cast19_0"] and cast["cast2x_0"]
    assert {"session_title", "session_description", "history", "query", "target"} == set(cast.fields)
    subtopics = FILES["query_intent_classification"]["trec_web_subtopics"]
    assert [t.id for t in subtopics.templates] == ["web_5"] and subtopics.labels == ("informational", "navigational")
    assert len(FILES["query_intent_classification"]["trec_web"].templates) == 11
    closed = FILES["reading_comprehension"]["triviaqa_closed"]
    assert [t.id for t in closed.templates] == [f"qa_{n}" for n in (0, 1, 2, 3, 4, 10)]
    assert set(closed.fields) == {"question", "target"}


def test_words_for_labels_get_our_case_and_others_stay():
    boolq = FILES["reading_comprehension"]["boolq"]
    assert 'Say "true" or "false". (0)' in boolq["q_0"].prompt and "Truthful" in boolq["q_10"].prompt
    marco = FILES["passage_reranking"]["ms_marco"]
    assert marco["marco_0"].prompt.endswith("Say 'yes' or 'no'.") and "Nothing" in marco["marco_1"].prompt


def test_ranking_keys_are_split_by_form():
    file = FILES["passage_reranking"]
    assert file["ms_marco"].description == "This is the task of retrieval."
    assert {name: [t.id for t in item.templates] for name, item in file.items()} == {
        "ms_marco": ["marco_0", "marco_1"],
        "ms_marco.query_generation": ["marco_2", "marco_3"],
        "ms_marco.pairwise": ["marco_4", "marco_5"],
        "ms_marco.pairwise_check": ["marco_6", "marco_7"],
        "ms_marco.listwise": ["marco_8", "marco_9"],
        "ms_marco.listwise_check": ["marco_10", "marco_11"],
    }
    assert file["ms_marco.pairwise"]["marco_5"].prompt == "Texts:\n1: {first}\n2: {second}\nPick one for {query}."
    assert file["ms_marco.listwise_check"]["marco_10"].prompt.startswith("Is {order} the order of {passages}")
    assert file["ms_marco.query_generation"]["marco_2"].completion == "{target}"


def test_demonstrations_that_are_no_prompt_plus_cue_keep_their_wording():
    cast = FILES["query_reformulation"]["trec_cast"]
    row = {"fields": {"query": "and it?", "history": "iris"}, "target": "the iris?"}
    reworded = cast["cast2x_4"]
    assert reworded.shown == "Another wording: Turns {history}, now {query}, way 4\nQuery:" and reworded.cue == " "
    assert compose(cast, reworded, row, [row], with_description=False) == (
        "Another wording: Turns iris, now and it?, way 4\nQuery: the iris?\n\n"
        "Another wording: Turns iris, now and it?, way 4\nQuery:"
    )
    assert compose(cast, reworded, row, with_description=False) == "Turns iris, now and it?, way 4"
    assert completion(reworded, row) == "the iris?"


@pytest.mark.parametrize(
    ("prompt", "shown", "expected"),
    [
        ("Ask {a}", "Ask {a} Answer: ", (" Answer: ", "")),
        ("Ask {a}", "Ask {a}. Result: ", (". Result: ", "")),
        ("Ask {a}", "Ask {a}", (" ", "")),  # unchanged: the answer must not run into the prompt
        ("Ask {a}:", "Ask {a}: ", (" ", "")),
        ("Ask {a}: ", "Ask {a}: ", (" ", "Ask {a}:")),
        ("Ask {a}", "Say {a}\nQ: ", (" ", "Say {a}\nQ:")),
        ("Ask {a}", "Ask {a} Desription: ", (" Description: ", "")),
    ],
)
def test_demonstration_form(prompt, shown, expected):
    assert demonstration_form(prompt, shown, {"Desription": "Description"}) == expected


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("{context} What follows? Way 7", "{contxt} What", r"aol\[7\]: placeholder \{contxt\} has no mapping; did you"),
        ("HAS_REVERSE = ", "HAS_REVRSE = ", r"line 16: only TASK_DESC.* found HAS_REVRSE; did you mean 'HAS_REVERSE'"),
        ('"qury-suggestion-aol"', '"query-suggestion-aol"', "unknown key 'query-suggestion-aol'; did you mean 'qury-"),
        ('"query_suggestion":', '"query_sugestion":', "no description of 'query_suggestion'; did you mean"),
        ("TASK_DESCRIPTIONS", "import os\nTASK_DESCRIPTIONS", r"line 5: only .* found Import"),
        ("TASK_DESCRIPTIONS = {", "TASK_DESCRIPTIONS = open('x') or {", "TASK_DESCRIPTIONS is no dictionary"),
        ('"This is the task of retrieval."', "print(1)", "TASK_DESCRIPTIONS holds more than literals"),
        ('"query-expansion-trec-cast": [10, 11]', '"query-expansion-trec-cast": []', "not listed in HAS_REVERSE"),
        ('"qury-suggestion-aol": []', '"qury-suggestion-aol": [3]', r"aol\[3\]: listed in HAS_REVERSE but does not"),
        ('"qury-suggestion-aol": []', '"qury-suggestion-aol": "3"', "is no list of whole numbers"),
        ('"qury-suggestion-aol": []', '"qury-suggestion-aol": [], "qury-suggestion-aol": []', "aol' twice"),
        ("PATTERNS = {", "PATTERNS = {,", "is not a Python file"),
    ],
)
def test_what_is_not_the_released_form_is_refused_by_name(tmp_path, old, new, message):
    text = FIXTURE.read_text()
    assert old in text
    (tmp_path / "f.py").write_text(text.replace(old, new, 1) if 'aol"' not in old else text.replace(old, new))
    with pytest.raises(DataError, match=message):
        load_released(tmp_path / "f.py", table())


def test_missing_dictionary_key_and_templates_are_named(tmp_path):
    text = FIXTURE.read_text()
    (tmp_path / "f.py").write_text(text[: text.index(f"{SHOWN} = ")])
    with pytest.raises(DataError, match=f"dictionary {SHOWN} is missing"):
        load_released(tmp_path / "f.py", table())
    with pytest.raises(DataError, match="key 'query-description-trec-robust' is missing"):
        load_released(FIXTURE, WHOLE)
    with pytest.raises(DataError, match="'query-description-gov2' has 12 prompts, expected 11"):
        load_released(FIXTURE, table(per_key=11))
    broken = table()
    broken["keys"]["query-intent-classification-trec-web"]["parts"][1]["templates"] = [6]
    with pytest.raises(DataError, match="trec-web: the parts of .* do not hold each template once"):
        load_released(FIXTURE, broken)


def test_only_templates_that_our_rows_can_fill_are_laid_over_ours_and_the_rest_is_told():
    files, report = overlay(OWN, FILES)
    told = {f"{row['task']}/{row['set']}": row for row in report}
    book = TemplateBook(files)
    assert len(book.set_of({"task": "query_description", "dataset": "gov2"}).templates) == 12
    assert (
        book.set_of({"task": "query_description", "dataset": "fire"}) == OWN["query_description"]["query_description"]
    )
    # nine templates of 2019 speak of a session's description, twelve of a title or of both; one of neither
    cast = told["query_reformulation/trec_cast"]
    assert (cast["templates"], cast["used"]) == (24, 13) and "no field session_title (11)" in cast["reason"]
    orcas = told["query_intent_classification/orcas_i"]
    assert orcas["used"] == 10 and orcas["reason"] == "offers labels that the data do not have (2)"
    assert told["fact_verification/fever"]["used"] == 0
    assert (
        told["fact_verification/fever"]["reason"] == "labels support, refute; ours: supports, refutes, not enough info"
    )
    assert book.set_of({"task": "fact_verification", "dataset": "fever"}) == OWN["fact_verification"]["fever"]
    assert told["query_suggestion/aol"] == {
        "task": "query_suggestion",
        "set": "aol",
        "templates": 12,
        "used": 11,
        "reason": "no field clicked (1)",
    }
    assert told["passage_reranking/ms_marco.pairwise"]["used"] == 2
    assert "passage_reranking/ms_marco.pairwise_check" not in told


def config(templates):
    row = {"templates": templates}
    return {"inters": row | {"base": "m", "bases": [], "cross_bases": False, "ablations": {}, "run_ablations": []}}


def test_the_plan_says_which_file_to_put_where(tmp_path):
    arguments.check_released(config("own"), tmp_path)
    assert arguments.released_input(config("own"), "full") == {}
    with pytest.raises(ConfigError) as error:
        arguments.check_released(config("released"), tmp_path)
    text = str(error.value)
    assert "inters.templates is 'released', but resources/raw/inters-templates-unpinned/instruct_templates.py" in text
    assert "raw.githubusercontent.com/DaoD/INTERS/0e0a696" in text and "licence: MIT" in text
    folder = tmp_path / "resources/raw/inters-templates-unpinned"
    folder.mkdir(parents=True)
    shutil.copy(FIXTURE, folder / "instruct_templates.py")
    arguments.check_released(config("released"), tmp_path)
    assert arguments.released_input(config("released"), "full") == {
        "released": "<resources>/raw/inters-templates-unpinned",
        "released_table": TABLE.relative_to(ROOT).as_posix(),
    }


def test_the_plan_of_the_project_checks_it_and_knows_the_artefact(monkeypatch):
    if not (ROOT / "resources/raw/inters-templates-unpinned/instruct_templates.py").is_file():
        with pytest.raises(ConfigError, match="put it into resources/raw/inters-templates-unpinned/ as instruct_templ"):
            plan(ROOT, {"scale": "demo", "inters": {"templates": "released"}})
    monkeypatch.setattr("searchtune.plan.check_released", lambda *_: None)
    released = plan(ROOT, {"scale": "demo", "inters": {"templates": "released"}})["plan"]["artefacts"]
    assert set(released) - set(plan(ROOT, {"scale": "demo"})["plan"]["artefacts"]) == {"inters-templates-unpinned"}


def test_the_stage_renders_with_released_wordings(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    for name in ("model", "released"):
        (tmp_path / name).mkdir()
    tokenizer.save(str(tmp_path / "model/tokenizer.json"))
    shutil.copy(FIXTURE, tmp_path / "released/instruct_templates.py")
    import yaml

    (tmp_path / "table.yaml").write_text(yaml.safe_dump(table()))
    for split in ("train", "dev", "test"):
        rows = [
            {"id": f"{split}{name}{n}", "task": "query_description", "dataset": name, "target": "Find ants."}
            | {"fields": {"title": f"ants {n}"}, "labels": [], "meta": {}, "article": f"{split}{n}", "references": []}
            for name in ("gov2", "fire")
            for n in range(60)
        ]
        write_jsonl(tmp_path / f"examples/{split}.jsonl", rows)
    inputs = {"examples": tmp_path / "examples", "tokenizer": tmp_path / "model"}
    inputs |= {"released": tmp_path / "released", "released_table": tmp_path / "table.yaml"}
    inputs["templates"] = [ROOT / "workflow/prompts/inters/query_description.yaml"]
    outputs = {name: tmp_path / "out" / f"{name}.jsonl" for name in ("train", "dev", "statistics")}
    params = {"form": "plain", "seed": 13, "test_seed": 42, "cap": 100, "weights": {}, "uses": 1, "mixed_uses": 1}
    params |= {"total_tokens": 10_000, "max_tokens": 90, "few_shot_share": 0.0, "max_shots": 1, "n_shots": 1}
    params |= {"max_prompt_tokens": 400, "max_new_tokens": {}, "n_templates": None, "with_description": True}
    job = Job(
        "inters.render", inputs, outputs | {"prompts": tmp_path / "out/p"}, params | {"bare": False, "leave_out": []}
    )
    run(job)
    train = read_jsonl(outputs["train"])
    gov2 = {row["template"] for row in train if row["dataset"] == "gov2"}
    assert "gov2/reversed_gov2_10" in gov2 and all(
        name.split("/")[1].removeprefix("reversed_").startswith("gov2_") for name in gov2
    )
    assert {row["template"].split("/")[0] for row in train if row["dataset"] == "fire"} == {"query_description"}
    few = read_jsonl(tmp_path / "out/p/few_shot.jsonl")
    assert all("Result: Find ants.\n\n" in row["prompt"] for row in few if row["dataset"] == "gov2")
