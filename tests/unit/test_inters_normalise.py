"""INTERS' normalisers on small files in the publishers' formats."""

import json

import pytest

from searchtune.collections.beir import Collection, Passage, Query
from searchtune.errors import DataError
from searchtune.tasks.example import detokenise, sentences, unique, window
from searchtune.tasks.normalise import coqa, disfl_qa, reranking, squad, trec_topics, trec_web, vitaminc, xsum

TOPICS = """<top>
<num> Number: 701

<title> Pearl farming

<desc> Description:
How are pearls farmed?

<narr> Narrative:
Relevant are methods of
pearl culture.

</top>
"""
WEB = """<webtrack2013>
<topic number="201" type="faceted">
  <query>raspberry pi</query>
  <description>What is a raspberry pi?</description>
  <subtopic number="1" type="inf">What is a raspberry pi?</subtopic>
  <subtopic number="2" type="nav">Find a picture of one.</subtopic>
  <subtopic number="3" type="inf">Who founded the foundation that sells it in shops?</subtopic>
</topic>
<topic number="202" type="single">
  <query>rules of golf</query>
  <description>What are the rules of golf?</description>
</topic>
</webtrack2013>
"""


def write(path, value):
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def test_sentences_keep_initials_and_titles_together():
    text = 'R. G. Day met Dr. Who. "Go!" In 1990 it ended.'
    assert [text[a:b] for a, b in sentences(text)] == ["R. G. Day met Dr. Who. ", '"Go!" ', "In 1990 it ended."]


def test_window_grows_around_the_span_and_never_cuts_a_sentence():
    text = "One two three. Four five six. Seven eight nine. Ten eleven."
    start = text.index("Seven")
    assert window(text, start, start + 5, 3) == "Seven eight nine."
    assert window(text, start, start + 5, 6) == "Four five six. Seven eight nine."
    assert window(text, start, start + 5, 8) == "Four five six. Seven eight nine. Ten eleven."
    assert window(text, start, start + 5, 2) is None


def test_detokenise_joins_what_a_tokeniser_set_apart():
    assert detokenise("the Earth ' s atmosphere , no sorry ?") == "the Earth's atmosphere, no sorry?"
    assert detokenise("Focus -LRB- film -RRB- ca n't win `` best '' film .") == 'Focus (film) can\'t win " best " film.'


def test_topics_once_a_title_and_long_narratives_left_out(tmp_path):
    again = TOPICS.replace("701", "1").replace("Pearl farming", "pearl  Farming")
    paths = [write(tmp_path / "a", TOPICS), write(tmp_path / "b", again)]
    (found,) = trec_topics.query_description(paths, "gov2", 10)
    assert found.id == "query_description/gov2/701" and found.article == "Pearl farming"
    assert found.fields == {"title": "Pearl farming"} and found.target == "Relevant are methods of pearl culture."
    assert list(trec_topics.query_description(paths, "gov2", 5)) == []
    (expanded,) = trec_topics.query_expansion(paths, "gov2", 10)
    assert expanded.target == "How are pearls farmed?"
    (written,) = trec_topics.query_generation(paths, "gov2", 10)
    assert (written.fields["passage"], written.target) == (found.target, "Pearl farming")


def test_web_topics_give_types_and_whole_subtopics(tmp_path):
    paths = [write(tmp_path / "web", WEB)]
    (kind,) = trec_web.query_type(paths, "trec_web", 50)
    assert kind.target == "faceted" and kind.labels == ("ambiguous", "faceted")
    types = [e.target for e in trec_web.subtopic_type(paths, "trec_web_subtopics", 50)]
    assert types == ["informational", "navigational", "informational"]
    (listed,) = trec_web.subtopics(paths, "trec_web", 12)
    assert listed.target == "1. What is a raspberry pi?\n2. Find a picture of one."
    assert listed.meta["items"] == ["What is a raspberry pi?", "Find a picture of one."]


def squad_file(tmp_path):
    questions = [("q1", "When did Day skate here?", "1900"), ("q2", "In which year did snow fall?", "1900")]
    qas = [{"id": i, "question": q, "answers": [{"text": a, "answer_start": 0}]} for i, q, a in questions]
    return write(
        tmp_path / "squad.json",
        {
            "data": [
                {
                    "title": "Ice_(Day)",
                    "paragraphs": [{"context": "In 1900, Day's skates broke; snow fell.", "qas": qas}],
                }
            ]
        },
    )


