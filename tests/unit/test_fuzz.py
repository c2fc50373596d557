"""Fuzzing: whatever a file, a model's answer, a template or a configuration holds, only typed errors come out.

Every target is sound first (its untouched input passes), so that the fuzzing is known to reach the code behind the
first check. Parsers of answers may also raise ValueError, which their caller counts (searchtune.llm.calls).
"""

import contextlib
import gzip
import json
import tempfile
from pathlib import Path

import pytest
from fuzzing import INPUTS, TEXT, VALUES, dealt, wounded
from helpers import ROOT
from hypothesis import given, is_hypothesis_test
from hypothesis import strategies as st

from searchtune.collections import topics, trec
from searchtune.collections.beir import Collection
from searchtune.collections.gpqa import read_gpqa
from searchtune.collections.readers import READERS, reader_of
from searchtune.collections.streams import survey
from searchtune.config import load
from searchtune.config.schema import Config
from searchtune.errors import DataError, SearchtuneError
from searchtune.evaluation.rag_scoring import boxed_letter
from searchtune.files import read_json, read_jsonl, read_tsv
from searchtune.prompts import templates
from searchtune.prompts.chat import unwrap, wrap
from searchtune.registry import table, unpack
from searchtune.reranking import verdicts, windows
from searchtune.retrieval.imported import read_any_run
from searchtune.synthesis import cleaning, limrank_schemas
from searchtune.synthesis.limrank_answer_judge import parse_verdict
from searchtune.synthesis.limrank_filter import Bounds, text_fault
from searchtune.synthesis.limrank_seeds import read_seed_file, seed_fault
from searchtune.synthesis.personas import load_personas
from searchtune.tasks import answers
from searchtune.tasks.released_source import read_released

QRELS = b"query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td2\t0\n"
SQUAD = json.dumps({"data": [{"title": "Mill", "paragraphs": [{"context": "A mill grinds grain.", "qas": [
    {"id": "1", "question": "What grinds?", "answers": [{"text": "A mill"}]}]}]}]}).encode()  # fmt: skip
NQ = json.dumps({"examples": [{"input": "Question: who?\nContext: A mill grinds.", "target": "mill",
                               "target_scores": {"mill": 1, "inn": 0}}]}).encode()  # fmt: skip
CORPUS = b'{"_id": "d1", "title": "T", "text": "one"}\n{"_id": "d2", "text": "two", "metadata": {"article": "a"}}\n'
QUERIES = (
    b'{"_id": "q1", "text": "one?", "metadata": {"split": "test", "answers": ["x"]}}\n{"_id": "q2", "text": "two?"}\n'
)
SGML = (
    b"<top>\n<num> Number: 301\n<title> Organized Crime\n<desc> Description:\nWhich?\n<narr> Narrative:\nAll.\n</top>\n"
)
XML = b"<topics><topic number='1'><query>mill</query><question>which?</question><subtopic type='nav'>x</subtopic></topic></topics>"
TEMPLATES = b"about: x\nsets:\n  ask:\n    fields: [passage, query]\n    templates:\n      - {id: a, prompt: 'Write: {passage}', completion: '{query}'}\n"
PERSONAS = b"personas:\n  - {id: a, text: a gardener, field: gardening, kind: daily}\n"
EXCLUDED, MANIFEST = b"query-id\tcorpus-id\nq1\td2\n", b'{"licence": "CC0-1.0"}'
REGISTRY = (ROOT / "config/models.tsv").read_bytes()
RELEASED = (ROOT / "tests/fixtures/inters/instruct_templates.py.txt").read_bytes()[:6000]

LITSEARCH = {
    "query/a.jsonl": b'{"query": "which mills?", "corpusids": [7, 8]}\n',
    "corpus_clean/a.jsonl": b'{"corpusid": 7, "title": "Mills", "abstract": ""}\n{"corpusid": 8, "title": "B", "abstract": "b"}\n',
}


