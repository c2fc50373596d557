"""From publishers' formats to collections: readers, splits, samples, refusals; TREC topics and question lists."""

import json
from collections import Counter

import pytest
from helpers import ROOT

from searchtune.collections.arguments import bm25_args, collection_args, raw_inputs
from searchtune.collections.beir import Collection, Passage, Query
from searchtune.collections.build import make_collection, seeded_order
from searchtune.collections.readers import reader_of
from searchtune.collections.sources import Source, SourcePassage, read_beir, read_nq_swapped, read_squad
from searchtune.collections.topics import (
    read_expansions,
    read_query_lines,
    read_questions,
    read_topics,
)
from searchtune.errors import ConfigError, DataError
from searchtune.files import read_json, sha256_file
from searchtune.stage import provenance_of, run_job

SHARES = {"train": 0.5, "dev": 0.25, "test": 0.25}
MINI = ROOT / "workflow" / "mini" / "data"
TREC = ROOT / "resources" / "raw" / "pyserini-0.20.0" / "topics-and-qrels"
fetched = pytest.mark.skipif(not TREC.is_dir(), reason="the packaged TREC files are not fetched")


def question(identifier, text="What is it?", answers=("yes", "yes")):
    return {"id": identifier, "question": text, "answers": [{"text": a, "answer_start": 0} for a in answers]}


def squad_file(path, articles):
    """Write {title: [(context, [question ids])]} in SQuAD's form."""
    data = [
        {
            "title": title,
            "paragraphs": [{"context": c, "qas": [question(i, f"Who is {i}?") for i in ids]} for c, ids in paragraphs],
        }
        for title, paragraphs in articles.items()
    ]
    path.write_text(json.dumps({"version": "1.1", "data": data}))
    return path


def many(n):
    return {
        f"Article_{i}": [(f"Passage number {i}, part {j}.", [f"q{i}-{j}-{k}" for k in range(2)]) for j in range(2)]
        for i in range(n)
    }


def params(**changes):
    return {
        "id": "c",
        "max_passages": None,
        "n_train": None,
        "n_dev": None,
        "n_test": None,
        "seed": 1,
        "split_seed": 0,
        "shares": SHARES,
    } | changes


def build(folder, n=20, **changes):
    return make_collection(read_squad([squad_file(folder / "s.json", many(n))], "c"), params(**changes))


# --- readers


def test_squad_repeated_passages_are_one_and_answers_are_distinct(tmp_path):
    path = squad_file(
        tmp_path / "s.json",
        {"Super_Bowl": [("A  text.\n", ["q1"]), ("A text.", ["q2"])], "Other": [("Another text.", ["q3"])]},
    )
    source = read_squad([path], "squad")
    assert [p.text for p in source.passages.values()] == ["A text.", "Another text."]
    assert {q.article for q in source.questions.values()} == {"super bowl", "other"}
    assert source.questions["q1"].relevant == source.questions["q2"].relevant
    assert source.questions["q1"].answers == ["yes"]
    assert all(i.startswith("squad-") for i in source.passages)


def test_a_file_with_one_title_for_everything_has_one_article_a_passage(tmp_path):
    path = squad_file(tmp_path / "s.json", {"Filtered_Comments": [("One.", ["q1"]), ("Two.", ["q2"])]})
    source = read_squad([path], "r")
    assert {q.article for q in source.questions.values()} == set(source.passages)


def test_duplicate_question_ids_are_refused(tmp_path):
    path = squad_file(tmp_path / "s.json", {"A": [("One.", ["q1"])], "B": [("Two.", ["q1"])]})
    with pytest.raises(DataError, match=r"s\.json: duplicate question id 'q1'"):
        read_squad([path], "c")


def test_the_wrong_reader_is_named(tmp_path):
    (tmp_path / "t.json").write_text(json.dumps({"examples": []}))
    with pytest.raises(DataError, match=r"no key 'data' where the format has one; is this the right reader"):
        read_squad([tmp_path / "t.json"], "c")
    with pytest.raises(ConfigError, match=r"unknown collection reader 'squab'; did you mean 'squad'\?"):
        reader_of("squab")


