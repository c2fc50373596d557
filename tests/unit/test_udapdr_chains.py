"""Which files the chains of UDAPDR share, and which each makes of its own."""

import pytest
from helpers import ROOT
from pydantic import ValidationError

from searchtune.audited import (
    EXAMPLES,
    LIMRANK_TRAIN,
    audit_args,
    chains_of_papers,
    healing_sets,
    off_domain_corpora,
    training_sets,
    udapdr_chains,
)
from searchtune.config.udapdr import STAGES, Udapdr
from searchtune.errors import ConfigError, LeakageError
from searchtune.files import read_tsv
from searchtune.plan import plan
from searchtune.synthesis.udapdr_arguments import evaluate_args
from searchtune.synthesis.udapdr_chains import Chains, published_name
from searchtune.synthesis.udapdr_faults import EVALUATE, FAULTS


def chains(**changes) -> Chains:
    return Chains(plan(ROOT, {"scale": "ci"} | changes))


def own(found: Chains, chain: str) -> list[str]:
    return [stage for stage in STAGES if found.owner(chain, stage) == chain]


@pytest.mark.parametrize(
    ("variant", "first"),
    [
        ("vanilla", "seed"),
        ("one_prompt", "prompts"),
        ("fewer_queries", "queries"),
        ("filter_late", "filtered"),
        ("interaction_head", "rerankers"),
        ("best_reranker", "tuples"),
        ("u5", "tuples"),
        ("judge_teacher", "tuples"),
        ("direct", "students"),
        ("inpars", "queries"),
        ("u4", "tuples"),
        ("u7", "filtered"),
        ("u12", "prompts"),
        ("u13", "rerankers"),
        ("u14", "students"),
        ("u15", "rerankers"),
    ],
)
def test_a_variant_makes_anew_what_its_change_touches_and_nothing_before(variant, first):
    found = chains(udapdr={"run_ablations": [variant]})
    assert own(found, f"amazon.{variant}") == list(STAGES[STAGES.index(first) :])
    before = STAGES[: STAGES.index(first)]
    assert {found.owner(f"amazon.{variant}", stage) for stage in before} <= {"amazon"}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_reaches_the_stages_that_it_names_and_no_other(fault):
    as_is, changed = chains(), chains(faults=[fault])
    touched = {stage for stage in STAGES if as_is.args("amazon", stage) != changed.args("amazon", stage)}
    as_is_scored, scored = (evaluate_args(plan(ROOT, {"scale": "ci", "faults": f})) for f in ([], [fault]))
    assert touched | ({EVALUATE} if as_is_scored != scored else set()) == set(FAULTS[fault].stages)


def test_released_switches_every_fault_on_and_its_variants_are_the_chain_itself():
    found = chains(fidelity="released", udapdr={"run_ablations": ["u4", "u7", "u15", "vanilla"]})
    assert found.args("amazon", "students")["faults"] == ["U4", "U14"]
    assert found.args("amazon", "students")["ranks"] == 4
    assert [own(found, f"amazon.{name}") for name in ("u4", "u7", "u15")] == [[], [], []]
    assert own(found, "amazon.vanilla") == list(STAGES)


def test_rerankers_of_one_seed_are_not_those_of_another_chain():
    # reranker 1 of the first seed and every reranker of the second one under U15 draw from one number
    found = chains(seeds=[13, 14], udapdr={"run_ablations": ["u15"]})
    assert found.reranker_args("amazon", 1)["seed"] == found.reranker_args("amazon.u15-s14", 1)["seed"] == 14
    assert own(found, "amazon.u15-s14") == ["rerankers", "tuples", "students"]


def test_seeds_share_what_comes_before_their_stage():
    part = {"run_ablations": ["direct"], "seeds_from": "rerankers"}
    found = chains(seeds=[13, 14], udapdr=part)
    assert found.names == [
        *("amazon", "new_wiki", "amazon-s14", "new_wiki-s14"),
        *("amazon.direct", "amazon.direct-s14"),
    ]
    assert own(found, "amazon-s14") == ["rerankers", "tuples", "students"]
    assert found.config("amazon-s14", "queries")["seeds"] == [13]
    assert found.config("amazon-s14", "students")["seeds"] == [14]
    # a variant's second seed shares with the second seed, not with the first
    assert own(found, "amazon.direct-s14") == ["students"]
    assert found.owner("amazon.direct-s14", "tuples") == "amazon-s14"
    assert own(chains(seeds=[13, 14], udapdr=part | {"seeds_from": "seed"}), "amazon-s14") == list(STAGES)