def test_disfluent_questions_join_their_original_by_passage_answer_and_words(tmp_path):
    context = "In 1900 , Day ' s skates broke ; snow fell ."
    rows = [
        ("When did snow no Day skate here ?", "1900"),
        ("Who um broke it ?", "unknown"),
        ("When did Day skate here ?", "1900"),
        ("Which king um no queen reigned ?", "1900"),
    ]
    disfl = write(
        tmp_path / "disfl.json", {"examples": [{"input": f"{q}  \ncontext: {context} ", "target": a} for q, a in rows]}
    )
    (found,) = disfl_qa.query_reformulation([disfl, squad_file(tmp_path)], "disfl_qa", 20)
    assert found.fields["query"] == "When did snow no Day skate here?"
    assert found.target == "When did Day skate here?"
    assert found.article == "ice (day)", "the article must be SQuAD's, so that both data sets split alike"


def test_disfluent_form_without_context_is_refused(tmp_path):
    bad = write(tmp_path / "disfl.json", {"examples": [{"input": "no context", "target": "x"}]})
    with pytest.raises(DataError, match=r"disfl.json, example 0: 'input' is not of the form"):
        list(disfl_qa.query_reformulation([bad, squad_file(tmp_path)], "disfl_qa", 20))


def test_vitaminc_gives_page_evidence_and_label(tmp_path):
    row = {
        "input": "Lee Evans -LRB-comedian-RRB-: He acts .\nClaim: Evans acts .",
        "target_scores": {"True": 1, "False": 0, "Neither": 0},
    }
    path = write(tmp_path / "v.json", {"examples": [row]})
    (found,) = vitaminc.fact_verification([path], "vitaminc", 20)
    assert found.article == "Lee Evans (comedian)" and found.target == "supported"
    assert found.fields == {"claim": "Evans acts.", "evidence": "Lee Evans (comedian): He acts."}
    row["target_scores"]["False"] = 1
    with pytest.raises(DataError, match="one true label"):
        list(vitaminc.fact_verification([write(path, {"examples": [row]})], "vitaminc", 20))


def test_xsum_cuts_the_story_to_its_opening(tmp_path):
    path = write(tmp_path / "x.json", {"examples": [{"input": "a b\nc d", "target": "s", "comment": "xsum-1"}]})
    (found,) = xsum.summarization([path], "xsum", 3)
    assert found.fields["article"] == "a b c" and found.article == "xsum story xsum-1"


def test_coqa_turn_has_history_and_the_sentences_of_its_span(tmp_path):
    story = "Ann has a goat. It ate hay. Then it slept."
    turns = [("Who has it?", "Ann", 0, 3), ("What?", "a goat", 8, 14), ("What did it eat?", "hay", 23, 26)]
    data = {
        "source": "wikipedia",
        "id": "s1",
        "filename": "Goat_farm.txt",
        "story": story,
        "questions": [{"input_text": q, "turn_id": i} for i, (q, *_) in enumerate(turns, 1)],
        "answers": [
            {"input_text": a, "span_start": s, "span_end": e, "span_text": story[s:e], "turn_id": i}
            for i, (_, a, s, e) in enumerate(turns, 1)
        ],
        "additional_answers": {"0": [{"input_text": "x"}, {"input_text": "y"}, {"input_text": "some  hay"}]},
    }
    path = write(tmp_path / "c.json", {"data": [data]})
    (found,) = coqa.conversational_qa([path], "coqa", 3)
    assert found.fields == {
        "passage": "It ate hay.",
        "question": "What did it eat?",
        "history": "Q: Who has it?\nA: Ann\nQ: What?\nA: a goat",
    }
    assert (found.target, found.references, found.article) == ("hay", ("some hay",), "Goat_farm")
    chapters = [coqa.article_of({"source": "gutenberg", "filename": f"txt/A___Book.txt/CHAPTER {n}"}) for n in "12"]
    assert chapters[0] == chapters[1], "chapters of one book must share a split"


