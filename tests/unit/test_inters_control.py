"""The control of INTERS' part: general instructions in place of search tasks, apart from everything that is counted."""

import json

import pytest
from helpers import ROOT
from pydantic import ValidationError

from searchtune.config.inters import Inters
from searchtune.config.inters_pairs import CONTROL_SOURCES, known_pairs
from searchtune.errors import ConfigError, DataError
from searchtune.files import read_jsonl, read_tsv, write_jsonl
from searchtune.plan import plan
from searchtune.prompts.templates import load_templates
from searchtune.reporting.catalogue import TABLES
from searchtune.stage import Job
from searchtune.tasks import arguments, data_table, examples, render
from searchtune.tasks.example import unique
from searchtune.tasks.inventory import CONTROL, CONTROLS, TASKS
from searchtune.tasks.pairs import CONTROL_NORMALISERS
from searchtune.tasks.prompting import TemplateBook, completion, compose
from searchtune.tasks.variants import check_ablations, chosen_ablations, control_pairs

MINI = ROOT / "workflow/mini/data"
FORM = ROOT / "workflow/prompts/inters_control/general_instructions.yaml"
TASK = "general_instructions"
LARGE, SMALL = "ni_038", "ni_039"
PAIR = f"{TASK}/{LARGE}"


# --- the loader, on files in the publisher's format ---------------------------------------------------------


def task_file(path, **changes):
    """Write a task.json as the package has it, with the given keys changed (None: taken out)."""
    task = {
        "name": "subtask038_qasc_combined_fact",
        "keywords": ["Combining", "facts"],
        "metrics": ["rouge", "bleu"],
        "preferred_score": "rougeLsum",
        "description": "Definition: Combine the facts",
        "task_prefix": "Definition: Combine two\n facts into one. Prompt: Combine the facts.",
        "examples": [
            {"input": "Fact 1: Moss is green. \nFact 2: Green things {live}.", "target": ["Moss lives.", "Moss lives"]},
            {"input": "Fact 1: A. \nFact 2: B.", "target": ["A and B.", "", "A and B."]},
        ],
    } | changes
    kept = {key: value for key, value in task.items() if value is not None}
    path.write_text(json.dumps(kept, indent=4), encoding="utf-8")
    return path


def load(path, dataset=LARGE, max_words=60):
    return list(unique(CONTROL_NORMALISERS[TASK][dataset]([path], dataset, max_words), f"{TASK}/{dataset}"))


def test_definition_and_input_lead_to_the_first_output(tmp_path):
    first, second = load(task_file(tmp_path / "task.json"))
    assert first.fields == {
        "definition": "Definition: Combine two facts into one. Prompt: Combine the facts.",
        "input": "Fact 1: Moss is green. Fact 2: Green things {live}.",
    }
    assert (first.id, first.target, first.references) == (f"{PAIR}/1", "Moss lives.", ("Moss lives",))
    # a blank output and one that stands twice are no further right answers
    assert (second.target, second.references) == ("A and B.", ())
    assert first.article != second.article
    assert [e.id for e in load(tmp_path / "task.json", max_words=8)] == [f"{PAIR}/2"], "long inputs are left out"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "subtask001_quoref_question_generation"}, "field 'name' is 'subtask001_.*', expected subtask038_"),
        ({"task_prefix": None, "task_prefx": "x"}, "no field 'task_prefix'; did you mean 'task_prefx'"),
        ({"examples": None}, "no field 'examples'"),
        ({"examples": []}, "field 'examples' is not a list of at least 1 items"),
        ({"examples": [{"inputs": "a", "target": ["b"]}]}, "examples, row 1: no field 'input'; did you mean 'inputs'"),
        ({"examples": [{"input": " ", "target": ["b"]}]}, "row 1: field 'input' is empty"),
        ({"examples": [{"input": "a", "output": ["b"]}]}, "row 1: no field 'target'"),
        ({"examples": [{"input": "a", "target": []}]}, "row 1: field 'target' is not a list of at least 1 items"),
        ({"examples": [{"input": "a", "target": "b"}]}, "row 1: field 'target' is not a list"),
        (
            {"examples": [{"input": "a", "target": ["b"]}, {"input": "c", "target": [" "]}]},
            "row 2: .*'target' is empty",
        ),
    ],
)
def test_wrong_files_are_named(tmp_path, changes, message):
    with pytest.raises(DataError, match=message):
        load(task_file(tmp_path / "task.json", **changes))


