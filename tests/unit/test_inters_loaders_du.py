"""Loaders of the document-understanding data sets on small files in the publishers' formats (invented content)."""

import gzip
import json
import shutil

import pytest
import yaml
from helpers import ROOT

from searchtune.collections.sources import read_beir
from searchtune.collections.splits import normalise_article
from searchtune.config.inters_pairs import FILE_SOURCES, RANKING_TASKS
from searchtune.errors import DataError
from searchtune.registry.table import load_registry
from searchtune.tasks.example import unique
from searchtune.tasks.inventory import TASKS, spec_of
from searchtune.tasks.macro import macro_rows
from searchtune.tasks.normalise import fever, scifact
from searchtune.tasks.pairs import FILE_NORMALISERS
from searchtune.tasks.scoring import Scores, copied, label_scores
from searchtune.tasks.tabulate import Statistics, System

FIXTURES = ROOT / "tests/fixtures/inters"
# pair -> fixture files in the order of the configuration; beside each, where the publisher's schema was confirmed
FILES = {
    # fever.ai/dataset/fever.html; huggingface/datasets 040102f, datasets/fever/README.md (wiki_pages)
    "fact_verification/fever": ["fever/train.jsonl", "fever/shared_task_dev.jsonl", "fever/wiki-pages"],
    # allenai/scifact 04816e2, doc/data.md; the release at hand writes REFUTE for CONTRADICT
    "fact_verification/scifact": ["scifact/claims_train.jsonl", "scifact/claims_dev.jsonl", "scifact/corpus.jsonl"],
    # huggingface/datasets 328472e, datasets/climate_fever/climate_fever.py
    "fact_verification/climate_fever": ["climate_fever/climate-fever.jsonl"],
    # huggingface/datasets 02bb18c, datasets/cnn_dailymail/cnn_dailymail.py
    "summarization/cnn_dm": [
        *("cnn_dm/cnn/stories", "cnn_dm/dailymail/stories"),
        *("cnn_dm/url_lists/all_train.txt", "cnn_dm/url_lists/all_val.txt"),
    ],
    # awslabs/open-data-registry, datasets/wikisum.yaml; columns on the hub: d0rj/wikisum
    "summarization/wikisum": ["wikisum/WikiSumDataset.jsonl"],
    # huggingface/datasets 02bb18c, datasets/multi_news/multi_news.py
    "summarization/multi_news": [
        *("multi_news/train.src.cleaned", "multi_news/train.tgt"),
        *("multi_news/val.src.cleaned", "multi_news/val.tgt"),
    ],
    # hotpotqa/hotpot 02493f6, README.md
    "reading_comprehension/hotpotqa": [
        "hotpotqa/hotpot_train_v1.1.json",
        "hotpotqa/hotpot_dev_distractor_v1.json",
    ],
    # microsoft/MSMARCO-Question-Answering 2ee516f, README.md; huggingface/datasets 02bb18c, datasets/ms_marco/ms_marco.py
    "reading_comprehension/msmarco": ["msmarco/train_v2.1.json", "msmarco/dev_v2.1.json.gz"],
    # mandarjoshi90/triviaqa b2c0046, samples/triviaqa_sample.json
    "reading_comprehension/triviaqa": ["triviaqa/wikipedia-train.json", "triviaqa/wikipedia"],
    # topics-and-qrels/topics.dpr.trivia.*.txt of Anserini, as in the package
    "reading_comprehension/triviaqa_closed": [
        *("triviaqa_closed/topics.dpr.trivia.dev.txt", "triviaqa_closed/topics.dpr.trivia.test.txt"),
    ],
    # google-research-datasets/boolean-questions 90af341, README.md
    "reading_comprehension/boolq": ["boolq/train.jsonl", "boolq/dev.jsonl"],
    # columns as used with THUDM/webglm-qa of the hub; its card was not at hand
    "reading_comprehension/webglm_qa": ["webglm_qa/train.jsonl", "webglm_qa/validation.jsonl"],
    # huggingface/datasets 2e472a9, datasets/quac/quac.py
    "conversational_qa/quac": ["quac/train_v0.2.json", "quac/val_v0.2.json"],
}
FIELDS = {
    "fact_verification": {"claim", "evidence"},
    "summarization": {"article"},
    "reading_comprehension": {"passage", "question"},
    "conversational_qa": {"passage", "history", "question"},
}