def mini(prefix):
    """Return the files of one of our own small collections, by their names without the prefix."""
    found = sorted((ROOT / "workflow/mini/data").glob(f"{prefix}_*.jsonl"))
    return {path.name.removeprefix(f"{prefix}_"): path.read_bytes() for path in found}


MINI_BRIGHT = {f"{name.removesuffix('.jsonl')}/crafts.jsonl": data for name, data in mini("bright").items()}
GPQA = {path.name: path.read_bytes() for path in sorted((ROOT / "workflow/mini/gpqa").iterdir())}

# name of a target -> (sound files, function of the folder that they lie in)
TARGETS = {
    "TREC run": ({"x.run": b"q1 Q0 d1 1 2.5 tag\nq1 Q0 d2 2 1.5 tag\n"}, lambda d: trec.read_run(d / "x.run")),
    "raw scores": ({"x.tsv": QRELS}, lambda d: trec.read_scores(d / "x.tsv")),
    "packed run": ({"x.run.gz": gzip.compress(b"q1 Q0 d1 1 2.5 tag\n", mtime=0)}, lambda d: trec.read_run(d / "x.run.gz")),
    "tsv": ({"x.tsv": QRELS}, lambda d: read_tsv(d / "x.tsv")),
    "json": ({"x.json": SQUAD}, lambda d: read_json(d / "x.json")),
    "jsonl": ({"x.jsonl": CORPUS}, lambda d: read_jsonl(d / "x.jsonl")),
    "packed jsonl": ({"x.jsonl.gz": gzip.compress(CORPUS, mtime=0)}, lambda d: read_jsonl(d / "x.jsonl.gz")),
    "collection": ({"corpus.jsonl": CORPUS, "queries.jsonl": QUERIES, "qrels.tsv": QRELS, "excluded.tsv": EXCLUDED,
                    "manifest.json": MANIFEST}, Collection.load),
    "BEIR": ({"corpus.jsonl": CORPUS, "queries.jsonl": QUERIES, "qrels.tsv": QRELS}, lambda d: source("beir", d)),
    "SQuAD": ({"x.json": SQUAD}, lambda d: source("squad", d / "x.json")),
    "NQ": ({"x.json": NQ}, lambda d: source("nq_swapped", d / "x.json")),
    "LoTTE": ({"collection.tsv": b"0\tone\n1\ttwo\n", "qas.forum.jsonl": b'{"qid": 1, "query": "q?", "answer_pids": [0]}\n'},
              lambda d: source("lotte", d / "collection.tsv", d / "qas.forum.jsonl")),
    "DPR": ({"psgs.tsv": b'id\ttext\ttitle\n1\t"A mill, she ""said"""\tMill\n', "q.csv": b"who?\t['A mill', \"b\"]\n"},
            lambda d: source("dpr", d / "psgs.tsv", d / "q.csv")),
    "texts": ({"a.md": b"# One\ntext\n\n## Two\nmore\n", "b.jsonl": b'{"text": "x", "title": "t"}\n', "c.txt": b"plain\n"},
              lambda d: source("texts", d)),
    "bright": (MINI_BRIGHT, lambda d: source("bright", *(d / name for name in MINI_BRIGHT))),
    "followir": (mini("followir"), lambda d: source("followir", d)),
    "litsearch": (LITSEARCH, lambda d: source("litsearch", *(d / name for name in LITSEARCH))),
    "litsearch_graded": (LITSEARCH, lambda d: source("litsearch_graded", *(d / name for name in LITSEARCH))),
    "GPQA": (GPQA, lambda d: read_gpqa([d / name for name in GPQA], "x", 13)),
    "JSON run": ({"x.json": b'{"q 1": {"d1": 2.5, "d2": 1}, "q2": {"d/1": -0.5}}'}, lambda d: read_any_run(d / "x.json")),
    "packed JSON run": ({"x.json.gz": gzip.compress(b'{"q1": {"d1": 2.5}}', mtime=0)}, lambda d: read_any_run(d / "x.json.gz")),
    "SGML topics": ({"x": SGML}, lambda d: topics.read_topics(d / "x")),
    "XML topics": ({"x": XML}, lambda d: topics.read_topics(d / "x")),
    "query lines": ({"x": b"1:mill\n2:1:river\n3\tinn\n"}, lambda d: topics.read_query_lines(d / "x")),
    "questions": ({"x": b"who?\t['a', 'b']\n"}, lambda d: topics.read_questions(d / "x")),
    "JSON questions": ({"x": b'{"question": "who?", "answer": ["a"]}\n'}, lambda d: topics.read_questions(d / "x")),
    "expansions": ({"x": b"1\twho? a mill\n"}, lambda d: topics.read_expansions(d / "x", ["who?"])),
    "seed file": ({"topics.x.txt": SGML}, lambda d: read_seed_file(d / "topics.x.txt")),
    "personas": ({"x.yaml": PERSONAS}, lambda d: load_personas(d / "x.yaml")),
    "template file": ({"x.yaml": TEMPLATES}, lambda d: templates.load_templates(d / "x.yaml")),
    "released templates": ({"x.py": RELEASED}, lambda d: read_released(d / "x.py")),
    "registry": ({"x.tsv": REGISTRY}, lambda d: table.read_rows(d / "x.tsv", "model")),
    "YAML": ({"x.yaml": b"scale: ci\nudapdr: {target: amazon, seed: {n_passages: 4}}\n"}, lambda d: configured(d / "x.yaml")),
}  # fmt: skip
# weight of each target's share of all inputs: a file each, then what is not a file
DEALT = dealt(
    dict.fromkeys(TARGETS, 2)
    | {"rows": 2, "configuration": 2, "archives": 3}
    | dict.fromkeys(("JSON answers", "verdicts", "verdict scores", "queries", "lists", "orders", "letters"), 3)
    | {"yes or no": 3, "templates": 3}
)
# not every target takes a sound input to its end: a fixture that was cut off
BROKEN_FROM_THE_START = {"released templates"}