def test_another_student_needs_another_index_only_where_its_tokens_differ():
    row = {"kind": "distillation", "set": {"student": {"passage_length": 40}}}
    found = chains(udapdr={"ablations": {"shorter": row}, "run_ablations": ["shorter", "direct"]})
    assert found.owner("amazon.shorter", "index") == "amazon.shorter"
    assert found.owner("amazon.direct", "index") == "amazon"


def test_dev_queries_of_the_first_target_serve_to_choose_a_setting():
    def asked(**changes):
        found = chains(**changes)
        return found.evaluate_args()["dev"], found.search_args("amazon", "student_adapted")["splits"]

    assert asked(udapdr={"run_ablations": ["u5"]}) == (False, ["test"])
    dev = {"amazon": {"n_dev": 4}}
    assert asked(collections=dev, udapdr={"run_ablations": ["u5"]}) == (True, ["test", "dev"])
    assert asked(collections=dev, udapdr={"run_ablations": []})[0] is False


def test_runs_name_what_made_them():
    found = chains(seeds=[13, 14], udapdr={"run_ablations": ["u5", "interaction_head"], "more_targets": ["reddit"]})
    rows = found.runs()
    mine = [row for row in rows if row["collection"] == "reddit"]
    assert [row["system"] for row in mine[:3]] == ["bm25", "minilm_dense", ""]
    assert [(row["system"], row["seed"]) for row in mine if row["system"].startswith("student_off")] == [
        ("student_off_domain", 13),
        ("student_off_domain", 14),
    ]
    assert found.student("reddit-s14", "student_off_domain") == "<results>/udapdr/new_wiki-s14/students/adapted"
    # rerankers are scored where they are what differs
    assert [row["system"] for row in rows if row["variant"] == "u5"] == ["student_adapted"] * 2
    assert {row["system"] for row in rows if row["variant"] == "interaction_head"} == {
        "student_adapted",
        "bm25_reranked",
    }


def test_the_audit_sees_every_set_of_queries():
    config = plan(ROOT, {"scale": "ci", "udapdr": {"run_ablations": ["filter_late", "direct"]}})
    found = audit_args(config)
    own, foreign = found["chains"]["udapdr"], found["chains"]["udapdr, off-domain"]
    assert own["train"] == ["amazon/filtered", "amazon.filter_late/filtered"]
    # the queries name passages by id: those of another corpus are compared as texts, a target's own are its to read
    assert (
        found["corpora"]
        == {"new_wiki/filtered": "collections/new_wiki"}
        == dict.fromkeys(foreign["train"], "collections/new_wiki")
    )
    alone = plan(ROOT, {"scale": "ci", "papers": ["limrank"]})
    assert audit_args(alone)["corpora"] == off_domain_corpora(alone) == {}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"kind": "tuples"}, "changes nothing"),
        ({"kind": "tuples", "set": {"teachers": {"n_tuple": 3}}}, "n_tuple"),
        ({"kind": "tuples", "set": {"target": "reddit"}}, "belongs to the whole part"),
        ({"kind": "rerankers", "set": {"prompts": {"count": 9}}}, "need 27 passages"),
        ({"kind": "selection", "set": {"teachers": {"select": 1, "combine": "mixed"}}}, "combine: mean"),
        ({"kind": "selection", "set": {"teachers": {"select": 1, "judge": "limrank/direct"}}}, "labels alone"),
        ({"kind": "distillation", "set": {"teachers": {"combine": "mixed", "judge": "tiny-lm"}}}, "labels alone"),
    ],
)
def test_an_unsound_variant_is_refused_by_name(row, said):
    with pytest.raises(ValidationError, match="odd") as caught:
        Udapdr(ablations={"odd": row}, run_ablations=["odd"])
    assert said in str(caught.value)


def test_a_variant_that_is_not_there_is_named_with_the_nearest():
    with pytest.raises(ConfigError, match="vanila.*vanilla"):
        plan(ROOT, {"scale": "ci", "udapdr": {"run_ablations": ["vanila"]}})


FORUM, SEARCH = "lotte_writing_test_forum", "lotte_writing_test_search"
SIZES = {FORUM: {"n_test": 2000}, SEARCH: {"n_test": 1071}}


def shared(**changes) -> Chains:
    part = {"more_targets": [FORUM, SEARCH], "run_ablations": []}
    return chains(collections=SIZES, udapdr=part, **changes)