def test_a_list_is_no_task_file(tmp_path):
    (tmp_path / "task.json").write_text("[]")
    with pytest.raises(DataError, match="expected a JSON object, found list"):
        load(tmp_path / "task.json")


@pytest.mark.parametrize("dataset", [LARGE, SMALL])
def test_mini_files_are_read_whole(dataset):
    found = load(MINI / f"{dataset}.json", dataset)
    assert len(found) == len(json.loads((MINI / f"{dataset}.json").read_text())["examples"])


# --- its form -----------------------------------------------------------------------------------------------


def row(number=0, **values):
    base = {"id": f"{PAIR}/{number}", "task": TASK, "dataset": LARGE, "labels": [], "meta": {}}
    fields = {"definition": "Definition: Join {facts}.", "input": f"Fact {number}"}
    return base | {"article": f"a{number}", "references": [], "fields": fields, "target": f"Joined {number}."} | values


def test_golden_prompts_are_the_publishers_form():
    templates = TemplateBook({TASK: load_templates(FORM)}).set_of(row())
    (form,) = templates.templates
    assert compose(templates, form, row()) == "Definition: Join {facts}.\n\nInput: Fact 0\nOutput:"
    # the definition stands once, before the demonstrations
    assert compose(templates, form, row(), [row(1)]) == (
        "Definition: Join {facts}.\n\nInput: Fact 1\nOutput: Joined 1.\n\nInput: Fact 0\nOutput:"
    )
    assert completion(form, row()) == "Joined 0."


# --- apart from the tasks -----------------------------------------------------------------------------------


def test_a_control_is_none_of_the_21_tasks():
    assert len(TASKS) == 21 and not set(CONTROLS) & set(TASKS) and set(CONTROL_SOURCES) == set(CONTROLS)
    assert not [pair for pair in known_pairs({}) if pair.startswith(TASK)]
    assert {t: set(sets) for t, sets in CONTROL_NORMALISERS.items()} == {t: set(s) for t, s in CONTROL_SOURCES.items()}


def test_what_is_close_to_search_is_in_no_control():
    """Question generation, answering and answerability stand in the same package, and must stay out."""
    near = {
        f"ni_{n}" for n in ("001", "002", "023", "026", "030", "036", "040", "044", "046", "048", "050", "058", "060")
    }
    assert not near & set(CONTROL_SOURCES[TASK])


def test_the_caption_names_what_it_is_trained_on():
    caption = TABLES["inters", "ablation_control"].caption
    assert all(f"({name.removeprefix('ni_')})" in caption for name in CONTROL_SOURCES[TASK])


SOURCES = {
    "gov2": {"raw": ["pack/t.txt"]},
    LARGE: {"raw": ["pack/038.json"], "canary": ["bigbench"]},
    SMALL: {"raw": ["pack/039.json"]},
}
ROWS = {
    "no_description": {"with_description": False},
    "without_qu": {"kind": "task_variety", "leave_out": ["QU"]},
    "control": {"kind": "control", "train_on": [TASK]},
    "one_set": {"kind": "control", "train_on": [f"{TASK}/{SMALL}"]},
}