def nq(question, context, swapped, original):
    return {
        "input": f"\nQuestion: {question}\nContext: {context}",
        "target": swapped,
        "target_scores": {swapped: 1, original: 0},
    }


def test_of_swapped_nq_near_copies_one_stays_and_a_repeated_question_is_one_query(tmp_path):
    text = "{} wrote the song in one long night of the year 1953 at home ."
    examples = [
        nq("who wrote it?", text.format("Bo Li"), "Bo Li", "Ann Ray"),
        nq("who was at home?", text.format("Cy Ott"), "Cy Ott", "Ann Ray"),
        nq("who wrote it?", "Dee Fox sang another song .", "Dee Fox", "Eve Hay"),
    ]
    (tmp_path / "task.json").write_text(json.dumps({"examples": examples}))
    source = read_nq_swapped([tmp_path / "task.json"], "nq")
    first, second = source.passages.values()
    assert first.text.startswith("Bo Li") and second.text.startswith("Dee Fox")
    (who,) = source.questions.values()
    assert (len(who.relevant), who.answers, who.article) == (2, ["Bo Li", "Dee Fox"], first.article)
    assert source.copies == 1
    manifest = make_collection(source, params(id="nq", n_test=1, shares={"train": 0, "dev": 0, "test": 1})).manifest
    assert manifest["left_out"] == {"near_copies": 1}


def test_an_nq_example_of_another_form_is_refused_by_number(tmp_path):
    (tmp_path / "task.json").write_text(json.dumps({"examples": [{"input": "hello", "target_scores": {}}]}))
    with pytest.raises(DataError, match="example 0: 'input' is not of the form"):
        read_nq_swapped([tmp_path / "task.json"], "nq")


def test_a_beir_folder_keeps_ids_grades_and_splits(tmp_path):
    (tmp_path / "qrels").mkdir()
    (tmp_path / "corpus.jsonl").write_text('{"_id": "d1", "title": "T", "text": "x"}\n{"_id": "d2", "text": "y"}\n')
    (tmp_path / "queries.jsonl").write_text(
        '{"_id": "q1", "text": "a"}\n{"_id": "q2", "text": "b"}\n{"_id": "q3", "text": "never judged"}\n'
    )
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\n")
    (tmp_path / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\nq2\td2\t1\n")
    collection = make_collection(read_beir([tmp_path], "x"), params())
    assert {i: q.metadata["split"] for i, q in collection.queries.items()} == {"q2": "train", "q1": "test"}
    assert collection.qrels["q1"] == {"d1": 2, "d2": 0}
    assert collection.passage_text("d1") == "T x"
    (tmp_path / "qrels" / "dev.tsv").write_text("query-id\tcorpus-id\tscore\nq3\tdX\t1\n")
    with pytest.raises(DataError, match=r"queries\.jsonl, query 'q3': qrels name unknown documents: 'dX'"):
        make_collection(read_beir([tmp_path], "x"), params())


# --- building


def test_no_article_is_in_two_splits_and_every_query_has_one_passage(tmp_path):
    collection = build(tmp_path)
    articles = {s: {q.metadata["article"] for q in collection.queries_of(s).values()} for s in SHARES}
    assert not articles["train"] & articles["test"] and not articles["dev"] & articles["test"]
    assert all(articles.values())
    assert all(len(documents) == 1 for documents in collection.qrels.values())
    assert collection.counts()["queries"] == 80


def test_a_smaller_sample_is_a_prefix_of_a_larger_one(tmp_path):
    small, large = build(tmp_path, n_test=5, n_train=3), build(tmp_path, n_test=9, n_train=12)
    for split in ("train", "test"):
        few, more = list(small.queries_of(split)), list(large.queries_of(split))
        assert more[: len(few)] == few
    assert list(build(tmp_path, n_test=5, seed=2).queries_of("test")) != list(small.queries_of("test"))
    assert seeded_order(["a", "b", "c"], 0) == seeded_order(["c", "b", "a"], 0)


def test_a_cut_corpus_keeps_the_passages_of_kept_queries(tmp_path):
    collection = build(tmp_path, max_passages=12, n_test=4, n_dev=2, n_train=2)
    assert len(collection.corpus) == 12
    assert {d for documents in collection.qrels.values() for d in documents} <= set(collection.corpus)
    larger = build(tmp_path, max_passages=20, n_test=4, n_dev=2, n_train=2)
    assert set(collection.corpus) < set(larger.corpus)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_test": 1000}, r"collection 'c': too few queries: n_test is 1000, but the test articles have \d+"),
        ({"max_passages": 3}, r"max_passages is 3, but the sampled queries have 40 relevant passages; raise"),
    ],
)
def test_sizes_that_cannot_be_met_are_refused(tmp_path, changes, message):
    with pytest.raises(DataError, match=message):
        build(tmp_path, **changes).check("collection 'c'")