def test_queries_of_one_corpus_are_answered_by_one_student():
    found = shared(seeds=[13, 14])
    assert own(found, FORUM) == list(STAGES) and own(found, SEARCH) == [] and own(found, f"{SEARCH}-s14") == []
    assert found.owner(f"{SEARCH}-s14", "students") == f"{FORUM}-s14"
    assert found.owner(SEARCH, "index") == FORUM
    assert found.student(SEARCH, "student_adapted") == f"<results>/udapdr/{FORUM}/students/adapted"
    assert found.path(SEARCH, "indexes", "student_adapted") == f"<results>/udapdr/{FORUM}/indexes/student_adapted"
    # no second training, but runs, and the rerankers' scores, of its own queries
    assert found.guests == [SEARCH, f"{SEARCH}-s14"]
    mine = [row["path"] for row in found.runs() if row["collection"] == SEARCH]
    assert f"<results>/udapdr/{SEARCH}/late/student_adapted" in mine
    assert f"<results>/udapdr/{SEARCH}/bm25_reranked.run.gz" in mine
    assert not any(FORUM in path for path in mine)
    assert len(found.first_rerankers()) == len(set(found.first_rerankers())) == 6


def test_the_order_of_targets_says_whose_chain_is_made():
    found = chains(collections=SIZES, udapdr={"more_targets": [SEARCH, FORUM], "run_ablations": []})
    assert found.owner(FORUM, "students") == SEARCH and found.guests == [FORUM]
    alone = chains(collections=SIZES, udapdr={"more_targets": [SEARCH], "run_ablations": []})
    assert own(alone, SEARCH) == list(STAGES) and alone.guests == []


def test_the_audit_sees_what_a_borrowed_student_was_trained_on():
    config = plan(ROOT, {"scale": "ci", "collections": SIZES} | {"udapdr": {"more_targets": [FORUM, SEARCH]}})
    row = udapdr_chains(config)[f"udapdr, {SEARCH}"]
    assert row["train"] == [f"{FORUM}/filtered"] and row["eval"] == [f"collections/{SEARCH}"]


def test_collections_are_named_as_the_papers_name_their_data():
    entries = plan(ROOT, {"scale": "paper"})["collections"]
    names = {name: published_name(entries[name]) for name in (FORUM, SEARCH, "touche2020", "dbpedia", "amazon")}
    assert names == {
        FORUM: "lotte/writing/test/forum",
        SEARCH: "lotte/writing/test/search",
        "touche2020": "beir/webis-touche2020",
        "dbpedia": "beir/dbpedia-entity",
        "amazon": "",
    }


def test_scale_paper_scores_what_tables_1_5_and_6_do():
    """Every LoTTE and BEIR value of the paper has a target of that name; eight sets of table 1 less NQ and SQuAD."""
    found = Chains(plan(ROOT, {"scale": "paper"}))
    names = set(found.evaluate_args()["datasets"].values())
    published = {row["dataset"] for row in read_tsv(ROOT / "config/expected/udapdr.tsv") if row["item"][-1] in "156"}
    assert published - names == {"nq-open/dev", "squad-open/dev"} and names <= published
    assert len(found.targets) == 6 + 12 + 11
    # forum and search: six students fewer
    assert len({found.owner(name, "students") for name in found.targets}) == 6 + 6 + 11


JUDGE = {"ablations": {"odd": {"kind": "distillation", "set": {"teachers": {"judge": "limrank/direct"}}}}}


def test_a_judge_labels_instead_of_cross_encoders():
    part = JUDGE | {"run_ablations": ["odd", "direct"], "seeds_from": "rerankers"}
    found = chains(seeds=[13, 14], udapdr=part)
    assert own(found, "amazon.odd") == ["tuples", "students"]
    assert found.judged() == ["amazon.odd", "amazon.odd-s14"] and "amazon.odd" not in found.taught()
    # each seed has the judge of its own seed; where tuples are shared, so is the judge
    assert found.judge_path("amazon.odd-s14") == "<results>/limrank/models/direct-s14"
    late = chains(seeds=[13, 14], udapdr=part | {"seeds_from": "students"})
    assert late.judge_path("amazon.odd-s14") == "<results>/limrank/models/direct-s13"
    assert late.judged() == ["amazon.odd"]
    args, plain = found.args("amazon.odd", "tuples"), found.args("amazon", "tuples")
    assert {key: args[key] for key in ("nway", "windows", "depth", "n_tuples", "seed")} == {
        key: plain[key] for key in ("nway", "windows", "depth", "n_tuples", "seed")
    }
    assert (args["judge"], args["mode"], args["max_passage_tokens"]) == ("limrank/direct", "direct", 48)
    assert "judge" not in plain and "judge_mode" not in plain