def load(pair, max_words=60, root=FIXTURES):
    task, dataset = pair.split("/")
    return list(unique(FILE_NORMALISERS[task][dataset]([root / f for f in FILES[pair]], dataset, max_words), pair))


@pytest.mark.parametrize("pair", FILES)
def test_every_loader_keeps_the_contract_of_its_task(pair):
    task, dataset = pair.split("/")
    found = load(pair)
    wanted = {"question"} if dataset == "triviaqa_closed" else FIELDS[task]
    assert found and all(set(e.fields) == wanted for e in found)
    assert all((e.task, e.dataset) == (task, dataset) and e.article and e.id.startswith(pair + "/") for e in found)
    labels = spec_of(task, dataset).kind == "label"
    assert all(bool(e.labels) == labels and (not labels or e.target in e.labels) for e in found)
    assert dataset == "climate_fever" or len({e.split for e in found}) == 2 or dataset == "triviaqa"


def test_new_data_sets_are_the_ones_with_a_fixture():
    known = {"vitaminc", "xsum", "coqa"}
    pairs = {f"{t}/{d}" for t in FIELDS for d in FILE_SOURCES.get(t, {}) if d not in known}
    assert pairs == set(FILES)


def test_sources_and_licences_of_the_configuration():
    sources = yaml.safe_load((ROOT / "config/papers/inters.yaml").read_text())["inters"]["sources"]
    for name in (pair.split("/")[1] for pair in FILES):
        assert sources[name]["raw"] and sources[name]["licence"], name
        for path in sources[name]["raw"]:
            load_registry().artefact(path.split("/")[0])


# --- fact verification --------------------------------------------------------------------------------------


def test_fever_joins_the_first_evidence_set_that_is_there():
    first, second, dev = load("fact_verification/fever")
    # the first set names a lost page, the second is in the order of the page; brackets and blanks are restored
    assert first.fields == {
        "claim": "Lumo is a town on a lake.",
        "evidence": "Lumo (town): Lumo is a town. It lies on Lake Orn (cold).",
    }
    assert (first.target, first.labels, first.split) == ("support", ("support", "refute"), "train")
    assert first.article == "Lumo (town)" == dev.article and dev.split == "dev"
    # the claim's page name is composed, the page's own is not; the claim without evidence is left out
    assert second.fields["evidence"] == "Zoé Ara: She wrote novels. Lumo (town): Lumo is a town."
    assert (second.id, second.target) == ("fact_verification/fever/3", "refute")
    assert len(load("fact_verification/fever", 11)) == 2, "evidence of 12 words must be left out, not cut"


def test_fever_titles_agree_with_those_of_other_wikipedia_data():
    assert normalise_article(fever.title_of("Focus_-LRB-film-RRB-")) == "focus (film)"
    assert fever.title_of("Star_Trek-COLON-_Nemesis") == "Star Trek: Nemesis"


def test_scifact_takes_the_rationales_of_each_abstract():
    found = {e.id.rsplit("/", 1)[1]: e for e in load("fact_verification/scifact")}
    assert set(found) == {"1-100", "1-200", "3-300", "4-200"}
    first = found["1-100"]
    assert first.fields["evidence"] == "Light and moss: Under green light it grew less. The effect was strong."
    assert [found[i].target for i in found] == ["support", "refute", "refute", "support"]
    assert [found[i].split for i in found] == ["train", "train", "dev", "dev"]
    # claim 1 rests on two abstracts, claim 4 on one of them: none may straddle the splits
    assert first.article == found["1-200"].article == found["4-200"].article != found["3-300"].article


def test_linked_groups_merge():
    assert scifact.linked([["b"], ["c", "d"], ["b", "d"], ["e"]]) == {"b": "b", "c": "b", "d": "b", "e": "e"}


def test_climate_fever_has_four_labels_and_all_evidence():
    disputed, unknown = load("fact_verification/climate_fever")
    assert disputed.fields["evidence"] == "Orn glacier: It grew in 2001.\nGlaciers: Orn glacier shrank later."
    assert (disputed.target, unknown.target) == ("disputed", "not enough information")
    assert disputed.labels == ("support", "refute", "disputed", "not enough information") and disputed.split == ""