def test_a_corpus_without_questions_is_one_only_where_that_was_asked_for(tmp_path):
    assert not build(tmp_path, n_train=0, n_dev=0, n_test=0).queries
    with pytest.raises(DataError, match="there are no queries; check the raw files"):
        make_collection(Source({"d": SourcePassage("", "text", "d")}), params(n_train=None, n_dev=None, n_test=None))
    unjudged = Source({"d": SourcePassage("", "text", "d")}, unjudged=True)
    assert make_collection(unjudged, params(n_train=0, n_dev=0, n_test=0)).corpus["d"].text == "text"


def test_a_beir_folder_without_queries_is_a_corpus(tmp_path):
    (tmp_path / "corpus.jsonl").write_text('{"_id": "a", "title": "", "text": "one"}\n', encoding="utf-8")
    source = read_beir([tmp_path], "x")
    assert [identifier for identifier, _ in source.passages.items()] == ["a"] and source.unjudged
    (tmp_path / "queries.jsonl").write_text('{"_id": "q", "text": "one?"}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"no qrels\.tsv"):
        read_beir([tmp_path], "x")


def test_an_empty_corpus_is_refused():
    with pytest.raises(DataError, match=r"collection 'c': the corpus is empty"):
        make_collection(Source(), params())


def test_the_stage_writes_the_collection_with_canary_and_licence(tmp_path):
    (tmp_path / "raw" / "mini").mkdir(parents=True)
    squad_file(tmp_path / "raw" / "mini" / "s.json", many(20))
    spec = {
        "stage": "collections.build",
        "inputs": {"raw": [str(tmp_path / "raw" / "mini")]},
        "outputs": {"collection": str(tmp_path / "out" / "c")},
        "params": params(raw=["mini/s.json"], reader="squad", licence="CC0-1.0", canary=["mark"], n_test=5),
    }
    stats = run_job(spec)
    assert (stats["passages"], stats["queries_test"]) == (40, 5)
    loaded = Collection.load(tmp_path / "out" / "c")
    assert loaded.manifest["canary"] == ["mark"]
    assert loaded.manifest["source"][0]["sha256"] == sha256_file(tmp_path / "raw" / "mini" / "s.json")
    assert loaded.manifest["sha256"]["corpus.jsonl"] == sha256_file(tmp_path / "out" / "c" / "corpus.jsonl")
    provenance = provenance_of(tmp_path / "out" / "c")
    assert (provenance["canary"], provenance["licences"]) == (["mark"], ["CC0-1.0"])
    spec["params"]["raw"] = ["mini/absent.json"]
    with pytest.raises(DataError, match=r"raw file .*absent\.json is not there; put it in that place"):
        run_job(spec)


# --- the form on disk


def one(**changes):
    parts = {
        "corpus": {"d1": Passage("", "text"), "d2": Passage("Title", "more")},
        "queries": {"q1": Query("ask", "only recent ones", {"split": "test", "article": "a", "answers": ["x"]})},
        "qrels": {"q1": {"d1": 1}},
        "excluded": {"q1": {"d2"}},
        "manifest": {"id": "one"},
    } | changes
    return Collection(**parts)


def test_saved_and_loaded_it_is_the_same(tmp_path):
    collection = one()
    collection.save(tmp_path / "c")
    loaded = Collection.load(tmp_path / "c")
    assert loaded == collection
    assert loaded.passage_text("d2") == "Title more"
    assert loaded.qrels_of("test") == {"q1": {"d1": 1}}
    assert read_json(tmp_path / "c" / "manifest.json")["counts"]["queries_by_split"]["test"] == 1
    with pytest.raises(DataError, match="unknown split 'tset'"):
        loaded.queries_of("tset")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"corpus": {}}, "the corpus is empty"),
        ({"qrels": {"q1": {"d9": 1}}}, "qrels name unknown documents: 'd9'"),
        ({"qrels": {"q9": {"d1": 1}}}, "qrels name unknown queries: 'q9'"),
        ({"excluded": {"q1": {"d9"}}}, "excluded name unknown documents: 'd9'"),
        ({"corpus": {"d1": Passage("t", " "), "d2": Passage("", "x")}}, "passages with empty text: 'd1'"),
    ],
)
def test_a_broken_collection_is_neither_saved_nor_loaded(tmp_path, changes, message):
    with pytest.raises(DataError, match=message):
        one(**changes).save(tmp_path / "c")


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("corpus.jsonl", '{"_id": "d1", "text": "again"}', r"corpus\.jsonl: duplicate id 'd1'"),
        ("queries.jsonl", '{"_id": "q1", "text": "again"}', r"queries\.jsonl: duplicate id 'q1'"),
        ("corpus.jsonl", '{"_id": "d3"}', r"corpus\.jsonl, row 3: no key 'text'"),
        ("qrels.tsv", "q1\tdX\t1", "qrels name unknown documents: 'dX'"),
        ("qrels.tsv", "q1\td1\t1", r"qrels\.tsv, line 3: duplicate judgement of 'd1'"),
        ("qrels.tsv", "q1\td2\thigh", r"qrels\.tsv, line 3: score 'high' is not an integer"),
    ],
)
def test_a_file_broken_by_hand_is_refused(tmp_path, name, line, message):
    one().save(tmp_path / "c")
    with open(tmp_path / "c" / name, "a") as handle:
        handle.write(line + "\n")
    with pytest.raises(DataError, match=message):
        Collection.load(tmp_path / "c")


