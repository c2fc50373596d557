"""UDAPDR's synthesis: prompts, cleaning, demonstrations, passages by seed, filter, configuration."""

import random

import pytest
from helpers import ROOT
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from searchtune.collections.beir import Collection, Passage, Query
from searchtune.config.udapdr import FilterStage, Udapdr, settings_of
from searchtune.errors import ConfigError, DataError
from searchtune.prompts.templates import load_templates
from searchtune.reranking.teachers import released_tuple_queries
from searchtune.synthesis.cleaning import (
    Rules,
    clean_answer,
    deduplicate,
    grounding,
    overlap,
    refusal,
    released_same_question,
    same_question,
)
from searchtune.synthesis.udapdr_arguments import model_path, reranker_args
from searchtune.synthesis.udapdr_faults import FAULTS, active_faults, faults_of
from searchtune.synthesis.udapdr_filter import (
    candidates_of,
    fuse,
    misread,
    part_of,
    pass_rates,
    passes,
    rank_of,
    released_lists,
)
from searchtune.synthesis.udapdr_prompts import Checks, choose_demonstrations, released_demonstrations
from searchtune.synthesis.udapdr_scale_up import clean, inpars_prompts, plan_calls, scale_up_prompt, synthesis_rows
from searchtune.synthesis.udapdr_seed import bad_prompt, first_good, question_prompt, written
from searchtune.synthesis.udapdr_writer import draw, sampling_of, seed_of

SEED = load_templates(ROOT / "workflow/prompts/udapdr/seed.yaml")
SCALE_UP = load_templates(ROOT / "workflow/prompts/udapdr/scale_up.yaml")
DEMONSTRATIONS = [
    {"source": f"d{n}", "passage": f"Passage {n}.", "good": f"Why {n}?", "bad": f"What {n}?"} for n in "12"
]

GOLDEN_VANILLA = """\
Passage: Sourdough rises without baker's yeast. A starter of flour and water, fed every day, gathers wild yeast and \
lactic acid bacteria, and after about a week it is strong enough to lift a loaf.
Search query: Is bread good?
Passage: The bar-tailed godwit flies from Alaska to New Zealand without a stop. One bird with a satellite tag covered \
more than 12,000 kilometres in eleven days, and lost almost half of its weight on the way.
Search query: What do birds do?
Passage: A heat pump moves warmth from outside air into a house. Because it moves heat instead of making it, one unit \
of electricity brings in about three units of warmth; in hard frost the ratio falls.
Search query: What is a house?
Passage: A {kettle}.
Search query:"""

GOLDEN_SCALE_UP = """\
Example 1
Passage: Passage 1.
Good question: Why 1?
Bad question: What 1?

Example 2
Passage: Passage 2.
Good question: Why 2?
Bad question: What 2?

Example 3
Passage: A {kettle}.
Good question:"""

GOLDEN_INSTRUCTION = """\
Write a search query that a given text answers.

Passage: Passage 1.
Write a question that this passage answers.
Bad question: What 1?
Good question: Why 1?

Passage: Passage 2.
Write a question that this passage answers.
Bad question: What 2?
Good question: Why 2?

Passage: A {kettle}.
Write a question that this passage answers.
Good question:"""


GOLDEN_INPARS = """\
Example 1
Document: Old paint on window frames may hold lead. Do not sand it dry: the dust settles on floors and toys, where \
small children swallow it. Wet the surface, scrape it, and wipe up with a damp cloth.
Relevant query: How do I remove old lead paint safely?

Example 2
Document: A ferry crosses the strait every forty minutes from six in the morning until midnight. Cars must be in the \
queue a quarter of an hour before departure; walkers can board until the ramp goes up.
Relevant query: ferry timetable and check-in time for cars

Example 3
Document: The octopus has three hearts. Two pump blood through the gills, the third through the rest of the body; it \
stops while the animal swims, which is why an octopus would rather crawl.
Relevant query: Why do octopuses prefer crawling to swimming?

Example 4
Document: A {kettle}.
Relevant query:"""