def config(run=("control",), canary_data="train_locally", **inters):
    pairs = {
        "query_expansion/gov2": {"n_train": 4, "n_test": 2},
        "query_generation/squad": {"n_train": 4, "n_test": 2},
        PAIR: {"n_train": 5},
        f"{TASK}/{SMALL}": {"n_train": 5},
    }
    given = {"pairs": pairs, "sources": SOURCES, "ablations": ROWS, "run_ablations": list(run)} | inters
    return {
        "inters": Inters(**given).model_dump(mode="json"),
        "seeds": [13],
        "splits": {"seed": 0, "train": 0.7, "dev": 0.1},
        "canary_data": canary_data,
        "collections": {"squad": {"raw": []}},
        "models": {"smollm2-135m-instruct": {"form": "chatml"}},
    }


def test_a_control_trains_on_its_own_data_and_nothing_else_does():
    found = config(run=["all"])
    left = {name: set(arguments.render_args(found, name)["leave_out"]) for name in arguments.mixtures(found)}
    own, search = {PAIR, f"{TASK}/{SMALL}"}, {"query_expansion/gov2", "query_generation/squad"}
    assert left["full"] == left["no_description"] == own
    assert left["without_qu"] == own | {"query_expansion/gov2"}
    assert left["control"] == search and left["one_set"] == search | {PAIR}


def test_its_data_are_read_where_it_runs_alone():
    found = config(run=["no_description"])
    assert set(arguments.used_pairs(found)) == {"query_expansion/gov2", "query_generation/squad"}
    assert arguments.render_args(found, "full")["leave_out"] == []
    assert set(arguments.examples_args(found)["sources"]) == {"gov2"}
    assert not [item for item in data_table.data_args(found) if item["pair"].startswith(TASK)]
    assert PAIR in arguments.used_pairs(config())


def test_its_recipe_differs_in_the_data_alone():
    found = config()
    full, mine = (arguments.render_args(found, name) for name in ("full", "control"))
    assert {key for key in full if full[key] != mine[key]} == {"uses", "leave_out"}
    spec = arguments.variants(found)["control"]
    assert arguments.full_mixture(found, "control") == {"full": "<results>/inters/mixtures/full/train.jsonl"}
    assert arguments.paced_by(spec) == {"paced_by": "<results>/inters/mixtures/full/tokens"}
    assert arguments.prompt_sets(found, spec) == ["zero_shot"] and arguments.own_prompts(found, spec) == {}
    assert {k for k, v in arguments.train_args(found, spec).items() if v != arguments.train_args(
        found, arguments.variants(found)["full"])[k]} == set()  # fmt: skip
    # its description is its instruction: it stays where the search tasks go without
    bare = config(mixture={"with_description": False})
    assert [arguments.render_args(bare, name)["with_description"] for name in ("full", "control")] == [False, True]


def test_template_files_of_the_other_mixtures_stay_as_they_are():
    files = {name: arguments.template_files(config(), name) for name in ("full", "control")}
    assert files["full"] == [f"workflow/prompts/inters/{t}.yaml" for t in ("query_expansion", "query_generation")]
    assert files["control"] == [*files["full"], FORM.relative_to(ROOT).as_posix()]


def test_evaluate_only_keeps_marked_data_out_of_a_control():
    found = config(run=["all"], canary_data="evaluate_only")
    assert control_pairs(found, found["inters"]["ablations"]["control"]) == [f"{TASK}/{SMALL}"]
    assert PAIR not in arguments.used_pairs(found)
    marked = {"sources": SOURCES | {SMALL: SOURCES[LARGE]}, "canary_data": "evaluate_only"}
    assert "control" not in chosen_ablations(config(run=["all"], **marked)), "all takes what may run"
    check_ablations(config(run=["all"], **marked))
    with pytest.raises(ConfigError, match="'general_instructions', whose data carry a canary, and canary_data is"):
        check_ablations(config(run=["control"], **marked))