# --- arguments


def test_arguments_come_from_the_configuration():
    entry = {
        "reader": "squad",
        "raw": ["mini/a.json", "mini/b.json"],
        "folder": "",
        "max_passages": None,
        "n_train": 0,
        "n_dev": 3,
        "n_test": 4,
        "licence": "x",
        "canary": [],
        "target": False,
    }
    config = {
        "collections": {"c": entry},
        "splits": {"seed": 5, "train": 0.7, "dev": 0.1},
        "retrieval": {"k1": 0.9, "b": 0.4, "stop_list": "extended", "words": "plain", "depth": 100},
    }
    found = collection_args(config, "c")
    assert found["shares"] == {"train": 0.7, "dev": 0.1, "test": 0.2}
    entry["target"] = True  # never trained on, so its train articles are tested on
    assert collection_args(config, "c")["shares"] == {"train": 0.0, "dev": 0.1, "test": 0.9}
    assert (found["id"], found["seed"], found["split_seed"], found["n_test"]) == ("c", 5, 5, 4)
    assert raw_inputs(config, "c") == ["<resources>/raw/mini"]
    assert found["raw"] == ["mini/a.json", "mini/b.json"]
    entry |= {"raw": [], "folder": "/home/me/notes"}
    assert raw_inputs(config, "c") == ["/home/me/notes"]
    assert collection_args(config, "c")["raw"] == ["notes"], (
        "raw files are named relative to the folder that holds them"
    )
    assert bm25_args(config, "c")["splits"] == ["dev", "test"]