def source(reader, *paths):
    """Read to the last passage, as collections.build does."""
    found = reader_of(reader)(list(paths), "x")
    survey(found.passages, {"d1"}, {"q1": "one"}, 13)
    return found


def configured(path):
    """Read and check a layer of the configuration alone, as layers_of does with the user's file."""
    data = load.read_yaml(path, "x.yaml")
    load.check_keys(data, Config, "x.yaml")
    load.check_values(data, "x.yaml")


def run(files, function):
    """Write files to a fresh folder and read them; a typed error is what is allowed to come out."""
    with tempfile.TemporaryDirectory() as name:
        for path, data in files.items():
            (Path(name) / path).parent.mkdir(exist_ok=True)
            (Path(name) / path).write_bytes(data)
        try:
            function(Path(name))
        except SearchtuneError as error:
            return error
    return None


@pytest.mark.parametrize("target", sorted(set(TARGETS) - BROKEN_FROM_THE_START))
def test_the_untouched_input_is_read(target):
    assert run(*TARGETS[target]) is None


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_wounded_files_give_typed_errors_alone(target):
    files, function = TARGETS[target]

    @DEALT[target]
    @given(st.data())
    def attack(data):
        name = data.draw(st.sampled_from(sorted(files)))
        bad = data.draw(st.one_of(wounded(files[name]), st.binary(max_size=60), TEXT.map(lambda t: t.encode("utf-8", "surrogatepass"))))  # fmt: skip
        run(files | {name: bad}, function)

    attack()


def test_all_inputs_are_dealt_to_targets_that_take_them():
    if 10 * len(DEALT) <= INPUTS:  # a target has one at least
        assert sum(setting.max_examples for setting in DEALT.values()) == INPUTS
    taken = [function for function in globals().values() if is_hypothesis_test(function)]
    assert len(taken) + len(TARGETS) == len(DEALT)


@pytest.mark.parametrize("inputs", [1, 59, 10_000, 1_000_000])
def test_shares_are_the_whole(monkeypatch, inputs):
    monkeypatch.setattr("fuzzing.INPUTS", inputs)
    found = dealt({"a": 2, "b": 3, "c": 0.25, "d": 3})
    counts = {target: setting.max_examples for target, setting in found.items()}
    assert min(counts.values()) >= 1 and sum(counts.values()) == max(inputs, len(counts))
    assert inputs < 1000 or [counts[t] * 8.25 / inputs for t in "abc"] == pytest.approx([2, 3, 0.25], abs=0.01)


