"""Loaders of the query-understanding data sets on small files in the publishers' formats (invented content)."""

import json
import shutil

import pytest
import yaml
from helpers import ROOT

from searchtune.config.inters_pairs import sources_of
from searchtune.errors import DataError
from searchtune.registry.table import VERIFIED, load_registry
from searchtune.tasks.example import unique
from searchtune.tasks.inventory import spec_of
from searchtune.tasks.normalise import tables
from searchtune.tasks.normalise.turns import NO_TURNS, latest
from searchtune.tasks.pairs import FILE_NORMALISERS
from searchtune.tasks.scoring import Scores, copied, label_scores, score_set

FIXTURES = ROOT / "tests/fixtures/inters"
# pair -> fixture files, in the order in which the configuration lists their kind
FILES = {
    "query_expansion/query2doc": ["query2doc/train.jsonl", "query2doc/dev.jsonl", "query2doc/trec_dl2019.jsonl"],
    "query_expansion/trec_cast": ["trec_cast/train_topics_v1.0.json", "trec_cast/evaluation_topics_v1.0.json"],
    "query_reformulation/trec_cast": [
        "trec_cast/evaluation_topics_v1.0.json",
        "trec_cast/evaluation_topics_annotated_resolved_v1.0.tsv",
        "trec_cast/2020_manual_evaluation_topics_v1.0.json",
    ],
    "query_reformulation/codec": ["codec/topics.json", "codec/query_reformulations.txt"],
    "query_reformulation/qrecc": ["qrecc/qrecc_train.json", "qrecc/qrecc_test.json"],
    "query_reformulation/canard": ["canard/train.json", "canard/dev.json"],
    "query_reformulation/gecor": ["gecor/CamRest676_annotated.json"],
    "query_intent_classification/orcas_i": ["orcas_i/ORCAS-I-gold.tsv", "orcas_i/ORCAS-I-2M.tsv"],
    "query_intent_classification/mantis": ["mantis/merged_train_intents.json"],
    "query_clarification/mimics": ["mimics/MIMICS-Manual.tsv"],
    "query_clarification/mimics_duo": ["mimics_duo/Task2-QualityLabelling.tsv"],
    "query_clarification/clariq_fkw": ["clariq_fkw/ClariQ-FKw.tsv.dev", "clariq_fkw/train.tsv"],
    "query_clarification/raocq": [
        f"raocq/askubuntu.com/{name}" for name in ("qa_data.tsv", "human_annotations", "post_data.tsv")
    ],
    "query_matching/msrp": ["msrp/msr_paraphrase_train.txt", "msrp/msr_paraphrase_test.txt"],
    "query_suggestion/aol": ["aol/user-ct-test-collection-01.txt"],
}


def examples(pair, max_words=40, root=FIXTURES, files=None):
    task, dataset = pair.split("/")
    paths = [root / name for name in files or FILES[pair]]
    return list(unique(FILE_NORMALISERS[task][dataset](paths, dataset, max_words), pair))


def brief(found):
    return [(e.fields, e.target, e.split) for e in found]


# --- what every loader promises ---------------------------------------------------------------------------


@pytest.mark.parametrize("pair", FILES)
def test_examples_fit_their_task(pair):
    task, dataset = pair.split("/")
    found, spec = examples(pair), spec_of(task, dataset)
    assert found and {(e.task, e.dataset) for e in found} == {(task, dataset)}
    assert all(e.id.startswith(f"{pair}/") and e.article and e.split in ("", "train", "dev", "test") for e in found)
    for example in found:
        row = {"task": task, "dataset": dataset, "fields": example.fields}
        assert spec.baseline != "copy" or copied(row), "the copy baseline finds its field in every row"
        assert spec.kind != "label" or {example.target, *example.references} <= set(example.labels)


@pytest.mark.parametrize("pair", [p for p in FILES if p != "query_reformulation/trec_cast"])
def test_all_examples_of_a_data_set_have_the_same_fields(pair):
    # a template that asks for a field must be fillable for every example
    assert len({tuple(sorted(e.fields)) for e in examples(pair)}) == 1


def test_every_source_has_rows_that_say_how_its_loader_was_checked():
    sources = yaml.safe_load((ROOT / "config/papers/inters.yaml").read_text(encoding="utf-8"))["inters"]["sources"]
    checked = {row.artefact: row.verified for row in load_registry().rows.values()}
    found = {
        pair: {checked[raw.split("/")[0]] for name in sources_of(pair) for raw in sources[name]["raw"]}
        for pair in FILES
    }
    by_mark = {mark: {pair.split("/")[1] for pair, marks in found.items() if marks == {mark}} for mark in VERIFIED}
    assert by_mark[""] == set() and by_mark["none"] == set() and by_mark["raw"] == {"trec_cast"}
    assert len(by_mark["schema"]) == 13