# --- summarization ------------------------------------------------------------------------------------------


def test_cnn_dm_separates_story_and_highlights():
    first, dev = load("summarization/cnn_dm", 7)
    assert first.fields["article"] == "(CNN) -- A goat climbed the town"
    assert first.target == "Goat climbs town hall. Nobody was hurt."
    assert (first.split, dev.split, dev.target) == ("train", "dev", "Lake Orn freezes.")
    assert first.article == f"cnn_dm story {first.id.rsplit('/', 1)[1]}" != dev.article


def test_wikisum_follows_its_fold():
    first, dev = load("summarization/wikisum", 4)
    assert (first.fields["article"], first.target) == ("Buy hay first. Then", "Give the goat hay and water.")
    assert (first.article, first.split, dev.split) == ("https://www.wikihow.com/Feed-a-Goat", "train", "dev")


def test_multi_news_shares_the_words_among_its_documents():
    first, dev = load("summarization/multi_news", 8)
    assert first.fields["article"] == "First text on the\n\nSecond text on it"
    assert first.target == "A fire burned in Lumo, and nobody was hurt." and dev.fields["article"] == "One text alone."
    whole = load("summarization/multi_news", 60)[0].fields["article"]
    assert whole == "First text on the fire. It burned.\n\nSecond text on it here."


# --- reading comprehension ----------------------------------------------------------------------------------


def test_hotpotqa_reads_the_supporting_paragraphs():
    first, dev = load("reading_comprehension/hotpotqa")
    assert first.fields["passage"] == (
        "Zoé Ara: Zoé Ara was born in Lumo. She wrote.\nLumo: Lumo is a town. It lies on Lake Orn."
    )
    assert (first.target, first.article, first.split) == ("Lake Orn", "Zoé Ara", "train")
    assert (dev.target, dev.split) == ("yes", "dev")
    short = load("reading_comprehension/hotpotqa", 14)[0].fields["passage"]
    assert short == "Zoé Ara: Zoé Ara was born in Lumo.\nLumo: It lies on Lake Orn."
    assert len(load("reading_comprehension/hotpotqa", 8)) == 1


def test_msmarco_keeps_answered_questions_with_their_judged_passages():
    first, dev = load("reading_comprehension/msmarco")
    assert first.fields == {"question": "what do goats eat", "passage": "Goats eat hay."}
    assert (first.target, first.references) == ("Goats eat hay.", ("They eat hay.",))
    assert (first.id, first.article) == ("reading_comprehension/msmarco/1001", "http://a.example/2")
    assert (dev.target, dev.split) == ("Orn", "dev")


def test_triviaqa_finds_an_alias_and_closed_book_shares_its_split():
    (found,) = load("reading_comprehension/triviaqa", 10)
    assert found.fields == {
        "question": "Which lake is by Lumo?",
        "passage": "The town lies on orn lake in the north.",
    }
    assert (found.target, found.references, found.split) == ("Lake Orn", ("Orn Lake",), "train")
    same, quoted, test = load("reading_comprehension/triviaqa_closed")
    assert same.fields == {"question": "Which lake is by Lumo?"} and same.article == found.article
    assert (quoted.fields["question"], quoted.target) == ('Who said "no" to Ara?', "Ann Other")
    assert quoted.references == ("Ann's aunt",) and (same.split, test.split) == ("dev", "test")


def test_boolq_is_scored_as_labels_beside_the_answers_of_its_task():
    found = load("reading_comprehension/boolq", 10)
    assert [(e.target, e.article, e.split) for e in found] == [("true", "Lumo", "train"), ("false", "Ice", "dev")]
    spec = spec_of("reading_comprehension", "boolq")
    assert (spec.kind, spec.main, spec.metrics, spec.baseline) == (
        *("label", "accuracy"),
        *(("accuracy", "weighted F1"), "majority"),
    )
    scores = Scores()
    rows = [{"id": e.id, "target": e.target} for e in found]
    label_scores(scores, ("reading_comprehension", "boolq"), rows, ["true", "true"])
    assert list(scores.values["reading_comprehension", "boolq"]["accuracy"].values()) == [1.0, 0.0]