def test_every_reader_is_fuzzed():
    assert {name.lower() for name in TARGETS} | {"nq_swapped"} >= set(READERS)


@DEALT["rows"]
@given(st.sampled_from(["squad", "nq_swapped", "beir", "lotte"]), VALUES, st.data())
def test_rows_of_other_types_give_typed_errors_alone(reader, value, data):
    """A value somewhere in a sound file becomes one of another type."""
    target = {"squad": "SQuAD", "nq_swapped": "NQ", "beir": "BEIR", "lotte": "LoTTE"}[reader]
    files, function = TARGETS[target]
    name = data.draw(st.sampled_from(sorted(n for n in files if "json" in n)))
    first, _, rest = files[name].partition(b"\n")
    row = replaced(json.loads(first), value, data.draw(st.integers(0, 12)))
    run(files | {name: json.dumps(row).encode() + b"\n" + rest}, function)


def replaced(tree, value, place):
    """Return a JSON value in which the ``place``-th part (in order of depth) is another."""
    slots, todo = [], [tree]
    while todo:
        item = todo.pop(0)
        for key in item if isinstance(item, dict) else range(len(item)) if isinstance(item, list) else ():
            slots.append((item, key))
            todo.append(item[key])
    holder, key = slots[place % len(slots)]
    holder[key] = value
    return tree


# --- models' answers --------------------------------------------------------------------------------------


def parsed(parse, *arguments):
    try:
        return parse(*arguments)
    except (SearchtuneError, ValueError):
        return None


@DEALT["JSON answers"]
@given(st.one_of(TEXT, VALUES.map(json.dumps), wounded(b'{"positives": ["a"], "hard_negatives": [{"description": "x", "fails_because": "y"}]}').map(lambda b: b.decode(errors="replace"))))  # fmt: skip
def test_json_answers(text):
    for kind in (str, list, dict):
        value = parsed(limrank_schemas.parser({"text": kind}), text)
        assert value is None or isinstance(value["text"], kind)
    value = parsed(limrank_schemas.parse_descriptions, text)
    assert value is None or all(item.strip() for item in value["positives"])


@DEALT["verdicts"]
@given(TEXT, st.booleans())
def test_verdicts(text, finished):
    assert "\n" not in verdicts.clean_reasoning(text, finished)
    value = parsed(verdicts.parse_answer, text + verdicts.CLOSE + text)
    assert value is None or isinstance(value[1], bool)
    parsed(verdicts.parse_answer, text)


@DEALT["verdict scores"]
@given(st.floats(), st.floats())
def test_verdict_scores(true, false):
    value = parsed(verdicts.probability_true, true, false)
    assert value is None or 0 <= value <= 1


@DEALT["queries"]
@given(TEXT, TEXT)
def test_queries_are_cleaned(text, other):
    query = cleaning.clean_answer(text)
    assert "\n" not in query and query == query.strip()
    assert cleaning.refusal(query, cleaning.Rules()) is None or isinstance(
        cleaning.refusal(query, cleaning.Rules()), str
    )
    assert 0 <= cleaning.overlap(text, other) <= 1 and 0 <= cleaning.grounding(text, other) <= 1
    cleaning.same_question(text, other, 0.5)
    cleaning.released_same_question(text, other, 0.5)
    assert cleaning.deduplicate([1, 2], [text, text]) == [1]
    text_fault(text, Bounds(1, 10, 0.1, 0.5))
    seed_fault(text, 1, 9)


@DEALT["lists"]
@given(
    TEXT, st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=3), st.sets(st.sampled_from(answers.FAULTS))
)
def test_lists_and_labels(text, labels, faults):
    items, whole = answers.parse_numbered(text, frozenset(faults))
    assert all(item.strip() for item in items) and isinstance(whole, bool)
    assert answers.parse_label(text, labels) in (*labels, None)
    answers.normalise_answer(text)
    answers.normalise_item(text)