def test_stage_1_prompts_are_the_golden_ones():
    assert question_prompt(SEED, "vanilla", "A {kettle}.") == GOLDEN_VANILLA
    assert question_prompt(SEED, "write", "A {kettle}.") == (
        "Write a question that is answered by this passage.\n\nPassage: A {kettle}.\n\nQuestion:"
    )
    guided = question_prompt(SEED, "guided", "A {kettle}.")
    assert guided.count("Good question:") == 4 and guided.count("Bad question:") == 3
    assert guided.endswith("Example 4\nPassage: A {kettle}.\nGood question:")
    bad = bad_prompt(SEED, "A {kettle}.", "Why a kettle?")
    assert bad.endswith("Passage: A {kettle}.\nGood question: Why a kettle?\nBad question:")


def test_corpus_adapted_prompts_are_the_golden_ones():
    assert scale_up_prompt(SCALE_UP, "good_and_bad", DEMONSTRATIONS, "A {kettle}.") == GOLDEN_SCALE_UP
    assert scale_up_prompt(SCALE_UP, "instruction", DEMONSTRATIONS, "A {kettle}.") == GOLDEN_INSTRUCTION


def test_the_prompt_of_inpars_is_the_golden_one_for_every_prompt_and_corpus():
    adapted = [{"prompt": y, "demonstrations": DEMONSTRATIONS} for y in range(2)]
    prompts = inpars_prompts(SCALE_UP, adapted)
    assert [row["prompt"] for row in prompts] == [0, 1]
    for row in prompts:
        assert scale_up_prompt(SCALE_UP, "inpars", row["demonstrations"], "A {kettle}.") == GOLDEN_INPARS


def test_prompts_that_are_alike_share_one_draw_of_passages():
    prompts = inpars_prompts(SCALE_UP, [{"prompt": y, "demonstrations": DEMONSTRATIONS} for y in range(2)])
    calls = plan_calls(corpus(8), prompts, SCALE_UP, 4, 1, 20, "inpars", 13)
    # two prompts of four calls: each of the eight passages once, demonstrations of the corpus among them
    assert sorted(call["source"] for call in calls) == [f"d{n}" for n in range(8)]
    assert plan_calls(corpus(8), prompts, SCALE_UP, 2, 1, 20, "inpars", 13) == calls[:4]


def test_an_answer_ends_as_asked():
    settings = {"max_tokens": 64, "temperature": 0.0, "top_p": 1.0}
    assert sampling_of(settings | {"stop": "line"}, 1).stop == ("\n",)
    assert sampling_of(settings | {"stop": "blank_line"}, 1).stop == ("\n\n",)
    with pytest.raises(ValidationError, match="per_passage is 2, but at sampling.temperature 0"):
        Udapdr.model_validate({"scale_up": {"per_passage": 2, "sampling": {"temperature": 0.0}}})


@pytest.mark.parametrize(
    ("answer", "question"),
    [
        ("What is it?\nBad question: Why?", "What is it?"),
        ("\n\n  Good question: How long\tdoes it last? Bad question: Why?", "How long does it last?"),
        ("Question 2: Who built it", "Who built it"),
        ("Example 4 Passage: x", "Example 4"),
        ("Which mug leaks? Which one does not?", "Which mug leaks?"),
        ("is it safe  Good question: is it", "is it safe"),
        ('"Who was she?"', "Who was she?"),
        ("What about the US-ratio: 3:1?", "What about the US-ratio: 3:1?"),
        ("", ""),
        (" \n ", ""),
    ],
)
def test_an_answer_is_cut_to_its_first_question(answer, question):
    assert clean_answer(answer) == question


@given(st.text())
def test_cleaning_never_leaves_a_line_break_and_is_stable(text):
    once = clean_answer(text)
    assert "\n" not in once and once == once.strip()
    assert once.count("?") <= 1


@pytest.mark.parametrize(
    ("query", "rule"),
    [
        ("", "blank"),
        ("?!", "blank"),
        ("Why so?", "too_short"),
        ("a b c d e f", "too_long"),
        ("что это за книга", "not_english"),
        ("What does the author say?", "forbidden_word"),
        ("Who are the Speakers here?", "forbidden_word"),
        ("what is the problem here", "forbidden_word"),
        ("Which authority decides it?", None),
        ("How long is it?", None),
    ],
)
def test_each_rule_drops_its_query(query, rule):
    assert refusal(query, Rules(min_words=3, max_words=5)) == rule