def test_webglm_numbers_its_references():
    first, dev = load("reading_comprehension/webglm_qa", 6)
    assert first.fields["passage"] == "[1] Goats look for\n[2] Wolves do not" and dev.split == "dev"
    assert first.target == "Goats climb to find food[1] and to be safe[2]."
    spec = spec_of("reading_comprehension", "webglm_qa")
    assert spec.kind == "text" and spec.metrics == ("ROUGE-L", "BLEU-1", "BLEU-2") and spec.main == "ROUGE-L"


def test_closed_book_copies_the_question():
    row = {
        "task": "reading_comprehension",
        "dataset": "triviaqa_closed",
        "fields": load("reading_comprehension/triviaqa_closed")[0].fields,
    }
    assert copied(row) == "Which lake is by Lumo?"


def test_quac_turn_has_history_and_the_sentences_of_its_answer():
    first, later, dev = load("conversational_qa/quac", 5)
    assert first.fields == {
        "passage": "She wrote novels there.",
        "question": "What did she write?",
        "history": "Q: Where was she born?\nA: Ara was born in Lumo.\nQ: Did she marry?\nA: CANNOTANSWER",
    }
    assert (first.target, first.references, first.article) == ("novels", ("She wrote novels there.",), "Zoé Ara")
    # the mark for questions without an answer ends the section, and is no part of it
    assert (later.target, later.fields["passage"]) == ("at sea.", "She died at sea.")
    assert (first.split, dev.split, dev.target) == ("train", "dev", "Orn")


# --- bad input ----------------------------------------------------------------------------------------------


def changed(tmp_path, name, old, new):
    """Copy the fixtures with one replacement in one file."""
    shutil.copytree(FIXTURES, tmp_path, dirs_exist_ok=True)
    path = tmp_path / name
    packed = path.name.endswith(".gz")
    text = gzip.decompress(path.read_bytes()).decode() if packed else path.read_text(encoding="utf-8")
    assert old in text, f"{name} has no {old!r}"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return tmp_path