@DEALT["orders"]
@given(TEXT, st.integers(0, 20))
def test_orders(text, size):
    order, whole = windows.parse_order(text, size)
    assert sorted(order) == list(range(size)) and isinstance(whole, bool)


@DEALT["letters"]
@given(
    st.one_of(TEXT, wounded(b"so \\boxed{A}, no: \\boxed{\\text{(C) gold}}").map(lambda b: b.decode(errors="replace")))
)
def test_boxed_letters(text):
    letter = parsed(boxed_letter, text)
    assert letter is None or (len(letter) == 1 and f"{letter}" in text)
    assert parsed(boxed_letter, text + "\n\\boxed{B}") == "B"


@DEALT["yes or no"]
@given(st.one_of(TEXT, wounded(b"Verdict: **Yes**, though no one knows").map(lambda b: b.decode(errors="replace"))))
def test_words_of_a_judge(text):
    assert parsed(parse_verdict, text) in (True, False, None)
    assert parsed(parse_verdict, f"No. {text}") is False


# --- templates, prompts, archives, configuration ----------------------------------------------------------


@DEALT["templates"]
@given(
    TEXT, st.dictionaries(st.from_regex(r"[a-z_0-9]{1,5}", fullmatch=True), st.one_of(TEXT, VALUES), max_size=4), TEXT
)
def test_templates_are_rendered_or_refused(template, fields, value):
    try:
        templates.render(template, fields)
    except DataError:
        assert templates.placeholders(template)
    filled = templates.render(template, dict.fromkeys(templates.placeholders(template), value))
    assert templates.placeholders(template) or filled == template
    assert unwrap(wrap(filled, "chatml")) == filled


def _packed() -> dict[str, bytes]:
    import io
    import tarfile
    import zipfile

    zipped, tarred = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as pack:
        pack.writestr("a/b.txt", "text " * 40)
    with tarfile.open(fileobj=tarred, mode="w:gz") as pack:
        info = tarfile.TarInfo("top/a/b.txt")
        info.size = 200
        pack.addfile(info, io.BytesIO(b"text " * 40))
    return {"x.zip": zipped.getvalue(), "x.tar.gz": tarred.getvalue()}


PACKED = _packed()


@DEALT["archives"]
@given(st.sampled_from(sorted(PACKED)), st.data())
def test_wounded_archives_stay_in_their_folder(name, data):
    with tempfile.TemporaryDirectory() as folder:
        archive, target = Path(folder) / name, Path(folder) / "out"
        archive.write_bytes(data.draw(wounded(PACKED[name])))
        with contextlib.suppress(SearchtuneError):
            unpack.unpack(archive, "", ["a/*"], target, name)
        assert {p.name for p in Path(folder).iterdir()} <= {name, "out"}


@DEALT["configuration"]
@given(VALUES, st.data())
def test_values_of_other_types_in_a_configuration(value, data):
    tree = {"scale": "ci", "seeds": [13], "hardware": {"threads": 1}, "faults": ["U3"], "papers": ["udapdr"],
            "udapdr": {"target": "amazon", "seed": {"n_passages": 4}, "ablations": {"x": {"set": {}, "faults": []}}},
            "collections": {"mine": {"reader": "texts", "raw": ["a/b"], "n_test": 0}},
            "models": {"m": {"source": "hub", "kind": "causal", "endpoint": {"base_url": "x"}}}}  # fmt: skip
    tree = replaced(tree, value, data.draw(st.integers(0, 25)))
    with contextlib.suppress(SearchtuneError):
        load.check_keys(tree, Config, "x.yaml")
        load.check_values(tree, "x.yaml")


