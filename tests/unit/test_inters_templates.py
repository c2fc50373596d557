"""The project's own INTERS templates: counts, wordings, labels; braces in data; template settings of the mixture."""

import re
from dataclasses import replace

import pytest
from helpers import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from searchtune.config.inters import Inters
from searchtune.errors import ConfigError, DataError
from searchtune.prompts.lint import FORMS, distinct, lint_task, named
from searchtune.prompts.templates import Template, TemplateFile, TemplateSet, load_templates
from searchtune.tasks.inventory import TASKS
from searchtune.tasks.prompting import (
    TemplateBook,
    bare_templates,
    completion,
    compose,
    demonstration,
    first_templates,
    forward_templates,
)
from searchtune.tasks.render import Renderer

FOLDER = ROOT / "workflow/prompts/inters"
FILES = {path.stem: load_templates(path) for path in sorted(FOLDER.glob("*.yaml"))}
RANKING = (
    *("passage_reranking", "argument_retrieval", "biomedical_retrieval", "question_answering"),
    *("duplicate_question_retrieval", "entity_retrieval", "citation_prediction", "fact_checking"),
)
OTHERS = (
    *("query_description", "query_expansion", "query_reformulation", "query_intent_classification"),
    *("query_clarification", "query_matching", "query_subtopic_generation", "query_suggestion"),
    *("fact_verification", "summarization", "reading_comprehension", "conversational_qa", "query_generation"),
)
EVERY = [(task, item, template) for task, f in FILES.items() for item in f.values() for template in item.templates]


def row_of(item, **values):
    fields = {name: values.get(name, f"<{name}>") for name in item.fields if name != "target"}
    return {"id": "x", "task": "t", "dataset": "d", "fields": fields, "target": values.get("target", "<target>")}


def test_there_are_21_tasks_and_every_task_of_the_inventory_has_its_file():
    assert set(FILES) == {*RANKING, *OTHERS} and len(FILES) == 21
    assert set(TASKS) <= set(FILES)
    ranking = {name for name, task in TASKS.items() if task.kind == "ranking"}
    assert ranking <= set(RANKING) and not ranking & set(OTHERS)


@pytest.mark.parametrize("task", FILES)
def test_a_tasks_file_is_what_it_must_be(task):
    assert lint_task(task, FILES[task], ranking=task in RANKING) == []
    assert "{target}" in {template.completion for item in FILES[task].values() for template in item.templates}


@pytest.mark.parametrize("task", RANKING)
def test_ranking_sets_have_the_fields_of_their_form(task):
    assert FILES[task][task].required == ("query", "passage") and FILES[task][task].labels == ("yes", "no")
    for form, fields in FORMS.items():
        assert FILES[task][f"{task}.{form}"].required == fields
    assert FILES[task][f"{task}.pairwise"].labels == ("1", "2") and not FILES[task][f"{task}.listwise"].labels


CONTRACT = {
    "query_description/gov2": "title",
    "query_expansion/query2doc": "title",
    "query_reformulation/disfl_qa": "query",
    **{f"query_reformulation/{name}": "query history" for name in ("qrecc", "canard", "gecor", "trec_cast")},
    "query_reformulation/codec": "query domain guidelines",
    "query_intent_classification/trec_web": "query description",
    "query_intent_classification/trec_web_subtopics": "query subtopic",
    "query_intent_classification/orcas_i": "query",
    "query_intent_classification/mantis": "query context",
    "query_clarification/clariq_fkw": "query description",
    "query_clarification/raocq": "query description",
    "query_clarification/mimics": "query",
    "query_clarification/mimics_duo": "query",
    "query_matching/msrp": "first second",
    "query_subtopic_generation/trec_web": "query description",
    "query_suggestion/aol": "history",
    "fact_verification/vitaminc": "claim evidence",
    "fact_verification/fever": "claim evidence",
    "fact_verification/scifact": "claim evidence",
    "fact_verification/climate_fever": "claim evidence",
    "summarization/xsum": "article",
    "summarization/multi_news": "article",
    "reading_comprehension/squad": "passage question",
    "reading_comprehension/boolq": "passage question",
    "reading_comprehension/triviaqa_closed": "question",
    "reading_comprehension/webglm_qa": "passage question",
    "conversational_qa/quac": "passage history question",
    "query_generation/squad": "passage",
    "query_generation/gov2": "passage",
    **{f"{task}/any": "query passage" for task in RANKING},
}


