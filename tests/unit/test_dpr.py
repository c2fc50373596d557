"""Open-domain question answering in DPR's form: psgs_w100.tsv, lists of questions, and judgement by short answers."""

import csv
import gzip
import unicodedata
from fnmatch import fnmatch

import pytest
import yaml
from helpers import ROOT

from searchtune.collections.answers import has_answer, tokens
from searchtune.collections.beir import Collection
from searchtune.collections.build import make_collection
from searchtune.collections.dpr import read_dpr
from searchtune.collections.trec import write_run
from searchtune.errors import DataError
from searchtune.evaluation.answers import ANSWER_METRICS, judged_by_answers
from searchtune.evaluation.udapdr import note_of, quality_rows
from searchtune.evaluation.udapdr_released import add_released, fault_rows
from searchtune.evaluation.udapdr_runs import Run, score_runs
from searchtune.evaluation.udapdr_signs import teacher_sign
from searchtune.registry.table import load_registry
from searchtune.stage import run_job

TREC = ROOT / "resources" / "raw" / "pyserini-0.20.0" / "topics-and-qrels"

PARAMS = {"id": "nq", "max_passages": None, "n_train": 0, "n_dev": 0, "n_test": None, "seed": 1, "split_seed": 0} | {
    "shares": {"train": 0.0, "dev": 0.0, "test": 1.0}
}
PASSAGES = [
    ("1", 'Aaron ( or ; "Ahärôn") is a prophet. He  spoke for Moses.', "Aaron"),
    ("2", "The party began at 9 a.m. in Zürich, Switzerland.", 'The "Party" Line'),
    ("3", "An art dealer of U.S. museums", "Art"),
    ("4", '"golden anniversary"', "Super Bowl 50"),
]
QUESTIONS = [
    ("who spoke for moses", ["Aaron", "Ahärôn"]),
    ('what is "dealt" with', ["art"]),
    ("which theme", ['"golden anniversary"', "gold"]),
    ("where was nobody", ["Paris"]),
]


@pytest.fixture
def folder(tmp_path):
    """Write both files as a CSV writer with tabs does: only cells with a quotation mark are quoted."""
    with open(tmp_path / "psgs_w100.tsv", "w", encoding="utf-8", newline="") as handle:
        rows = [("id", "text", "title"), *PASSAGES]
        csv.writer(handle, delimiter="\t", lineterminator="\n").writerows(rows)
    with open(tmp_path / "nq-dev.qa.csv", "w", encoding="utf-8", newline="") as handle:
        rows = [(text, repr(answers)) for text, answers in QUESTIONS]
        csv.writer(handle, delimiter="\t", lineterminator="\n").writerows(rows)
    return tmp_path