# --- what fuzzing found: each stands here by name ---------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "name", "data", "message"),
    [
        ("JSON", "x", b"9" * 5000, "is not valid JSON: Exceeds the limit"),
        ("JSON", "x", b"[" * 100_000, "is not valid JSON"),
        ("JSON", "x", b'{"_id": "\\ud800a"}', r"ud800 is half of a pair of surrogates"),
        (
            "JSON lines",
            "x",
            b'{"a": "\\ud83d\\ude00"}\n{"a": [{"\\uDC00": 1}]}',
            r"line 2 is not valid JSON: .udc00 is half",
        ),
        (
            "questions",
            "x",
            b'{"question": "who\\ud800?", "answer": ["a"]}',
            "is not a list of questions.*is half of a pair",
        ),
        ("JSON lines", "x", b"\xff\n", "cannot be read as text"),
        ("JSON lines", "x.gz", gzip.compress(b"{}" * 99)[:-9], "cannot be read as text"),
        ("JSON lines", "x.gz", b"no archive", "cannot be unpacked"),
        ("scores", "x", b"query-id\tcorpus-id\nq\td\n", "is not a table of query-id, corpus-id, score"),
        ("questions", "x", b"who\r?\t['a']", "is not a list of questions"),
        ("questions", "x", b"who?\t['\\ud800']", "expected a question and a list of answers"),
        ("questions", "x", b'{"question": "who?", "answer": 1}', "is not a list of questions"),
        ("personas", "x.yaml", b"- a\n", "is no YAML mapping with the key 'personas'"),
        ("personas", "x.yaml", b"{", "is no YAML mapping with the key 'personas'"),
        ("templates", "x", b"sets: {a: {fields: [1], templates: [{id: a, prompt: b}]}}", "templates|never used"),
    ],
)
def test_what_fuzzing_found_in_files(tmp_path, target, name, data, message):
    readers = {"JSON": read_json, "JSON lines": read_jsonl, "scores": trec.read_scores, "questions": topics.read_questions,
               "personas": load_personas, "templates": templates.load_templates}  # fmt: skip
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=message) as refused:
        readers[target](tmp_path / name)
    assert str(tmp_path / name) in str(refused.value)


def test_what_fuzzing_found_in_questions_and_runs(tmp_path):
    for cell in (b'"hot"\r,', b"hot\rcold,"):
        (tmp_path / "gpqa_diamond.csv").write_bytes(GPQA["gpqa_diamond.csv"].replace(b"amber,", cell, 1))
        for name in GPQA.keys() - {"gpqa_diamond.csv"}:
            (tmp_path / name).write_bytes(GPQA[name])
        with pytest.raises(DataError, match=r"gpqa_diamond.csv: cells are not quoted as a CSV writer does"):
            read_gpqa([tmp_path / name for name in GPQA], "x", 13)
    (tmp_path / "x.json").write_text('{"q1": {"d1": 1' + "0" * 400 + "}}")
    with pytest.raises(DataError, match=r"x.json, query 'q1': int too large"):
        read_any_run(tmp_path / "x.json")


def test_what_fuzzing_found_in_answers_and_archives(tmp_path):
    with pytest.raises(ValueError, match="not JSON"):
        limrank_schemas.parser({"text": str})('{"text": ' + "[" * 100_000)
    with pytest.raises(DataError, match="no usable score"):
        verdicts.probability_true(float("inf"), float("inf"))
    (tmp_path / "x.tar.gz").write_bytes(b"\x1f\x8b\x08")
    with pytest.raises(SearchtuneError, match="x.tar.gz cannot be unpacked"):
        unpack.unpack(tmp_path / "x.tar.gz", "", ["*"], tmp_path / "out", "x.tar.gz")


@pytest.mark.parametrize(
    ("reader", "name", "data"), [("squad", "x.json", b'{"data": 3}'), ("beir", "", b""), ("dpr", "q.csv", b"who\r?")]
)
def test_a_file_for_another_reader_is_named(tmp_path, reader, name, data):
    (tmp_path / (name or "corpus.jsonl")).write_bytes(data or b'{"_id": 1, "text": 3}\n')
    with pytest.raises(DataError, match=str(tmp_path)):
        source(reader, tmp_path / name if name else tmp_path, *([tmp_path / "psgs.tsv"] if reader == "dpr" else []))