def test_an_untuned_judge_is_a_model_asked_in_its_own_form():
    found = chains(udapdr={"run_ablations": [], "teachers": {"judge": "tiny-lm-half", "judge_mode": "reasoning"}})
    assert found.judge_path("amazon") == "<resources>/models/tiny-lm-half"
    assert found.args("amazon", "tuples")["form"] == "plain"
    # only BM25's reranker on the target still needs cross-encoders
    assert {path.split("/")[2] for path in found.first_rerankers()} == {"amazon"}
    assert found.evaluate_args()["judge"] == "tiny-lm-half"
    assert found.evaluate_args()["judged"] == ["tiny-lm-half, amazon", "tiny-lm-half, new_wiki"]


def test_noise_of_cross_encoders_is_none_of_a_judge():
    part = JUDGE | {"run_ablations": ["odd"]}
    assert chains(faults=["U3", "U5", "L14"], udapdr=part).args("amazon.odd", "tuples")["faults"] == ["U3"]
    part["teachers"] = {"judge_mode": "reasoning"}
    assert chains(faults=["U3", "U5", "L14"], udapdr=part).args("amazon.odd", "tuples")["faults"] == ["U3", "L14"]


def test_students_of_a_judge_are_scored_without_its_cross_encoders():
    row = {"kind": "models", "set": {"reranker": {"head": "interaction"}, "teachers": {"judge": "limrank/direct"}}}
    found = chains(udapdr={"ablations": {"odd": row}, "run_ablations": ["odd", "interaction_head"]})
    systems = {name: {r["system"] for r in found.runs() if r["variant"] == name} for name in found.variants}
    assert systems == {"interaction_head": {"student_adapted", "bm25_reranked"}, "odd": {"student_adapted"}}


def test_the_audit_sees_what_a_judge_was_tuned_on():
    user = {"scale": "ci", "papers": ["udapdr"], "udapdr": JUDGE | {"run_ablations": ["odd"]}}
    config = plan(ROOT, user)
    # and what its writer, which is INTERS' in ci, was tuned on
    filtered = ["udapdr/amazon/filtered", "udapdr/new_wiki/filtered"]
    assert training_sets(config) == ["inters/mixtures/full/train.jsonl", EXAMPLES, *filtered, LIMRANK_TRAIN]
    assert udapdr_chains(config)["udapdr judge limrank/direct"] == {
        "train": ["packed/reasoning.train.jsonl"],
        "eval": ["collections/amazon"],
        "kinds": ["query", "passage"],
    }
    # a pruned base of the judge's was healed on text, which is audited too
    user["limrank"] = {"base": "tiny-lm-half"}
    assert healing_sets(plan(ROOT, user)) == ["heal/tiny-lm-half"]
    untuned = {"udapdr": {"run_ablations": [], "teachers": {"judge": "tiny-lm-half"}}}
    config = plan(ROOT, user | {"limrank": {}} | untuned)
    assert healing_sets(config) == ["heal/tiny-lm-half"] and LIMRANK_TRAIN not in training_sets(config)


def test_the_audit_sees_what_a_borrowed_model_was_tuned_on():
    """Another mixture than the full one: its rows are other rows."""
    section = {"cheap_model": "inters/general_instructions", "run_ablations": ["odd"]}
    section["ablations"] = {"odd": {"kind": "models", "set": {"strong_model": "inters/without_qdu"}}}
    config = plan(ROOT, {"scale": "ci", "udapdr": section, "limrank": {"writer": "inters/vol25"}})
    tuned = [f"{name}/train.jsonl" for name in ("full", "general_instructions", "without_qdu")]
    assert sorted(chains_of_papers(config)["inters"]["train"]) == sorted([*tuned, EXAMPLES, "heal/tiny-lm-half"])
    assert {f"inters/mixtures/{name}" for name in tuned} < set(training_sets(config))
    alone = plan(ROOT, {"scale": "ci", "papers": ["limrank"], "limrank": {"writer": "inters/no_templates"}})
    assert chains_of_papers(alone)["inters"]["train"][0] == "no_templates/train.jsonl"
    assert training_sets(alone)[:2] == ["inters/mixtures/no_templates/train.jsonl", EXAMPLES]


@pytest.mark.parametrize("key", ["base", "writer", "judge"])
def test_the_audit_sees_what_the_models_behind_a_judge_were_tuned_on(key):
    """LimRank's rows and weights come of models that may know a target of UDAPDR's."""
    config = plan(ROOT, {"scale": "ci", "udapdr": JUDGE | {"run_ablations": ["odd"]}, "limrank": {key: "inters/vol25"}})
    found = udapdr_chains(config)["udapdr judge limrank/direct"]
    assert found["train"] == ["packed/reasoning.train.jsonl", "full/train.jsonl", EXAMPLES]
    assert found["kinds"] == ["query", "passage"]