# --- TREC topics

OLD = """<top>
<head> Tipster Topic Description
<num> Number:  051
<dom> Domain:  Economics
<title> Topic:  Caf\xe9 prices &amp; taxes

<desc> Description:

Document will discuss
prices.
<smry> Summary:
Not this.
<narr> Narrative:
Narrative poems are not relevant.
<con> Concept(s):
1. cafes
</top>
<top>
<num> Number: 052 </num>
<title>
Second
</title>
<desc>
Descriptions of it.
</desc>
<narr> Narrative
Long ones.
</narr>
</top>
"""


def test_sgml_topics_of_all_ages(tmp_path):
    (tmp_path / "old.txt").write_bytes(OLD.encode("latin-1"))
    first, second = read_topics(tmp_path / "old.txt")
    assert first == {
        "id": "51",
        "title": "Café prices & taxes",
        "description": "Document will discuss prices.",
        "narrative": "Narrative poems are not relevant.",
        "query_type": "",
        "subtopics": [],
    }
    assert (second["id"], second["title"]) == ("52", "Second")
    assert (second["description"], second["narrative"]) == ("Descriptions of it.", "Long ones.")


WEB = """<?xml version="1.0"?>
<!DOCTYPE w [<!ELEMENT w (topic)*> <!ELEMENT topic (query, description, subtopic*)>
<!ELEMENT subtopic (#PCDATA)> <!ATTLIST subtopic number CDATA #REQUIRED type (nav|inf) "inf">]>
<w><topic number="1" type="faceted"><query>pi</query><description> What is
 it? </description><subtopic number="1" type="nav">Find it.</subtopic><subtopic number="2">Learn it.</subtopic>
<subtopic number="3" type="inv">Slip.</subtopic><subtopic number="4" type="inav">Unclear.</subtopic>
<subtopic number="5" type="inf"> </subtopic></topic></w>"""