def test_a_control_without_data_is_refused_where_it_is_named():
    pairs = {"query_expansion/gov2": {"n_train": 4}}
    assert set(chosen_ablations(config(run=["all"], pairs=pairs))) == {"no_description", "without_qu"}
    with pytest.raises(
        ConfigError, match="train_on names 'general_instructions', of which nothing trains at this scale"
    ):
        check_ablations(config(pairs=pairs))
    with pytest.raises(ConfigError, match="leaves out all of the training data"):
        check_ablations(config(run=["without_qu"], pairs=pairs | {PAIR: {"n_train": 5}}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pairs": {f"{TASK}/ni_38": {"n_train": 5}}}, "has no data set 'ni_38'; did you mean 'ni_038'"),
        ({"pairs": {f"{TASK}/ni_001": {"n_train": 5}}}, "has no data set 'ni_001'"),
        ({"pairs": {PAIR: {"n_train": 5, "n_test": 2}}}, "a control's data only train"),
        ({"pairs": {PAIR: {"n_train": 5, "n_dev": 2}}}, "a control's data only train"),
        ({"sources": {}, "pairs": {PAIR: {}}}, "inters.sources.ni_038 names no raw file"),
        ({"ablations": {"x": {"kind": "control"}}}, "train_on and kind: control go together"),
        ({"ablations": {"x": {"train_on": [TASK]}}}, "train_on and kind: control go together"),
        (
            {"ablations": {"x": {"kind": "control", "train_on": [TASK], "n_templates": 1}}},
            "a control changes the data alone",
        ),
        (
            {"ablations": {"x": {"kind": "control", "train_on": ["general_instruction"]}}},
            "no control task or pair; did you mean 'general_instructions'",
        ),
        ({"ablations": {"x": {"kind": "control", "train_on": ["summarization"]}}}, "no control task or pair"),
        ({"ablations": {"x": {"kind": "task_variety", "leave_out": [TASK]}}}, "no category, task or task/dataset pair"),
    ],
)
def test_wrong_controls_are_refused(change, message):
    with pytest.raises(ValidationError, match=message):
        config(**({"run": []} | change))


def test_the_data_table_counts_a_control_apart():
    known = data_table.data_args(config())
    assert [item["pair"] for item in known][-2:] == [PAIR, f"{TASK}/{SMALL}"]
    counts = [{"task": TASK, "dataset": LARGE, "split": "train", "examples": "5"}]
    rows = data_table.data_rows(known[-2:], counts, [])
    assert {(r["category"], r["task"], r["status"]) for r in rows} == {
        (CONTROL, "general instructions", "used by the control alone")
    }
    assert [(r["train"], r["test"], r["tokens"]) for r in rows] == [(5, 0, 0), (0, 0, 0)]


@pytest.mark.parametrize(("scale", "runs"), [("ci", True), ("demo", False), ("laptop", True), ("paper", True)])
def test_scales_that_run_it(scale, runs):
    found = plan(ROOT, {"scale": scale})
    assert ("general_instructions" in arguments.variants(found)) == runs
    assert any(name.startswith(TASK) for name in arguments.used_pairs(found)) == runs
    strict = plan(ROOT, {"scale": "laptop", "canary_data": "evaluate_only"})
    assert "general_instructions" not in arguments.variants(strict)


# --- from examples to a mixture -----------------------------------------------------------------------------


@pytest.fixture
def sampled(tmp_path):
    """Examples of one search task and two mini subtasks, made by inters.examples."""
    pack = tmp_path / "raw/mini"
    pack.mkdir(parents=True)
    for name in ("ni_038.json", "ni_039.json", "topics.terabyte04.701-730.txt"):
        (pack / name).write_bytes((MINI / name).read_bytes())
    sizes = {"n_train": 8, "n_dev": 0, "n_test": 0, "max_words": 80, "depth": 10, "upto": True}
    pairs = {"query_expansion/gov2": sizes | {"n_dev": 2, "n_test": 4}, PAIR: sizes, f"{TASK}/{SMALL}": sizes}
    params = {
        "pairs": pairs,
        "sources": {
            "gov2": {"raw": ["mini/topics.terabyte04.701-730.txt"], "canary": []},
            LARGE: {"raw": ["mini/ni_038.json"], "canary": ["bigbench"]},
            SMALL: {"raw": ["mini/ni_039.json"], "canary": []},
        },
        "shares": {"train": 0.5, "dev": 0.2, "test": 0.3},
        **{"seed": 0, "split_seed": 0, "published_splits": False, "canary_data": "train_locally"},
    }
    job = Job("inters.examples", {"raw": [pack]}, {"examples": tmp_path / "examples"}, params)
    return job, examples.run(job)