# --- expansion and reformulation --------------------------------------------------------------------------


def test_query2doc_leaves_long_documents_out_and_keeps_splits():
    assert brief(examples("query_expansion/query2doc", 12)) == [
        ({"title": "how are quills cut"}, "A quill is hardened in hot sand. Then a slant is cut.", "train"),
        ({"title": "age of slate"}, "Slate is often very old.", "dev"),
        ({"title": "what is peat"}, "Peat is half-rotten moss.", "test"),
    ]


def test_cast_titles_become_descriptions_where_there_is_one():
    assert brief(examples("query_expansion/trec_cast")) == [
        ({"title": "keeping hens"}, "Someone wants to keep hens.", "train"),
        ({"title": "looms"}, "Buying a used loom.", "test"),
    ]


def test_cast_turns_are_resolved_from_the_tsv_or_from_the_turn_itself():
    found = examples("query_reformulation/trec_cast", 8)
    assert [e.id.rsplit("/", 1)[1] for e in found] == ["cast19-31_2", "cast19-31_3", "cast19-32_2", "cast2x-81_2"]
    assert [e.target for e in found] == [
        "How much does a loom cost?",
        "Can I build a loom?",
        "Who made kites first?",
        "Why does bread rise without yeast?",
    ]
    # 4 and 5 words of history: only the latest turn fits into 8
    assert found[1].fields == {
        "query": "Can I build one?",
        "history": "How much does it cost?",
        "context": "looms. Buying a used loom",
    }
    assert found[2].fields["context"] == "kites"
    assert found[3].fields == {"query": "And without yeast?", "history": "Why does bread rise?"}
    assert found[0].article == found[1].article != found[2].article


def test_codec_lists_reformulations_without_the_question_and_repeats():
    first, second = examples("query_reformulation/codec", 5)
    assert first.fields == {
        "query": "Why did canals lose to railways?",
        "domain": "history",
        "guidelines": "Canals were slow. Relevant documents",
    }
    assert first.target == "1. canal speed\n2. railway freight cost"
    assert first.meta == {"items": ["canal speed", "railway freight cost"]}
    # 2 + 3 words: the second item does not fit into 4, and no item is cut
    assert examples("query_reformulation/codec", 4)[0].target == "1. canal speed"
    assert second.fields["query"] == "Do tariffs protect jobs?", "early commits say Description"


def test_qrecc_keeps_the_latest_turns_that_fit():
    found = examples("query_reformulation/qrecc", 15)
    assert brief(found) == [
        (
            {"query": "who copied it", "history": "Q: what is a burr\nA: A seed with hooks."},
            "who copied the burr's hooks",
            "train",
        ),
        # 4 + 11 words fit, the 5 before them do not
        (
            {"query": "when", "history": "Q: who copied it\nA: A Swiss engineer out on a walk with his dog."},
            "when did a Swiss engineer copy the burr",
            "train",
        ),
        ({"query": "is it toxic", "history": "Q: what is tar\nA: A dark oil."}, "is tar toxic", "test"),
    ]
    assert found[0].article == found[1].article == "qrecc train conversation 7"
    assert len(examples("query_reformulation/qrecc", 10)) == 2, "a last answer of 11 words leaves no history"


def test_canard_splits_titles_from_turns():
    found = examples("query_reformulation/canard")
    assert brief(found) == [
        (
            {"query": "Where was she born?", "history": NO_TURNS, "context": "Ada Quill, Early life"},
            "Where was Ada Quill born?",
            "train",
        ),
        (
            {
                "query": "When?",
                "history": "Q: Where was she born?\nA: In Ulm.",
                "context": "Ada Quill, Early life",
            },
            "When was Ada Quill born in Ulm?",
            "train",
        ),
        (
            {
                "query": "Did he dance?",
                "history": "Q: Did he sing?\nA: CANNOTANSWER",
                "context": "Bob Reed, Career",
            },
            "Did Bob Reed dance?",
            "dev",
        ),
    ]
    assert [e.article for e in found] == ["Ada Quill", "Ada Quill", "Bob Reed"]


def test_gecor_gives_the_goal_without_its_number():
    first, second = examples("query_reformulation/gecor")
    assert first.fields == {
        "query": "What is their address?",
        "history": "User: I want cheap soup.\nSystem: The Ladle has cheap soup.",
        "context": "Find a place with cheap soup and get its address.",
    }
    assert first.target == "What is the address of the Ladle?" and second.target == "Thanks, bye."