def test_the_fixture_has_the_publishers_form(folder):
    lines = (folder / "psgs_w100.tsv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "id\ttext\ttitle"
    assert lines[1] == '1\t"Aaron ( or ; ""Ahärôn"") is a prophet. He  spoke for Moses."\tAaron'
    assert lines[2].endswith('\t"The ""Party"" Line"')
    assert (folder / "nq-dev.qa.csv").read_text(encoding="utf-8").splitlines()[0] == (
        "who spoke for moses\t['Aaron', 'Ahärôn']"
    )


def source_of(folder, passages="psgs_w100.tsv", questions="nq-dev.qa.csv"):
    return read_dpr([folder / passages, folder / questions], "nq")


def test_passages_lose_their_quoting_and_questions_keep_their_answers(folder):
    collection = make_collection(source_of(folder), PARAMS)
    assert [(i, p.text, p.title) for i, p in collection.corpus.items()] == [
        ("1", 'Aaron ( or ; "Ahärôn") is a prophet. He spoke for Moses.', "Aaron"),
        ("2", "The party began at 9 a.m. in Zürich, Switzerland.", 'The "Party" Line'),
        ("3", "An art dealer of U.S. museums", "Art"),
        ("4", "golden anniversary", "Super Bowl 50"),  # DPR takes quotation marks off the ends
    ]
    assert {i: (q.text, q.metadata["answers"], q.metadata["split"]) for i, q in collection.queries.items()} == {
        str(n): (text, answers, "test") for n, (text, answers) in enumerate(QUESTIONS)
    }
    assert collection.judged_by == "answers" and not any(collection.qrels.values())


def test_every_passage_quoted_compressed_and_with_json_questions(folder):
    with gzip.open(folder / "all.tsv.gz", "wt", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, delimiter="\t", lineterminator="\r\n", quoting=csv.QUOTE_ALL)
        writer.writerows([("id", "text", "title"), *PASSAGES])
    rows = ['{"question": "who?", "answer": ["Aaron", "Aaron"]}']
    (folder / "topics.dpr.squad.test.txt").write_text("\n".join(rows) + "\n")
    plain = make_collection(source_of(folder), PARAMS)
    packed = make_collection(source_of(folder, "all.tsv.gz", "topics.dpr.squad.test.txt"), PARAMS)
    assert packed.corpus == plain.corpus
    assert packed.queries["0"].metadata["answers"] == ["Aaron"]


@pytest.mark.parametrize(
    ("name", "line", "said"),
    [
        ("psgs_w100.tsv", "5\ttext", "line 6: not one line of id, text and title"),
        ("psgs_w100.tsv", '5\t"two\nlines"\tt', "line 6: not one line of id, text and title"),
        ("psgs_w100.tsv", '5\t"Bad" text\tt', "line 6: cells are not quoted as a CSV writer does"),
        ("psgs_w100.tsv", '5\t"never closed\tt', "line 6: "),
        ("psgs_w100.tsv", "2\tagain\tt", "line 6: duplicate id '2'"),
        ("nq-dev.qa.csv", "who?\t[]", r"nq-dev\.qa\.csv, row 5: needs a question and short answers"),
        ("nq-dev.qa.csv", "who?\t['Ann', '\u200b']", "row 5: needs a question and short answers"),
        ("nq-dev.qa.csv", "who?\t__import__('os').getcwd()", "row 5: expected a question and a list of answers"),
    ],
)
def test_another_form_is_refused_by_line(folder, name, line, said):
    with open(folder / name, "a", encoding="utf-8") as handle:
        handle.write(line + "\n")
    with pytest.raises(DataError, match=said):
        make_collection(source_of(folder), PARAMS)


def test_other_files_and_headers_are_refused(folder):
    with pytest.raises(DataError, match=r"b\.xml: DPR has passages"):
        read_dpr([folder / "b.xml"], "nq")
    with pytest.raises(DataError, match=r"needs passages .* and one list of questions; given: psgs_w100\.tsv"):
        read_dpr([folder / "psgs_w100.tsv"], "nq")
    (folder / "psgs_w100.tsv").write_text("1\ttext\ttitle\n")
    with pytest.raises(DataError, match=r"line 1: the header is \['1', 'text', 'title'\], expected \['id', "):
        make_collection(source_of(folder), PARAMS)


# --- matching


def test_tokens_are_runs_of_letters_digits_and_marks_or_single_signs():
    assert tokens("U.S. don't 9a_b") == ["u", ".", "s", ".", "don", "'", "t", "9a", "_", "b"]
    assert tokens("a𐐀b 😀😀") == ["a𐐨b", "😀", "😀"]
    # decomposed: a letter and its mark are one token; controls, zero-width and no-break spaces end a token
    assert tokens("Zürich") == ["zu\u0308rich"]
    assert tokens("a\x85b\u200bc\u00a0d $5—6 ²") == ["a", "b", "c", "d", "$", "5", "—", "6", "²"]


@pytest.mark.parametrize(
    ("answer", "text", "held"),
    [
        ("art", "the party began", False),  # inside a token
        ("art", "An ART dealer", True),
        ("Zurich", "in Zürich", False),  # an accent is part of the token
        ("Zu\u0308rich", "in Zürich", True),  # composed or not is the same
        ("U.S.", "of U. S . museums", True),  # white space between tokens does not count
        ("US", "the U.S. museums", False),
        ("May 18 , 2018", "on May 18, 2018", True),
        ("May 2018", "on May 18, 2018", False),  # side by side, not one after the other
        ("9 a.m", "at 9 a.m. in", True),
        ("a b", "a b", True),
        ("longer than the text", "longer than", False),
        ("  ", "anything", False),
    ],
)
def test_an_answer_is_held_token_by_token(answer, text, held):
    assert has_answer([answer], text) is held


def test_one_of_several_answers_is_enough():
    assert has_answer(["Paris", "Rome"], "all roads lead to Rome")
    assert not has_answer([], "text")


def test_tokens_agree_with_the_pattern_as_dpr_writes_it():
    regex = pytest.importorskip("regex")
    pattern = regex.compile(r"([\p{L}\p{N}\p{M}]+)|([^\p{Z}\p{C}])", regex.I | regex.U | regex.M)
    text = (
        "".join(chr(code) for code in (*range(32, 0x3000, 3), *range(0x10000, 0x30000, 7), 0xE000)) + " e\u0301 İ ẞ ﬁ"
    )
    decomposed = unicodedata.normalize("NFD", text)
    # characters that this Python's Unicode tables do not know yet are left out
    decomposed = "".join(c for c in decomposed if unicodedata.category(c) != "Cn")
    assert tokens(decomposed) == [match.group().lower() for match in pattern.finditer(decomposed)]


# --- judging runs


def built(folder):
    run_job(
        {
            "stage": "collections.build",
            "inputs": {"raw": [str(folder)]},
            "outputs": {"collection": str(folder / "out" / "nq")},
            "params": PARAMS
            | {"raw": [f"{folder.name}/psgs_w100.tsv", f"{folder.name}/nq-dev.qa.csv"], "reader": "dpr"}
            | {"licence": "", "canary": []},
        }
    )
    return Collection.load(folder / "out" / "nq")


RANKING = {
    "0": {"2": 3.0, "1": 2.0, "3": 1.0},  # Aaron at rank 2
    "1": {"2": 3.0, "4": 2.0, "3": 1.0},  # 'art' is not in 'party': rank 3
    "2": {"4": 3.0, "1": 1.0},  # quotation marks are off the ends of the text, but 'gold' is no token of it either
    "3": {"1": 3.0, "2": 2.0},
}


def test_a_run_is_judged_by_the_answers_of_its_passages(folder):
    collection = built(folder)
    assert collection.judged_by == "answers" and collection.manifest["counts"]["judgements"] == 0
    ranked = {query: [(i, score) for i, score in ranking.items()] for query, ranking in RANKING.items()}
    assert judged_by_answers(collection, ranked, ["test"]) == {
        "0": {"2": 0, "1": 1},  # down to the first hit
        "1": {"2": 0, "4": 0, "3": 1},
        "2": {"4": 0, "1": 0},
        "3": {"1": 0, "2": 0},
    }
    write_run(folder / "bm25.run.gz", RANKING, "bm25")
    run = Run("nq", "", "bm25", None, folder / "bm25.run.gz")
    ((_, scores),) = score_runs([run], {"nq": collection}, ["test"])
    assert scores == {
        "Success@5": {"0": 1.0, "1": 1.0, "2": 0.0, "3": 0.0},
        "RR": {"0": 1 / 2, "1": pytest.approx(1 / 3), "2": 0.0, "3": 0.0},
    }
    assert set(scores) == set(ANSWER_METRICS)


def test_a_run_that_lacks_a_question_or_names_an_unknown_passage_is_refused(folder):
    collection = built(folder)
    short = {query: [("1", 1.0)] for query in ("0", "1", "2")}
    with pytest.raises(DataError, match=r"too few queries: the run lacks 1 of 4 .*\(3\)"):
        judged_by_answers(collection, short, ["test"])
    with pytest.raises(DataError, match="query '3': the run names the passage '9', which the collection does not have"):
        judged_by_answers(collection, short | {"3": [("9", 1.0)]}, ["test"])


def test_what_nothing_was_judged_for_has_no_ndcg_and_says_so(folder):
    collection = built(folder)
    write_run(folder / "bm25.run.gz", RANKING, "bm25")
    scored = score_runs([Run("nq", "", "bm25", None, folder / "bm25.run.gz")], {"nq": collection}, ["test"])
    scores = scored[0][1]
    params = {"judge": "", "seed": 0, "permutations": 1000, "bootstrap_samples": 200, "level": 0.95}
    rows = quality_rows("nq", {"bm25": [scores]}, "", params, collection.judged_by)
    assert {row["metric"]: (row["value"], row["n"]) for row in rows} == {
        "Success@5": (0.5, 4),
        "RR": (pytest.approx((1 / 2 + 1 / 3) / 4), 4),
    }
    assert {row["note"] for row in rows} == {"judged by short answers: nDCG is not defined"}
    assert note_of("student_adapted", 1, "", "", "answers") == "one seed; judged by short answers: nDCG is not defined"
    assert note_of("student_adapted", 3, "seen", "") == "3 seeds" and note_of("minilm_dense", 1, "seen", "") == "seen"
    # fault U9 is a fault of nDCG
    assert fault_rows(collection, "nq", {"bm25": folder / "bm25.run.gz"}, {"bm25": scores}) == []
    add_released(collection, scored)
    assert set(scores) == {"Success@5", "RR"}
    worse = {"Success@5": scores["Success@5"], "RR": dict.fromkeys(scores["RR"], 0.0)}
    sign = teacher_sign({"student_adapted": scores, "student_shuffled_teacher": worse}, 0, 1000)
    assert sign["note"].startswith("RR 0.208 with the teachers' scores, 0.000")


@pytest.mark.parametrize("name", ["nq_open_dpr", "squad_open_dpr"])
def test_the_raw_files_of_the_collections_are_registered(name):
    entry = yaml.safe_load((ROOT / "config/collections.yaml").read_text())["collections"][name]
    registry = load_registry()
    for raw in entry["raw"]:
        folder, file = raw.split("/", 1)
        members = [member for part in registry.artefact(folder).parts for member in part.members]
        assert any(fnmatch(file, member) for member in members), file
    source = registry.get("dpr_wikipedia")
    assert (source.source, source.bytes, source.file) == ("url", 4_694_541_059, "psgs_w100.tsv.gz")
    assert entry["reader"] == "dpr" and entry["target"]


@pytest.mark.skipif(not TREC.is_dir(), reason="the packaged question lists are not fetched")
@pytest.mark.parametrize(("name", "count"), [("nq.dev", 8757), ("squad.test", 10570)])
def test_the_packaged_questions_are_read(folder, name, count):
    questions = read_dpr([folder / "psgs_w100.tsv", TREC / f"topics.dpr.{name}.txt"], "c").questions
    assert len(questions) == count and all(q.split == "test" and not q.relevant for q in questions.values())