def test_a_question_mark_can_be_asked_for():
    assert refusal("how long is it", Rules(need_question_mark=True)) == "no_question_mark"
    assert refusal("how long is it", Rules()) is None


def test_duplicates_differ_in_case_and_punctuation_only():
    texts = ["How long is it?", "how long is it", "How long was it?"]
    assert deduplicate([0, 1, 2], texts) == [0, 2]


def test_overlap_by_hand():
    assert overlap("a b c", "B c d") == 2 / 4
    assert overlap("", "?") == 0.0
    assert same_question("What colour is the mug?", "what colour is the MUG", 0.7)
    assert same_question("How long does the battery last", "How long does the battery charge", 1.0)  # 20 characters
    assert not same_question("How long does it last?", "Is a battery good?", 0.7)


def test_the_released_overlap_test_misses_a_copy():
    # fault U12: words of one side against characters of the other. Corrected: 5 of 6 words are shared
    good, bad = "What colour is the mug?", "Say what colour the mug is."
    assert overlap(good, bad) == 5 / 6
    assert same_question(good, bad, 0.7) and not released_same_question(good, bad, 0.7)
    # an equal start is seen by both, and a word of one letter counts as a character of the other side
    assert released_same_question(good, good, 0.7)
    assert released_same_question("A b?", "What cabbage?", 0.7) and not same_question("A b?", "What cabbage?", 0.7)


def test_grounding_counts_content_words_only():
    assert grounding("What is the name of the red mug?", "A red cup.") == 1 / 2
    assert grounding("What is it?", "A red cup.") == 0.0


def seeds(*rows: tuple[str, str, str, str]) -> list[dict]:
    return [{"source": s, "strategy": k, "question": q, "passage": f"{s} holds {p}"} for s, k, q, p in rows]


def test_demonstrations_never_share_a_passage_and_take_turns():
    rows = seeds(
        *[
            (f"d{n}", kind, f"{kind} asks about thing {n} of {n}?", "x")
            for n in range(9)
            for kind in ("guided", "write")
        ],
        *[(f"d{n}", "bad", "Is it good?", "x") for n in range(9)],
    )
    chosen = choose_demonstrations(rows, 6, ["guided", "write"], Checks(), 50, seed=3)
    assert len({d.source for d in chosen}) == 6
    assert [d.strategy for d in chosen] == ["guided", "write"] * 3
    assert choose_demonstrations(rows, 6, ["guided", "write"], Checks(), 50, seed=3) == chosen
    assert choose_demonstrations(rows, 3, ["guided", "write"], Checks(), 50, seed=3) == chosen[:3]


def test_released_demonstrations_take_their_column_or_none():
    # fault U12: demonstration j asks as column j does (write, guided, vanilla), whatever else was written
    kinds = ("guided", "vanilla", "retrieve", "design", "write")
    rows = seeds(
        *[(f"d{n}", kind, f"{kind} asks about thing {n} of {n}?", "x") for n in range(9) for kind in kinds],
        *[(f"d{n}", "bad", "Is it good?", "x") for n in range(9)],
    )
    wanted = (rows, 6, kinds, Checks(released=True), 50, 3)
    chosen = released_demonstrations(*wanted, size=3)
    assert [d.strategy for d in chosen] == ["write", "guided", "vanilla"] * 2
    assert len({d.source for d in chosen}) == 6
    # corrected, each strategy has its turn
    corrected = choose_demonstrations(rows, 6, kinds, Checks(), 50, seed=3)
    assert [d.strategy for d in corrected] == [*kinds, "guided"]
    # a fourth column comes with a fourth demonstration; of two strategies the columns come round again
    assert [d.strategy for d in released_demonstrations(rows, 4, kinds, Checks(), 50, 3, 4)][3] == "retrieve"
    pair = released_demonstrations(rows, 3, ["retrieve", "guided"], Checks(), 50, 3, 3)
    assert [d.strategy for d in pair] == ["guided", "retrieve", "guided"]