def test_examples_carry_the_canary_and_only_train(sampled):
    job, counts = sampled
    rows = {s: read_jsonl(job.outputs["examples"] / f"{s}.jsonl") for s in ("train", "dev", "test")}
    assert {r["dataset"] for r in rows["train"]} == {"gov2", LARGE, SMALL}
    assert {r["task"] for r in rows["dev"] + rows["test"]} == {"query_expansion"}
    assert {r["category"] for r in rows["train"]} == {"QU", CONTROL} and counts["canary"] == ["bigbench"]
    table = read_tsv(job.outputs["examples"] / "statistics.tsv")
    assert {r["canary"] for r in table if r["dataset"] == LARGE} == {"bigbench"}
    assert {r["category"] for r in table if r["task"] == TASK} == {CONTROL}
    job.params["canary_data"] = "evaluate_only"
    examples.run(job)
    assert {r["dataset"] for r in read_jsonl(job.outputs["examples"] / "train.jsonl")} == {"gov2", SMALL}


def rendered(tmp_path, folder, name, mixture="full", full=None, run=("control",)):
    """Render a mixture of the examples in ``folder`` into a folder of that name."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    (tmp_path / "model").mkdir(exist_ok=True)
    tokenizer.save(str(tmp_path / "model/tokenizer.json"))
    found = config(run=run, mixture={"total_tokens": 2000, "uses": 2, "few_shot_share": 0.3})
    out = tmp_path / name
    outputs = {k: out / f"{k}.jsonl" for k in ("train", "dev")} | {"prompts": out / "p", "statistics": out / "s.tsv"}
    templates = [ROOT / path for path in arguments.template_files(found, mixture)]
    inputs = {"examples": folder, "tokenizer": tmp_path / "model", "templates": templates}
    inputs |= {"full": full} if full else {}
    render.run(Job("inters.render", inputs, outputs, arguments.render_args(found, mixture)))
    return out


def test_mixtures_do_not_touch(sampled, tmp_path):
    folder = sampled[0].outputs["examples"]
    # what a run without the control would have: its examples are not even there
    without = tmp_path / "without"
    for split in ("train", "dev", "test"):
        kept = [r for r in read_jsonl(folder / f"{split}.jsonl") if r["task"] != TASK]
        write_jsonl(without / f"{split}.jsonl", kept)
    full, before = rendered(tmp_path, folder, "with"), rendered(tmp_path, without, "before", run=["no_description"])
    for file in ("train.jsonl", "dev.jsonl", "p/zero_shot.jsonl", "p/few_shot.jsonl", "s.tsv"):
        assert (full / file).read_bytes() == (before / file).read_bytes(), f"{file} of the full mixture changed"
    control = rendered(tmp_path, folder, "control", "control", full / "train.jsonl")
    theirs, mine = (read_jsonl(path / "train.jsonl") for path in (full, control))
    assert {r["task"] for r in theirs} == {"query_expansion"} and {r["task"] for r in mine} == {TASK}
    assert {r["dataset"] for r in mine} == {LARGE, SMALL} and {r["shots"] for r in mine} == {0, 1}
    # equal tokens, but for the instruction that would not fit any more
    budget, used = (sum(r["n_tokens"] for r in rows) for rows in (theirs, mine))
    assert budget - max(r["n_tokens"] for r in mine) < used <= budget
    # the same test prompts and held-out instructions
    for file in ("dev.jsonl", "p/zero_shot.jsonl"):
        assert (control / file).read_bytes() == (full / file).read_bytes()