@pytest.mark.parametrize("pair", CONTRACT)
def test_every_template_can_be_filled_from_the_fields_that_its_data_set_has(pair):
    task, dataset = pair.split("/")
    item = TemplateBook(FILES).set_of({"task": task, "dataset": dataset})
    fields = {name: f"<{name}>" for name in CONTRACT[pair].split()}
    example = {"fields": fields, "target": "<target>"}
    for template in item.templates:
        text = compose(item, template, example, [example])
        assert not re.search(r"\{[a-z]", text) and completion(template, example)
    assert set(item.fields) == {*fields, "target"}


def test_labels_of_the_sets_are_those_of_the_data():
    labels = {f"{task}/{name}": item.labels for task, f in FILES.items() for name, item in f.items() if item.labels}
    for form in [name for name in labels if name.split("/")[0] in RANKING]:
        del labels[form]
    assert labels == {
        "query_intent_classification/trec_web": ("faceted", "ambiguous"),
        "query_intent_classification/trec_web_subtopics": ("informational", "navigational"),
        "query_intent_classification/orcas_i": (
            *("factual", "instrumental", "navigational", "transactional", "abstain"),
        ),
        "query_intent_classification/mantis": (
            *("original question", "further details", "follow up question", "information request"),
            *("potential answer", "positive feedback", "negative feedback", "greetings/gratitude", "other"),
        ),
        "query_matching/query_matching": ("yes", "no"),
        "fact_verification/fact_verification": ("supported", "refuted", "not enough information"),
        "fact_verification/fever": ("supports", "refutes", "not enough info"),
        "fact_verification/scifact": ("support", "refute"),
        "fact_verification/climate_fever": ("supports", "refutes", "not enough info", "disputed"),
        "reading_comprehension/boolq": ("true", "false"),
    }


def test_aliases_count_once():
    assert set(distinct(FILES["query_generation"].sets)) == {"query_generation", "narrative"}


def twelve(name="t", prompt="Say {passage} {n}", **options):
    templates = tuple(Template(f"w{n}", prompt.replace("{n}", str(n)), "{target}", " A: ") for n in range(12))
    return TemplateSet(name, ("passage", "target"), templates, "One task.", ("passage",), **options)


def lint(item, task="t", ranking=False, **more):
    return lint_task(task, TemplateFile("f", {item.name: item} | more), ranking)


def changed(item, **options):
    return replace(item, templates=(replace(item.templates[0], **options), *item.templates[1:]))


@pytest.mark.parametrize(
    ("item", "fault"),
    [
        (replace(twelve(), templates=twelve().templates[1:]), "t: 11 templates, at least 12 expected"),
        (replace(twelve(), description="One. Two. Three."), "t: the description has 3 sentences, one or two expected"),
        (replace(twelve(), description=""), "t: the description has 0 sentences, one or two expected"),
        (changed(twelve(), cue=""), "t/w0: no cue for demonstrations"),
        (changed(twelve(), prompt="{passage} " + "long " * 41), "t/w0: 41 words, at most 40"),
        (changed(twelve(), completion="{passage}"), "t/w0: the completion is '{passage}', expected '{target}'"),
        (changed(twelve(), prompt="{passage} {target}"), "t/w0: the prompt shows its own answer"),
        (changed(twelve(), prompt="SAY  {passage} 1"), "t: prompt 'say {passage} 1' appears 2 times"),
        (
            changed(twelve(), id="reversed_w0", prompt="{target}", completion="{passage}"),
            "t/reversed_w0: t has no reversed templates",
        ),
        (
            changed(twelve(prompt="{passage} {n}: up or down", labels=("up", "down")), prompt="{passage} up"),
            "t/w0: names 'up' but not 'down'",
        ),
        (twelve(labels=("up", "down")), "t: no prompt names the labels"),
        (
            replace(twelve(prompt="{passage} {n} {pasage}"), fields=("passage", "pasage", "target")),
            "t: unknown field 'pasage'",
        ),
    ],
)
def test_each_fault_is_found(item, fault):
    assert lint(twelve()) == []
    assert fault in lint(item)