def test_a_passage_refused_for_one_column_may_serve_for_another():
    kinds = ("write", "guided")
    rows = seeds(
        ("d0", "write", "", "x"),
        ("d0", "guided", "Who asks about thing 0?", "x"),
        ("d0", "bad", "Is it good?", "x"),
        ("d1", "write", "Who writes about thing 1?", "x"),
        ("d1", "guided", "", "x"),
        ("d1", "bad", "Is it good?", "x"),
    )
    chosen = released_demonstrations(rows, 2, kinds, Checks(released=True), 50, 0, 2)
    assert [(d.source, d.strategy) for d in chosen] == [("d1", "write"), ("d0", "guided")]
    with pytest.raises(DataError, match=r"3 demonstrations are needed .* 2 passages gave 2 \(none refused\)"):
        released_demonstrations(rows, 3, kinds, Checks(), 50, 0, 3)
    with pytest.raises(DataError, match=r"gave 1 \(write: no good question: 1\)"):
        released_demonstrations(rows, 2, ["write"], Checks(), 50, 0, 2)


def test_too_few_sound_pairs_are_an_error_that_says_why():
    rows = seeds(
        ("a", "write", "Same thing here?", "x"),
        ("a", "bad", "Same thing here?", "x"),
        ("b", "write", "", "x"),
        ("b", "bad", "Good?", "x"),
        ("c", "write", "How long is c?", "x"),
        ("d", "write", "What of a house?", "kettles"),
        ("d", "bad", "Is it?", "x"),
    )
    with pytest.raises(DataError, match=r"3 demonstrations are needed .* 4 passages gave 0") as caught:
        choose_demonstrations(rows, 3, ["write"], Checks(min_grounding=0.5), 50, seed=0)
    for reason in (
        "no bad question: 1",
        "no good question: 1",
        "is about its passage: 2",
        "raise udapdr.seed.n_passages",
    ):
        assert reason in str(caught.value)


def test_passages_drawn_for_less_are_a_prefix_and_come_up_evenly():
    ids = [f"d{n}" for n in range(7)]
    more = draw(ids, 16, "13:0")
    assert draw(list(reversed(ids)), 5, "13:0") == more[:5]
    assert sorted(more[:7]) == sorted(more[7:14]) == ids
    assert draw(ids, 7, "13:1") != more[:7]
    with pytest.raises(DataError, match="no passages to draw from"):
        draw([], 1, "13:0")


def corpus(n: int) -> Collection:
    return Collection({f"d{i}": Passage("", f"Passage {i}.") for i in range(n)}, {"q": Query("x")}, {})


def test_calls_avoid_demonstrations_and_grow_by_appending():
    prompts = [{"prompt": y, "demonstrations": DEMONSTRATIONS} for y in (0, 1)]
    more = plan_calls(corpus(8), prompts, SCALE_UP, 6, 1, 20, "good_and_bad", 13)
    assert plan_calls(corpus(8), prompts, SCALE_UP, 2, 1, 20, "good_and_bad", 13) == more[:4]
    assert not {"d1", "d2"} & {call["source"] for call in more}
    assert [call["id"] for call in more[:3]] == ["y0-000000", "y1-000000", "y0-000001"]
    assert seed_of(13, "y0-000000") != seed_of(13, "y0-000001") != seed_of(14, "y0-000001")
    with pytest.raises(DataError, match="corpus holds only the passages of the demonstrations"):
        plan_calls(
            corpus(2),
            [
                {
                    "prompt": 0,
                    "demonstrations": [d | {"source": s} for d, s in zip(DEMONSTRATIONS, ("d0", "d1"), strict=True)],
                }
            ],
            SCALE_UP,
            1,
            1,
            20,
            "good_and_bad",
            13,
        )


def test_several_calls_a_passage_share_their_prompt_and_not_their_seed():
    prompts = [{"prompt": 0, "demonstrations": DEMONSTRATIONS}]
    once = plan_calls(corpus(8), prompts, SCALE_UP, 3, 1, 20, "good_and_bad", 13)
    twice = plan_calls(corpus(8), prompts, SCALE_UP, 5, 2, 20, "good_and_bad", 13)
    sources = [call["source"] for call in once]
    assert [call["source"] for call in twice] == [sources[0], sources[0], sources[1], sources[1], sources[2]]
    assert twice[0]["text"] == twice[1]["text"] and twice[0]["id"] != twice[1]["id"]
    assert len({seed_of(13, call["id"]) for call in twice}) == 5