def collection():
    corpus = {
        f"p{i}": Passage("", text)
        for i, text in enumerate(
            ["Cats purr at night. Dogs bark.", "Cows moo. Their milk is white.", "Fish swim in rivers."]
        )
    }
    asked = [
        ("q0", "When do cats purr?", "night", "p0", "train"),
        ("q1", "Who barks?", "Dogs", "p0", "train"),
        ("q2", "What is white?", "milk", "p1", "train"),
        ("q3", "Where do fish swim?", "rivers", "p2", "test"),
    ]
    queries = {
        i: Query(text, metadata={"split": s, "article": f"article {p}", "answers": [a]}) for i, text, a, p, s in asked
    }
    return Collection(corpus, queries, {i: {p: 1} for i, _, _, p, _ in asked})


def test_squad_pairs_keep_the_answer_in_a_short_window():
    found = {e.id: e for e in squad.query_generation(collection(), "squad", 4)}
    first = found["query_generation/squad/q0"]
    assert first.fields["passage"] == "Cats purr at night." and first.target == "When do cats purr?"
    assert first.references == ("Who barks?",) and first.meta == {"passage_id": "p0"}
    (answer,) = [e for e in squad.reading_comprehension(collection(), "squad", 4) if e.id.endswith("/q1")]
    assert answer.fields == {"question": "Who barks?", "passage": "Dogs bark."} and answer.target == "Dogs"


def test_training_pairs_take_negatives_from_trained_articles_alone():
    run = {"q0": [("p2", 3.0), ("p0", 2.0), ("p1", 1.0)], "q2": [("p1", 2.0), ("p2", 1.0)], "q3": [("p2", 1.0)]}
    found = list(reranking.training_pairs(collection(), run, "squad", 50, "train", {"p0", "p1"}, 0))
    assert [(e.meta["passage_id"], e.target, e.meta["rank"]) for e in found] == [("p0", "yes", 2), ("p1", "no", 3)]
    test = list(reranking.candidates(collection(), run, "squad", 2, ["q3"], 5))
    assert [(e.fields["passage"], e.target, e.meta["grade"]) for e in test] == [("Fish swim", "yes", 1)]
    (argued,) = reranking.candidates(collection(), run, "squad", 2, ["q3"], 5, "argument_retrieval")
    assert (argued.task, argued.id) == ("argument_retrieval", "argument_retrieval/squad/q3/p2")
    with pytest.raises(DataError, match="BM25 run lacks query 'q1'"):
        list(reranking.candidates(collection(), run, "squad", 2, ["q1"], 5))


def test_duplicate_ids_and_empty_fields_are_refused(tmp_path):
    (found,) = trec_topics.query_expansion([write(tmp_path / "a", TOPICS)], "gov2", 10)
    with pytest.raises(DataError, match="here: duplicate example id 'query_expansion/gov2/701'"):
        list(unique([found, found], "here"))


def test_a_generated_sentence_becomes_a_writer_s_example_only_if_it_holds_the_question(tmp_path):
    from searchtune.tasks.normalise import gar

    questions = ["who built the old mill", "where is the bridge", "when did the boat sink", "why is the sky blue"]
    sentences = [
        "The old mill was built by Ada Byron in the year 1840 .",  # built, old, mill: all three
        "It lies far to the north of the small town of Ingen .",  # no bridge
        "The boat sank .",  # too short
        "The sky is blue because  ⁇  light is scattered most by the air .",  # a character that the generator lost
    ]
    lines = [f"{i}\t{q} {s}" for i, (q, s) in enumerate(zip(questions, sentences, strict=True))]
    (tmp_path / "q.txt").write_text("".join(f"{q}\t['x']\n" for q in questions), encoding="utf-8")
    (tmp_path / "s.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = list(gar.query_generation([tmp_path / "q.txt", tmp_path / "s.tsv"], "gar_nq", 40))
    assert [(e.id, e.fields["passage"], e.target) for e in found] == [
        ("query_generation/gar_nq/0", "The old mill was built by Ada Byron in the year 1840.", "who built the old mill")
    ]
    with pytest.raises(DataError, match="expected two files, questions and sentences, not 1"):
        list(gar.query_generation([tmp_path / "q.txt"], "gar_nq", 40))