def test_web_topics_with_types_slips_and_empty_subtopics(tmp_path):
    (tmp_path / "web.txt").write_text(WEB)
    topic = read_topics(tmp_path / "web.txt")[0]
    assert (topic["title"], topic["description"], topic["query_type"]) == ("pi", "What is it?", "faceted")
    assert [(s["type"], s["text"]) for s in topic["subtopics"]] == [
        ("nav", "Find it."),
        ("inf", "Learn it."),
        ("inf", "Slip."),
        ("", "Unclear."),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nothing here", "no topics found"),
        ("<top>\n<num> Number: 1\n<desc> x\n</top>", "has no id or no title"),
        ("<top><num>1<title>a</top><top><num>01<title>b</top>", "duplicate topic id '1'"),
        ('<topics><topic number="1"><query>a</topic></topics>', "is not valid XML"),
    ],
)
def test_broken_topic_files_are_refused(tmp_path, text, message):
    (tmp_path / "t.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        read_topics(tmp_path / "t.txt")


def test_query_lines_of_three_forms(tmp_path):
    (tmp_path / "q.txt").write_text("1:a plan: b\n20001:1:obama family tree\n7\ttab 1:2\n8: \n")
    assert [(q["id"], q["text"]) for q in read_query_lines(tmp_path / "q.txt")] == [
        ("1", "a plan: b"),
        ("20001", "obama family tree"),
        ("7", "tab 1:2"),
    ]
    (tmp_path / "q.txt").write_text("1:a\nno id\n")
    with pytest.raises(DataError, match="line 2: not of the form id:query"):
        read_query_lines(tmp_path / "q.txt")


def test_questions_quoted_by_a_csv_writer_and_control_characters_inside_lines(tmp_path):
    (tmp_path / "q.txt").write_bytes('who \x91a\x85b?\t"[\'x\', ""y\'s""]"\r\nplain\t[\'z\']\r\n'.encode())
    assert read_questions(tmp_path / "q.txt") == [
        {"id": "0", "question": "who \x91a b?", "answers": ["x", "y's"]},
        {"id": "1", "question": "plain", "answers": ["z"]},
    ]
    (tmp_path / "j.txt").write_text('{"question": "a", "answer": ["b"]}\n')
    assert read_questions(tmp_path / "j.txt")[0]["answers"] == ["b"]


@pytest.mark.parametrize("cell", ["__import__('os').getcwd()", "[1, 2]", "not a list", "['open"])
def test_answers_that_are_no_list_of_strings_are_refused_and_never_run(tmp_path, cell):
    (tmp_path / "q.txt").write_text(f"a\t{cell}\n")
    with pytest.raises(DataError, match="row 1: expected a question and a list of answers"):
        read_questions(tmp_path / "q.txt")


def test_expansions_belong_to_their_questions(tmp_path):
    (tmp_path / "g.tsv").write_text("0\twho is it Ann Ray\n1\twhat now\n")
    assert read_expansions(tmp_path / "g.tsv", ["who is it", "what now"]) == [
        {"id": "0", "question": "who is it", "expansion": "Ann Ray"}
    ]
    with pytest.raises(DataError, match="id 0: does not begin with the question"):
        read_expansions(tmp_path / "g.tsv", ["other", "what now"])
    with pytest.raises(DataError, match="2 rows against 1 questions"):
        read_expansions(tmp_path / "g.tsv", ["who is it"])


@pytest.mark.parametrize("name", ["squad", "new_wiki", "shifted_amazon", "shifted_nyt", "shifted_reddit", "nq_swapped"])
def test_the_mini_collections_read_and_split(name):
    source = reader_of("nq_swapped" if name == "nq_swapped" else "squad")([MINI / f"{name}.json"], name)
    collection = make_collection(source, params(split_seed=0, shares={"train": 0.4, "dev": 0.2, "test": 0.4}))
    assert min(collection.counts()["queries_by_split"].values()) >= 10


@fetched
@pytest.mark.parametrize(
    ("pattern", "count"),
    [
        ("topics.terabyte0?.???-???.txt", 150),
        ("topics.robust04.txt", 250),
        ("topics.robust05.txt", 50),
        ("topics.covid-round5.xml", 50),
        ("topics.fire12en.176-225.txt", 50),
        ("topics.adhoc.*.txt", 400),
        ("topics.core1?.txt", 100),
        ("topics.web.*.txt", 300),
    ],
)
def test_counts_of_the_packaged_topics(pattern, count):
    topics = [topic for path in sorted(TREC.glob(pattern)) for topic in read_topics(path)]
    assert len(topics) == count
    assert sum(not topic["description"] for topic in topics) == (2 if "web" in pattern else 0)
    if "web" in pattern:
        assert Counter(t["query_type"] for t in topics) == {"faceted": 189, "ambiguous": 62, "single": 49}
        assert Counter(s["type"] for t in topics for s in t["subtopics"]) == {"inf": 818, "nav": 270, "": 1}
    else:
        assert all(topic["narrative"] for topic in topics)


@fetched
def test_counts_of_the_packaged_question_lists():
    sizes = {
        "dpr.nq.test": 3610,
        "dpr.trivia.dev": 8837,
        "dpr.trivia.test": 11313,
        "dpr.curated.test": 694,
        "dpr.squad.test": 10570,
        "dpr.wq.test": 2032,
        "nq.dev": 8757,
        "nq.test": 3610,
    }
    assert {name: len(read_questions(TREC / f"topics.{name}.txt")) for name in sizes} == sizes
    questions = [row["question"] for row in read_questions(TREC / "topics.nq.test.txt")]
    for part in ("answers", "sentences", "titles"):
        assert len(read_expansions(TREC / f"topics.nq.test.gar-t5.{part}.tsv", questions)) == 3610
    assert sum(len(read_query_lines(path)) for path in TREC.glob("topics.mq.*.txt")) == 60_000
    assert len(read_query_lines(TREC / "topics.terabyte05.efficiency.txt")) == 50_000