def test_faults_between_sets_and_missing_forms_are_found():
    other = replace(
        twelve("d", labels=("left", "right")), templates=twelve(prompt="{n} {passage} left, right").templates
    )
    assert lint(twelve(prompt="{passage} {n}: up, down", labels=("up", "down")), d=other) == []
    wrong = changed(other, prompt="{passage} left, right, down")
    assert "d/w0: names 'down', a label of another set" in lint(
        twelve(prompt="{passage} {n}: up, down", labels=("up", "down")), d=wrong
    )
    copied = replace(twelve("d"), templates=(*twelve().templates[:4], Template("x", "{passage}", "{target}", " ")))
    assert "t: d/w0 repeats the wording of t/w0" in lint(twelve(), d=copied)
    faults = lint(twelve(), ranking=True)
    assert "t.pairwise: 0 templates, at least 3 expected" in faults
    assert "t.listwise: 0 templates, at least 3 expected" in faults
    assert "query_expansion: 0 reversed templates, 2 expected" in lint(twelve("query_expansion"), "query_expansion")
    assert "query_clarification: 4 templates in all, at least 12 expected" in lint(
        replace(twelve("mimics"), templates=twelve().templates[:4]), "query_clarification"
    )


def test_labels_are_whole_words():
    assert named(("support", "refute"), "Supports or REFUTE?") == ["refute"]
    assert named(("no", "not enough info"), "know nothing; not enough info") == ["not enough info"]


REVERSIBLE = """
sets:
  s:
    fields: [title, target]
    required: [title]
    templates:
      - {id: a, prompt: "{title}?", completion: "{target}"}
      - {id: reversed_b, prompt: "%s", completion: "%s"}
"""


def test_reversed_templates_are_checked_on_loading(tmp_path):
    def load(prompt, answer):
        (tmp_path / "t.yaml").write_text(REVERSIBLE % (prompt, answer))
        return load_templates(tmp_path / "t.yaml")

    assert load("{target}!", "{title}")["s"]["reversed_b"].is_reversed
    with pytest.raises(DataError, match=r"s/reversed_b: a reversed prompt must show \{target\}"):
        load("{title}!", "{title}")
    with pytest.raises(DataError, match=r"s/reversed_b: the reversed completion lacks the required placeholder"):
        load("{target}!", "{target}")


def test_golden_reversed_prompt_shows_the_target_and_asks_for_the_input():
    item = FILES["query_expansion"]["query_expansion"]
    one, two = (
        row_of(item, title="iris", target="What is an iris?"),
        row_of(item, title="ant", target="What do ants eat?"),
    )
    template = item["reversed_keywords"]
    assert compose(item, template, one, [two], with_description=False) == (
        "Request: What do ants eat?\nReduce it to a short keyword query.\nKeywords: ant\n\n"
        "Request: What is an iris?\nReduce it to a short keyword query.\nKeywords:"
    )
    assert completion(template, one) == "iris"
    with pytest.raises(DataError, match=r"placeholder \{target\} has no value"):
        compose(item, Template("forward", "{title} {target}", "{target}"), one)


TEXT = st.text(alphabet=st.sampled_from('{}abtarget_passage query"\\\n%$0é'), max_size=40)


@settings(max_examples=400, deadline=None)
@given(choice=st.integers(0, len(EVERY) - 1), values=st.lists(TEXT, min_size=6, max_size=6), target=TEXT)
def test_braces_in_data_never_break_a_prompt_of_any_file(choice, values, target):
    _, item, template = EVERY[choice]
    names = [name for name in item.fields if name != "target"]
    data = dict(zip(names, values, strict=False))
    example = row_of(item, **data, target=target)

    def filled(text):
        pieces = re.split(r"\{([a-z][a-z0-9_]*)\}", text)
        return "".join((data | {"target": target})[piece] if n % 2 else piece for n, piece in enumerate(pieces))

    assert compose(item, template, example, with_description=False) == filled(template.prompt)
    assert completion(template, example) == filled(template.completion)
    assert demonstration(template, example, "x") == filled(template.prompt + template.cue + template.completion)