BAD = [
    ("fact_verification/fever", "fever/train.jsonl", '"claim": "Lumo is', '"clam": "Lumo is', r"train.jsonl, row 1: no field 'claim'"),
    ("fact_verification/fever", "fever/train.jsonl", "SUPPORTS", "MAYBE", r"train.jsonl, row 1: field 'label' is 'MAYBE'"),
    ("fact_verification/fever", "fever/shared_task_dev.jsonl", "town-RRB-\", 2", "town-RRB-\", 7", r"dev.jsonl, row 1: field 'evidence' names sentence 7 of page 'Lumo_-LRB-town-RRB-', which wiki-pages lacks"),
    ("fact_verification/fever", "fever/wiki-pages/wiki-002.jsonl", '"id": "Zoe', '"id": "Zoo', r"train.jsonl, row 3: field 'evidence' names sentence 1 of page 'Zoé_Ara'"),
    ("fact_verification/fever", "fever/train.jsonl", '[[[12, null, null, null]]]', '[]', None),
    ("fact_verification/fever", "fever/train.jsonl", '[13, 23, "Zoé_Ara", 1]', '["Zoé_Ara", 1]', r"row 3: field 'evidence' is not a list of sets"),
    ("fact_verification/scifact", "scifact/corpus.jsonl", '"doc_id": 300', '"doc_id": 301', r"claims_dev.jsonl, row 1: field 'evidence' names document '300', which the corpus lacks"),
    ("fact_verification/scifact", "scifact/claims_dev.jsonl", "CONTRADICT", "DENY", r"claims_dev.jsonl, row 1, evidence, 300, row 1: field 'label' is 'DENY'"),
    ("fact_verification/scifact", "scifact/claims_dev.jsonl", '"sentences": [0]', '"sentences": [4]', r"names sentences \[4\] of document '300', which has 1"),
    ("fact_verification/scifact", "scifact/claims_train.jsonl", '"sentences": [1], "label": "SUPPORT"', '"sentences": [1], "label": "REFUTE"', r"row 1: field 'evidence' has rationales of both labels"),
    ("fact_verification/climate_fever", "climate_fever/climate-fever.jsonl", '"claim_label": "DISPUTED"', '"claim_label": "TRUE"', r"climate-fever.jsonl, row 1: field 'claim_label' is 'TRUE'"),
    ("fact_verification/climate_fever", "climate_fever/climate-fever.jsonl", '"evidence": "The lake is deep."', '"evidence": " "', r"row 2, evidences, row 1: field 'evidence' is empty"),
    ("summarization/cnn_dm", "cnn_dm/url_lists/all_val.txt", "/two", "/three", r"all_val.txt, row 1: field 'address' names story \w{40}.story, which is in none of"),
    ("summarization/wikisum", "wikisum/WikiSumDataset.jsonl", '"fold": "dev"', '"fold": "other"', r"row 2: field 'fold' is 'other', none of"),
    ("summarization/wikisum", "wikisum/WikiSumDataset.jsonl", "Take small steps.", " ", r"WikiSumDataset.jsonl, row 2: field 'summary' is empty"),
    ("summarization/multi_news", "multi_news/val.tgt", "– One summary.", "–", r"val.tgt, row 1: field 'summary' is empty"),
    ("summarization/multi_news", "multi_news/val.src.cleaned", "One text alone.", "|||||", r"val.src.cleaned, row 1: field 'documents' is empty"),
    ("summarization/multi_news", "multi_news/val.tgt", "– One summary.", "– One.\n– Two.", r"val.src.cleaned has 1 rows, .*val.tgt has 2"),
    ("reading_comprehension/hotpotqa", "hotpotqa/hotpot_train_v1.1.json", '"Lake Orn"', '" "', r"hotpot_train_v1.1.json, row 1: field 'answer' is empty"),
    ("reading_comprehension/hotpotqa", "hotpotqa/hotpot_dev_distractor_v1.json", '"Sheep",\n    0', '"Wolf",\n    0', r"row 1: field 'supporting_facts' names 'Wolf', which the context lacks"),
    ("reading_comprehension/msmarco", "msmarco/train_v2.1.json", '"answers"', '"answer"', r"train_v2.1.json: no column 'answers'"),
    ("reading_comprehension/msmarco", "msmarco/train_v2.1.json", '"Nine."', '" "', r"train_v2.1.json, row 3: field 'answers' is empty"),
    ("reading_comprehension/triviaqa", "triviaqa/wikipedia-train.json", '"Filename": "Lumo.txt",\n     "LinkProbability": "0.1",\n     "Rho": "0.2",\n     "Title": "Lumo"\n    }\n   ],\n   "Question": "Who', '"Filename": "Gone.txt"}], "Question": "Who', r"row 2: field 'EntityPages' names 'Gone.txt', which is in none of"),
    ("reading_comprehension/triviaqa", "triviaqa/wikipedia-train.json", '"Value": "Lake Orn"', '"Value": ""', r"row 1, Answer: field 'Value' is empty"),
    ("reading_comprehension/triviaqa_closed", "triviaqa_closed/topics.dpr.trivia.test.txt", "['Hay']", "[]", r"test.txt, row 1: field 'answers' is not a list of texts, or is empty"),
    ("reading_comprehension/triviaqa_closed", "triviaqa_closed/topics.dpr.trivia.test.txt", "['Hay']", "Hay", r"field 'answers' is not a list in Python's notation"),
    ("reading_comprehension/triviaqa_closed", "triviaqa_closed/topics.dpr.trivia.test.txt", "\t['Hay']", "", r"test.txt, row 1: 1 cells where 2 columns"),
    ("reading_comprehension/boolq", "boolq/train.jsonl", '"answer": false', '"answer": "no"', r"train.jsonl, row 2: field 'answer' is 'no', none of true, false"),
    ("reading_comprehension/webglm_qa", "webglm_qa/train.jsonl", '"Goats look for food on cliffs."', '""', r"train.jsonl, row 1: field 'references' holds an empty reference"),
    ("conversational_qa/quac", "quac/val_v0.2.json", '"text": "Orn",\n        "answer_start": 65', '"text": "Orn",\n        "answer_start": 64', r"val_v0.2.json, row 1, paragraphs, row 1, qas, row 3, orig_answer: field 'answer_start' is 64"),
    ("conversational_qa/quac", "quac/val_v0.2.json", '"title": "Zoé Ara"', '"titel": "Zoé Ara"', r"row 1: no field 'title'; did you mean 'titel'"),
]  # fmt: skip