# --- intents ----------------------------------------------------------------------------------------------


def test_orcas_labels_are_lower_case_and_queries_unique():
    assert brief(examples("query_intent_classification/orcas_i")) == [
        ({"query": "village bakery login"}, "navigational", "test"),
        ({"query": 'how to darn "fine" socks'}, "instrumental", "test"),
        ({"query": "buy twine online"}, "transactional", "train"),
        ({"query": "height of a stork"}, "factual", "dev"),
    ]


def test_mantis_utterances_have_their_other_intents_as_references():
    opening, answer, thanks = examples("query_intent_classification/mantis", 12)
    assert (opening.target, opening.fields["context"], opening.split) == ("original question", NO_TURNS, "train")
    assert answer.fields == {
        "query": "Use wax. Is it brass?",
        "description": "Squeaky hinge",
        "context": "User: My hinge squeaks. What now?",
    }
    assert (answer.target, answer.references) == ("potential answer", ("information request",))
    # 2 + 6 words fit into 12, the 6 before them do not; the unlabelled turn is context alone
    assert thanks.fields["context"] == "Agent: Use wax. Is it brass?\nUser: Yes"
    assert (thanks.target, thanks.references) == ("greetings or gratitude", ())
    assert len(opening.labels) == 9


def test_mantis_is_scored_by_p_at_1():
    pair = ("query_intent_classification", "mantis")
    rows = [
        {"id": f"r{n}", "task": pair[0], "dataset": pair[1], "target": "other", "references": also, "labels": []}
        for n, also in enumerate([["further details"], [], [], ["other"]])
    ]
    scores = Scores()
    label_scores(scores, pair, rows, ["further details", "further details", None, "other"])
    assert scores.values[pair] == {"P@1": {"r0": 1.0, "r1": 0.0, "r2": 0.0, "r3": 1.0}}
    assert scores.failures == {pair[0]: (4, 1)} and pair not in scores.totals
    said = [
        {"text": "further details", "logprob": -1.0, "n_tokens": 2},
        {"text": "other", "logprob": -4.0, "n_tokens": 1},
    ]
    found = score_set(rows[:2], {f"r{n}#score": {"scores": said} for n in range(2)}, {})
    assert found.values[pair]["P@1"] == {"r0": 1.0, "r1": 0.0}


# --- clarification, matching, suggestion ------------------------------------------------------------------


def test_mimics_lists_good_options_once():
    (found,) = examples("query_clarification/mimics")
    assert (found.fields, found.target) == ({"query": "oak chair"}, "1. oak chair repair\n2. oak chair price")
    (duo,) = examples("query_clarification/mimics_duo")
    assert duo.target == "1. for boats\n2. for kites" and spec_of("query_clarification", "mimics_duo").kind == "list"


def test_clariq_reads_both_publishers_files():
    found = examples("query_clarification/clariq_fkw")
    assert brief(found) == [
        ({"query": "tell me about glue"}, "are you interested in bone glue", "dev"),
        ({"query": "tell me about glue"}, "would you like the history of glue", "dev"),
        ({"query": "Where is Ulm?"}, "would you like a map", "dev"),
        ({"query": "Tell me about larks."}, "do you want songs", "train"),
    ]
    assert found[0].references == ("would you like the history of glue",) and found[3].references == ()


def test_raocq_takes_the_question_of_the_surer_annotator():
    (found,) = examples("query_clarification/raocq", 5)
    assert found.fields == {"query": "screen stays black", "description": "after the update my screen"}
    # the second is surer (3 against 1); the first chose question 2, both found 4 valid
    assert found.target == "which part 0?" and found.references == ("which part 2?", "which part 4?")


def test_msrp_keeps_connected_sentences_in_one_article():
    found = examples("query_matching/msrp")
    assert brief(found)[:2] == [
        ({"first": '"It rained," she said.', "second": "She said that it had rained."}, "yes", "train"),
        ({"first": "She said that it had rained.", "second": 'Rain "may come.'}, "no", "train"),
    ]
    assert [e.article for e in found] == ["msrp sentence 101", "msrp sentence 101", "msrp sentence 201"]
    assert found[2].split == "test"