def test_the_audit_sees_what_baselines_out_of_udapdr_were_tuned_on():
    config = plan(ROOT, {"scale": "ci", "papers": ["limrank"]})
    found = chains_of_papers(config)
    assert found["limrank, baselines"]["train"] == ["amazon/filtered"]
    assert found["limrank, baselines"]["eval"] == found["limrank"]["eval"][:-1]
    assert "udapdr/amazon/filtered" in training_sets(config)
    config = plan(ROOT, {"scale": "ci", "limrank": {"baselines": []}})
    assert "limrank, baselines" not in chains_of_papers(config)


@pytest.mark.parametrize(
    "section",
    [
        {"rag": {"model": "tiny-lm-half"}},
        {"ablations": {"odd": {"kind": "components", "set": {"writer": "tiny-lm-half"}}}, "run_ablations": ["odd"]},
        {"baselines": [{"name": "other", "model": "tiny-lm-half", "kind": "reasoning"}]},
    ],
)
def test_the_audit_sees_what_healed_a_model_of_a_part_or_variant(section):
    off = {"baselines": [], "run_ablations": []}
    config = plan(ROOT, {"scale": "ci", "papers": ["limrank"], "limrank": off | section})
    assert healing_sets(config) == ["heal/tiny-lm-half"]
    assert "heal/tiny-lm-half" in chains_of_papers(config)["limrank"]["train"]
    named = {"ablations": {"odd": {"kind": "components", "set": {"writer": "tiny-lm-half"}}}}
    assert healing_sets(plan(ROOT, {"scale": "ci", "papers": ["limrank"], "limrank": off | named})) == []


def test_the_audit_sees_what_strategies_are_scored_on():
    config = plan(ROOT, {"scale": "ci", "inters": {"strategies": {"sets": {"nq_swapped": "passage_reranking"}}}})
    assert "collections/nq_swapped" in chains_of_papers(config)["inters, own tests"]["eval"]
    # and what another paper reranks stays one that INTERS' data may share no passage with, either
    assert "collections/nq_swapped" in chains_of_papers(config)["inters"]["eval"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"limrank": {"planted_collection": "amazon"}}, "udapdr judge limrank/direct would train on 'amazon'"),
        ({"limrank": {"raw": ["mini/shifted_amazon.json"]}}, "udapdr judge limrank/direct would train on 'amazon'"),
        # the same files under another name
        (
            {
                "collections": {"twin": {"reader": "squad", "raw": ["mini/shifted_amazon.json"], "n_train": 5}},
                "limrank": {"planted_collection": "twin"},
            },
            "udapdr judge limrank/direct would train on 'amazon'",
        ),
        (
            {"udapdr": {"target": "new_wiki", "off_domain": "squad"}, "limrank": {"writer": "inters/full"}},
            "udapdr judge limrank/direct would train on 'new_wiki'",
        ),
    ],
)
def test_a_judge_that_was_tuned_on_the_target_is_refused(changes, said):
    user = {"scale": "ci"} | changes
    user["udapdr"] = JUDGE | {"run_ablations": ["odd"]} | changes.get("udapdr", {})
    with pytest.raises(LeakageError, match=said):
        plan(ROOT, user)


def test_without_a_judge_its_data_are_no_matter():
    user = {"scale": "ci", "udapdr": {"run_ablations": []}, "limrank": {"raw": ["mini/shifted_amazon.json"]}}
    assert plan(ROOT, user)


@pytest.mark.parametrize(
    ("place", "judge", "said"),
    [
        ("teachers", "limrank/direkt", r"udapdr.teachers.judge names 'limrank/direkt'.*'limrank/direct'"),
        ("teachers", "tiny-encoder", r"udapdr.teachers.judge names 'tiny-encoder', which is neither"),
        ("odd", "inters/ful", r"udapdr.ablations.odd.set.teachers.judge names 'inters/ful'.*'inters/full'"),
    ],
)
def test_an_unknown_judge_is_named_with_the_nearest(place, judge, said):
    row = {"kind": "distillation", "set": {"teachers": {"judge": judge}}}
    base = {"teachers": {"judge": judge}, "run_ablations": []}
    own = {"ablations": {"odd": row}, "run_ablations": ["odd"]} if place == "odd" else base
    with pytest.raises(ConfigError, match=said):
        plan(ROOT, {"scale": "ci", "udapdr": own})