def test_first_and_forward_templates():
    item = FILES["query_expansion"]["query_expansion"]
    assert [t.id for t in first_templates(item, 3).templates] == ["sentence", "longer", "wants"]
    assert first_templates(item, None) == item and len(first_templates(item, 99).templates) == 12
    assert [t.id for t in item.templates if t not in forward_templates(item).templates] == [
        "reversed_keywords",
        "reversed_box",
    ]
    with pytest.raises(ConfigError, match="'query_expansion' has reversed templates only"):
        forward_templates(replace(item, templates=item.templates[-2:]))


def test_bare_prompts_are_the_field_values_one_a_line():
    item = bare_templates(FILES["fact_verification"]["fever"])
    one = row_of(item, claim="It {rained}.", evidence="Rain fell.", target="supports")
    two = row_of(item, claim="It snowed.", evidence="Snow did not fall.", target="refutes")
    (template,) = item.templates
    assert compose(item, template, one) == "It {rained}.\nRain fell."
    assert compose(item, template, one, [two]) == "It snowed.\nSnow did not fall.\nrefutes\n\nIt {rained}.\nRain fell."
    assert completion(template, one) == "supports"


def renderer(**params):
    given = {"n_templates": None, "bare": False, "seed": 13, "test_seed": 42, "few_shot_share": 0.0, "max_shots": 1}
    given |= {"with_description": True, "max_tokens": 500, "max_prompt_tokens": 500, "form": "plain"} | params
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return Renderer(TemplateBook(FILES), tokenizer, given, {})


def rows(number):
    fields = {"title": "ants"}
    return [
        {"id": str(n), "task": "query_expansion", "dataset": "gov2", "target": "What do ants eat?", "fields": fields}
        | {"meta": {}, "labels": [], "article": "a"}
        for n in range(number)
    ]


def test_the_mixture_can_be_limited_to_the_first_templates_while_tests_keep_all_forward_ones():
    part = renderer(n_templates=2)
    used = {found["template"] for use in range(2) for found in part.instructions(rows(30), use)}
    assert used == {"query_expansion/sentence", "query_expansion/longer"}
    whole = renderer()
    assert len({found["template"] for found in whole.instructions(rows(300), 0)}) == 12
    tests = {part.test_prompt(row, 0)[0] for row in rows(300)}
    assert tests == {whole.test_prompt(row, 0)[0] for row in rows(300)} and len(tests) == 10
    assert not any("What do ants eat" in prompt for prompt in tests)


def test_bare_and_description_hold_for_tuning_and_test():
    assert renderer(bare=True).instructions(rows(1), 0)[0] | {"id": ""} == {
        "id": "",
        "prompt": "ants",
        "completion": "What do ants eat?",
        "task": "query_expansion",
        "dataset": "gov2",
        "template": "query_expansion/bare",
        "shots": 0,
        "n_tokens": 5,
    }
    assert renderer(bare=True).test_prompt(rows(1)[0], 0) == ("ants", 0)
    description = FILES["query_expansion"]["query_expansion"].description
    for value in (True, False):
        part = renderer(with_description=value)
        prompts = [part.instructions(rows(1), 0)[0]["prompt"], part.test_prompt(rows(1)[0], 0)[0]]
        assert [prompt.startswith(description) for prompt in prompts] == [value, value]


def test_settings_of_the_mixture_are_checked():
    assert Inters().mixture.n_templates is None and Inters().templates == "own"
    for wrong in ({"mixture": {"n_templates": 0}}, {"templates": "relesed"}):
        with pytest.raises(ValidationError):
            Inters(**wrong)
    with pytest.raises(ValidationError, match="bare prompts use no templates"):
        Inters(mixture={"bare": True, "n_templates": 3})