def test_aol_sessions_end_after_half_an_hour():
    found = examples("query_suggestion/aol")
    assert [(e.fields["history"], e.fields["query"], e.target) for e in found] == [
        ("1. clay pots", "clay pots", "clay pot glaze"),
        # a blanked query keeps the session alive: 25 minutes to the next; then 30 minutes and 1 second end it
        ("1. clay pots\n2. clay pot glaze", "clay pot glaze", "glaze recipes"),
        ("1. bus map", "bus map", "bus fares"),
    ]
    assert [e.article for e in found] == ["aol user 7", "aol user 7", "aol user 8"]
    # 2 + 3 words: with 3 alone the latest query stays
    assert examples("query_suggestion/aol", 3)[1].fields["history"] == "1. clay pot glaze"


# --- bad input --------------------------------------------------------------------------------------------


def edited(tmp_path, pair, name, change):
    """Copy a pair's fixtures, put ``change(text)`` in the place of one file and load them."""
    for file in FILES[pair]:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(FIXTURES / file, tmp_path / file)
    path = tmp_path / name
    before = path.read_text(encoding="utf-8")
    after = change(before)
    assert after != before, "the change must change something"
    path.write_text(after, encoding="utf-8")
    return examples(pair, root=tmp_path)


@pytest.mark.parametrize(
    ("pair", "name", "old", "new", "message"),
    [
        # a missing column or field
        ("query_expansion/query2doc", "query2doc/dev.jsonl", "pseudo_doc", "doc", r"dev.jsonl, row 1: no field 'pseudo_doc'"),
        ("query_expansion/trec_cast", "trec_cast/train_topics_v1.0.json", '"title"', '"name"', "row 1: no field 'title'"),
        ("query_reformulation/qrecc", "qrecc/qrecc_test.json", '"Rewrite"', '"Rewrit"', r"qrecc_test.json, row 1: no field 'Rewrite'; did you mean 'Rewrit'"),
        ("query_reformulation/codec", "codec/topics.json", "Guidelines", "Narrative", "topic history-1: no field 'Guidelines'"),
        ("query_reformulation/canard", "canard/dev.json", '"History"', '"Past"', "dev.json, row 1: no field 'History'"),
        ("query_reformulation/gecor", "gecor/CamRest676_annotated.json", "transcript_complete", "complete", r"row 1, dial, row 1, usr: no field 'transcript_complete'"),
        ("query_intent_classification/orcas_i", "orcas_i/ORCAS-I-gold.tsv", "query\t", "text\t", "gold.tsv, header: no column 'query'"),
        ("query_clarification/mimics", "mimics/MIMICS-Manual.tsv", "option_label_3", "label_3", "header: no column 'option_label_3'"),
        ("query_clarification/mimics_duo", "mimics_duo/Task2-QualityLabelling.tsv", "Quality_Option2", "Q2", "no column 'Quality_Option2'"),
        ("query_clarification/clariq_fkw", "clariq_fkw/ClariQ-FKw.tsv.dev", "initial_request", "request", "no column 'initial_request'"),
        ("query_clarification/raocq", "raocq/askubuntu.com/qa_data.tsv", "q7\t", "question\t", "qa_data.tsv, header: no column 'q7'"),
        ("query_matching/msrp", "msrp/msr_paraphrase_test.txt", "#2 String", "String", "test.txt, header: no column '#2 String'"),
        ("query_suggestion/aol", "aol/user-ct-test-collection-01.txt", "QueryTime", "Time", "header: no column 'QueryTime'"),
        # a label outside the label set
        ("query_intent_classification/orcas_i", "orcas_i/ORCAS-I-gold.tsv", "Navigational", "Local", "gold.tsv, row 1: field 'label_manual' is 'Local', none of navigational"),
        ("query_intent_classification/orcas_i", "orcas_i/ORCAS-I-2M.tsv", "validation", "later", "2M.tsv, row 3: field 'data_split' is 'later'"),
        ("query_intent_classification/mantis", "mantis/merged_train_intents.json", '"PA"', '"XX"', r"17, utterances, row 2: field 'intent' has 'XX', none of OQ"),
        ("query_clarification/mimics", "mimics/MIMICS-Manual.tsv", "\t2\t2\t0\t", "\t2\t2\t9\t", "row 1: field 'option_label_3' is '9', none of 0, 1, 2"),
        ("query_matching/msrp", "msrp/msr_paraphrase_train.txt", "0\t102", "2\t102", "train.txt, row 2: field 'Quality' is '2', none of 1, 0"),
        # an empty target, or none
        ("query_expansion/query2doc", "query2doc/dev.jsonl", "Slate is often very old.", " ", "row 1: field 'pseudo_doc' is empty"),
        ("query_reformulation/qrecc", "qrecc/qrecc_test.json", "is tar toxic", "", "row 1: field 'Rewrite' is empty"),
        ("query_reformulation/canard", "canard/dev.json", "Did Bob Reed dance?", "", "dev.json, row 1: field 'Rewrite' is empty"),
        ("query_reformulation/gecor", "gecor/CamRest676_annotated.json", "What is the address of the Ladle?", "", r"dial, row 2, usr: field 'transcript_complete' is empty"),
        ("query_reformulation/codec", "codec/query_reformulations.txt", "railway freight cost", "", "row 3: field 'query' is empty"),
        ("query_reformulation/trec_cast", "trec_cast/evaluation_topics_annotated_resolved_v1.0.tsv", "31_2\tHow much does a loom cost?\n", "", r"turn, row 2: field 'manual_rewritten_utterance' is missing, and no resolved TSV file has the turn '31_2'"),
        ("query_clarification/clariq_fkw", "clariq_fkw/ClariQ-FKw.tsv.dev", "would you like a map", "", "dev, row 3: field 'question' is empty"),
        ("query_clarification/raocq", "raocq/askubuntu.com/qa_data.tsv", "which part 0 ?", "", "qa_data.tsv, row 1: field 'q1' is empty"),
        # other broken rows
        ("query_reformulation/codec", "codec/query_reformulations.txt", "economics-2", "economics-9", "row 5: field 'topic' is 'economics-9'"),
        ("query_clarification/raocq", "raocq/askubuntu.com/human_annotations", ",0,0 4,3", ",0,0 4", "row 1: field 'second' is 'edna_askubuntu_1,5,0,0 4', not set_site"),
        ("query_clarification/raocq", "raocq/askubuntu.com/human_annotations", ",2,2 4", ",12,2 4", "field 'first' names a question outside 0 to 9"),
        ("query_matching/msrp", "msrp/msr_paraphrase_test.txt", "\tDogs bark.", "", "test.txt, row 1: 4 cells where 5 columns are named"),
        ("query_suggestion/aol", "aol/user-ct-test-collection-01.txt", "2006-03-01 11:21:00", "1 March", "row 7: field 'QueryTime' is '1 March'"),
    ],
)  # fmt: skip
def test_bad_input_is_named(tmp_path, pair, name, old, new, message):
    with pytest.raises(DataError, match=message):
        edited(tmp_path, pair, name, lambda text: text.replace(old, new))