@pytest.mark.parametrize(("pair", "name", "old", "new", "message"), BAD)
def test_bad_input_is_refused_by_file_row_and_field(tmp_path, pair, name, old, new, message):
    root = changed(tmp_path, name, old, new)
    if message is None:
        assert load(pair, root=root), "claims without evidence are left out before their evidence is read"
        return
    with pytest.raises(DataError, match=message):
        load(pair, root=root)


def test_a_story_without_highlight_is_refused(tmp_path):
    shutil.copytree(FIXTURES / "cnn_dm", tmp_path / "cnn_dm")
    for path in (tmp_path / "cnn_dm/dailymail/stories").iterdir():
        path.write_text("A lake froze early.\n\n@highlight\n\n")
    with pytest.raises(DataError, match=r"\w{40}.story, row 1: field '@highlight' is empty"):
        load("summarization/cnn_dm", root=tmp_path)


def test_forgotten_files_are_named():
    with pytest.raises(DataError, match="is the folder of FEVER's wiki-pages"):
        list(fever.fact_verification([FIXTURES / "fever/train.jsonl"], "fever", 60))
    with pytest.raises(DataError, match=r"is SciFact's corpus.jsonl"):
        list(scifact.fact_verification([FIXTURES / "scifact/claims_dev.jsonl"], "scifact", 60))
    multi_news = FILE_NORMALISERS["summarization"]["multi_news"]
    with pytest.raises(DataError, match=r"no file of summaries \(val.tgt\)|no file of summaries \(dev.tgt\)"):
        list(multi_news([FIXTURES / "multi_news/val.src.cleaned"], "multi_news", 60))


# --- ranking ------------------------------------------------------------------------------------------------


def test_ranking_tasks_share_one_form():
    assert len(RANKING_TASKS) == 8 and {t for t, s in TASKS.items() if s.kind == "ranking"} == set(RANKING_TASKS)
    assert all(TASKS[t].category == "QDU" and TASKS[t].baseline == "bm25" for t in RANKING_TASKS)


def test_rankings_of_the_configuration_are_the_15_data_sets_with_their_collections():
    rankings = yaml.safe_load((ROOT / "config/papers/inters.yaml").read_text())["inters"]["rankings"]
    collections = yaml.safe_load((ROOT / "config/collections.yaml").read_text())["collections"]
    assert set(rankings) == set(RANKING_TASKS) and sum(map(len, rankings.values())) == 15
    named = [c for sets in rankings.values() for ids in sets.values() for c in ids]
    assert len(named) == len(set(named)) == 26 and all(collections[c]["reader"] == "beir" for c in named)
    assert len(rankings["duplicate_question_retrieval"]["cqadupstack"]) == 12


def test_forums_are_read_as_collections_of_their_own():
    source = read_beir([FIXTURES / "beir/android"], "cqadupstack_android")
    (question,) = source.questions.values()
    assert (question.relevant, question.split) == ({"d1": 1}, "test")


def test_macro_mean_counts_every_forum_once():
    task = "duplicate_question_retrieval"
    values = {
        (task, "a"): {"nDCG@10": {"q1": 1.0, "q2": 1.0, "q3": 1.0}},
        (task, "b"): {"nDCG@10": {"q1": 0.0}},
        (task, "quora"): {"nDCG@10": {"q1": 0.5}},
    }
    system = System("bm25", runs=[Scores(values=values)])
    rankings = {task: {"quora": ["quora"], "cqadupstack": ["a", "b"], "other": ["a", "lost"]}}
    (row,) = macro_rows([system], Statistics(0, 100, 1000, 0.95), rankings)
    # 3/4 over queries, 1/2 over forums; a data set with a missing forum has no mean
    assert (row["dataset"], row["value"], row["n"]) == ("cqadupstack", 0.5, 4)
    assert row["task"] == "duplicate question retrieval" and row["metric"] == "nDCG@10, mean of 2"


def test_json_fixtures_are_whole():
    for path in FIXTURES.rglob("*.jsonl"):
        for line in path.read_text(encoding="utf-8").splitlines():
            json.loads(line)