def test_cleaning_counts_what_each_rule_drops():
    calls = [{"id": f"c{i}", "prompt": i % 2, "source": f"d{i}"} for i in range(6)]
    answers = ["How long is it?", "", "how long is it", "The author?", "Why 1?", "What else is there?"]
    sound, unique, dropped = clean(calls, answers, Rules(min_words=2), shown=["Why 1?"])
    assert [row["id"] for row in unique] == ["c0", "c5"]
    assert [row["id"] for row in sound] == ["c0", "c2", "c5"]
    assert dropped == {(1, "blank"): 1, (0, "duplicate"): 1, (1, "forbidden_word"): 1, (0, "copied"): 1}
    rows = synthesis_rows([0, 1], calls, answers, sound, unique)
    assert [(r["stage"], r["in"], r["out"]) for r in rows] == [
        ("scale_up", 3, 3),
        ("scale_up", 3, 2),
        ("clean", 3, 2),
        ("clean", 2, 1),
        ("deduplicate", 2, 1),
        ("deduplicate", 1, 1),
    ]


def test_stage_1_answers_that_break_a_rule_are_empty():
    records = [{"id": "write/a", "text": "Question: How long is it?"}, {"id": "write/b", "text": "the author"}]
    questions = written(records, Rules())
    assert questions == {"write/a": "How long is it?", "write/b": ""}
    assert first_good({"a": "", "b": ""}, ["write"], questions) == {"a": "How long is it?", "b": ""}


def test_ranks_pass_rates_and_fusion_by_hand():
    assert rank_of("b", ["a", "b"]) == 2 and rank_of("z", ["a"]) is None
    assert passes({"bm25": 20, "late": 21}, 20, "any") and not passes({"bm25": 20, "late": 21}, 20, "all")
    assert not passes({"bm25": None}, 20, "any")
    with pytest.raises(ConfigError, match="did you mean 'all'"):
        passes({}, 20, "al")
    rows = pass_rates("bm25", "prompt", {"0": [1, 3, None, 20]})
    assert [(r["k"], r["passed"], r["rate"]) for r in rows] == [
        (1, 1, 0.25),
        (5, 2, 0.5),
        (10, 2, 0.5),
        (20, 3, 0.75),
        (100, 3, 0.75),
    ]
    fused = fuse([["a", "b"], ["b", "c"]], 2)
    assert fused == [("b", pytest.approx(1 / 62 + 1 / 61)), ("a", pytest.approx(1 / 61))]
    found = {"bm25": [["a", "b"]], "late": [["c", "b"]]}
    assert [i for i, _ in candidates_of(found, 0, "late", 1)] == ["c"]
    assert [i for i, _ in candidates_of(found, 0, "fused", 3)] == ["b", "a", "c"]


def test_the_released_tuples_lose_rank_1():
    # fault U3: rank 1 lost except in the file's first query, 2 to 5 kept, the last query lost
    ranks = [("first", 1), ("top", 1), ("two", 2), ("five", 5), ("six", 6), ("none", None), ("last", 2)]
    assert released_tuple_queries(ranks) == ["first", "two", "five"]


def test_a_short_list_shifts_all_later_ones_where_the_fault_is_on():
    # fault U7: three queries, lists of 3, 1 and 3 passages, read as three each; sources a1, b1, c1 all stand first
    lists = [["a1", "a2", "a3"], ["b1"], ["c1", "c2", "c3"]]
    read = released_lists(lists, 3)
    assert read == [["a1", "a2", "a3"], ["b1", "c1", "c2"], ["c3"]]
    assert [rank_of(source, ranking) for source, ranking in zip(("a1", "b1", "c1"), lists, strict=True)] == [1, 1, 1]
    assert [rank_of(source, ranking) for source, ranking in zip(("a1", "b1", "c1"), read, strict=True)] == [1, 1, None]
    # full lists are read right; what follows too long a gap gets nothing
    assert released_lists([["a"], ["b"]], 1) == [["a"], ["b"]]
    assert released_lists([["a"], ["b"], ["c"]], 2) == [["a", "b"], ["c"], []]