def test_a_site_without_one_of_its_files_is_refused():
    with pytest.raises(DataError, match="no file 'human_annotations' is listed"):
        examples(
            "query_clarification/raocq", files=["raocq/askubuntu.com/post_data.tsv", "raocq/askubuntu.com/qa_data.tsv"]
        )


# --- shared readers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("a/train.json", "train"),
        ("valid/part-0.tsv", "dev"),
        ("x_test.jsonl.gz", "test"),
        ("train_topics_v1.json", "train"),
    ],
)
def test_splits_are_read_from_names(tmp_path, name, split):
    assert tables.split_of_file(tmp_path / name) == split


def test_a_name_without_a_split_is_refused(tmp_path):
    with pytest.raises(DataError, match="latest.json: neither the file nor its folder names a split"):
        tables.split_of_file(tmp_path / "data/latest.json")
    assert tables.split_named("train_and_test") == "", "two splits are none"


def test_json_of_another_shape_is_refused(tmp_path):
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"data": {"a": 1}}), encoding="utf-8")
    with pytest.raises(DataError, match="x.json: expected a JSON list, found dict"):
        list(tables.json_rows(path))
    with pytest.raises(DataError, match="expected a JSON list under 'data', found dict"):
        list(tables.json_rows(path, "data"))
    path.write_text(json.dumps([{"a": [1]}, 5]), encoding="utf-8")
    with pytest.raises(DataError, match="row 1: field 'a' is a list, not a text"):
        next(tables.json_rows(path)).text("a")
    with pytest.raises(DataError, match="row 2: expected a JSON object, found int"):
        list(tables.json_rows(path))


def test_quoted_cells_may_hold_delimiters(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text('a,b\n"1,5","say ""hi"""\n', encoding="utf-8")
    (row,) = tables.table_rows(path, ("a", "b"), delimiter=",", quoted=True)
    assert (row.text("a"), row.text("b")) == ("1,5", 'say "hi"')


def test_latest_lines_are_whole_and_in_order():
    assert latest(["a b", "c d e", "f"], 4) == "c d e\nf"
    assert latest(["a b"], 1) == "" == latest([], 5)