def test_lists_are_misread_prompt_by_prompt():
    found = {"late": [["a"], ["b1", "b2"], ["c1", "c2"], ["d1", "d2"], ["question"]]}
    # prompt 0 has the short list of the first query; prompt 1 and the question of stage 1 stay as they are
    assert misread(found, [0, 1, 0, 1], 2) == {
        "late": [["a", "c1"], ["b1", "b2"], ["c2"], ["d1", "d2"], ["question"]],
    }
    assert found["late"][0] == ["a"]


def test_parts_follow_the_passage_and_the_shares():
    shares = {"train": 0.5, "label": 0.3}
    parts = [part_of(f"d{i}", shares, 13) for i in range(2000)]
    assert parts == [part_of(f"d{i}", shares, 13) for i in range(2000)]
    for name, share in (("train", 0.5), ("label", 0.3), ("held", 0.2)):
        assert abs(parts.count(name) / 2000 - share) < 0.03
    random.seed(99)  # the global generator must play no part
    assert part_of("d7", shares, 13) == parts[7]


def test_x_below_3y_is_refused_at_plan_time():
    with pytest.raises(
        ValidationError, match=r"n_passages \(X\) is 14, but 5 prompts \(Y\) of 3 demonstrations need 15"
    ):
        Udapdr.model_validate({"seed": {"n_passages": 14}, "prompts": {"count": 5}})
    assert Udapdr.model_validate({"seed": {"n_passages": 15}, "prompts": {"count": 5}}).prompts.count == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": "squad", "off_domain": "squad"}, "off_domain is the target"),
        ({"filter": {"retrievers": ["late"], "candidates": "bm25"}}, "is not among retrievers"),
        ({"filter": {"k": 30, "depth": 20}}, "deeper than the 20 candidates"),
        ({"filter": {"shares": {"train": 0.6, "label": 0.4}}}, "leave a share of queries held out"),
        ({"student": {"lr": 0}}, "greater than 0"),
        ({"seed": {"strategies": ["rewrite"]}}, "Input should be 'guided'"),
        ({"teacher": {}}, "Extra inputs are not permitted"),
    ],
)
def test_settings_that_cannot_work_are_refused(change, message):
    with pytest.raises(ValidationError, match=message):
        Udapdr.model_validate(change)


def test_defaults_are_the_papers():
    section = Udapdr()
    assert (section.prompts.demonstrations, section.filter.k, section.reranker.lr) == (3, 20, 5e-6)
    assert (section.teachers.nway, section.scale_up.sampling.top_p) == (16, 0.95)
    found = settings_of(section.student.model_dump())
    assert (found["dim"], found["query_length"], found["passage_length"]) == (128, 32, 300)
    assert FilterStage().retrievers == ["late"]


def test_writers_are_named_by_model_or_tuned_variant():
    config = {"models": {"tiny-lm": {}}, "fidelity": "corrected", "faults": ["U9", "B1"]}
    assert model_path(config, "inters/full", "cheap_model") == "<results>/inters/models/full"
    assert model_path(config, "tiny-lm", "cheap_model") == "<resources>/models/tiny-lm"
    with pytest.raises(ConfigError, match="udapdr.cheap_model names 'tiny-ml'.*did you mean 'tiny-lm'"):
        model_path(config, "tiny-ml", "cheap_model")
    assert active_faults(config) == ["U9"]
    assert active_faults(config | {"fidelity": "released"}) == list(FAULTS)
    assert list(FAULTS) == ["U3", "U4", "U5", "U7", "U9", "U10", "U12", "U13", "U14", "U15"]
    assert faults_of(config | {"fidelity": "released"}, "students") == ["U4", "U14"]


def test_every_reranker_has_a_seed_of_its_own_unless_the_fault_is_on():
    config = {"udapdr": Udapdr().model_dump(), "seeds": [13], "fidelity": "corrected", "faults": []}
    assert [reranker_args(config, y)["seed"] for y in range(3)] == [13, 14, 15]
    assert [reranker_args(config | {"faults": ["U15"]}, y)["seed"] for y in range(3)] == [13, 13, 13]
