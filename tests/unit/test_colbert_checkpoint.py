"""ColBERT's checkpoints: token ids by hand, scores of a plain re-implementation, what is refused, the chain's start."""

import json
import subprocess
import sys

import pytest
from helpers import ROOT

from searchtune.collections.beir import Collection, Passage, Query
from searchtune.collections.trec import read_run
from searchtune.errors import ConfigError, ModelError
from searchtune.files import read_json
from searchtune.plan import plan
from searchtune.release.card import render_card
from searchtune.reporting.plot import BASELINE, look_of, readable
from searchtune.stage import Job, run_job
from searchtune.synthesis import udapdr_arguments as udapdr
from searchtune.synthesis.udapdr_chains import Chains
from searchtune.training.arguments import colbert_models, prepared_models

# a token's id is its place: [PAD] 0, [unused0] 1, [unused1] 2, [UNK] 3, [CLS] 4, [SEP] 5, [MASK] 6, the 7, ...
VOCABULARY = ["[PAD]", "[unused0]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
VOCABULARY += ["the", "river", "mill", "old", "boat", "?", ","]
PLACE = {token: place for place, token in enumerate(VOCABULARY)}
PUNCTUATION = {PLACE["?"], PLACE[","]}
METADATA = {
    "query_maxlen": 8,
    "doc_maxlen": 7,
    "dim": 8,
    "mask_punctuation": True,
    "attend_to_mask_tokens": False,
    "query_token_id": "[unused0]",
    "doc_token_id": "[unused1]",
    "similarity": "cosine",
}
QUERIES = ["the river ?", "old mill", "the river the mill the boat the old", "boat ,"]
PASSAGES = ["the old mill , the boat", "river", "boat , river ?", ", ?", "the old river"]


def make_checkpoint(path, change=None, **metadata):
    """Write a checkpoint as ColBERT does; ``change`` edits its tensors. Return (encoder, projection)."""
    import torch
    from safetensors.torch import save_file
    from transformers import BertConfig, BertModel, BertTokenizer

    torch.manual_seed(3)
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=32,
        initializer_range=0.5,
        architectures=["HF_ColBERT"],
    )
    encoder, weight = BertModel(config).eval(), torch.randn(8, 16)
    path.mkdir(parents=True)
    config.save_pretrained(path)
    BertTokenizer(vocab=PLACE, do_lower_case=True).save_pretrained(path)
    tensors = {f"bert.{name}": tensor for name, tensor in encoder.state_dict().items()} | {"linear.weight": weight}
    (change or (lambda given: None))(tensors)
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
    (path / "artifact.metadata").write_text(json.dumps(METADATA | metadata), encoding="utf-8")
    return encoder, weight


def prepare(raw, target, **params):
    entry = {"id": "colbert", "source": "hub", "raw": raw.name, "kind": "late_interaction"} | params
    return run_job(
        {
            "stage": "models.colbert",
            "inputs": {"raw": [str(raw)]},
            "outputs": {"model": str(target)},
            "params": entry,
            "threads": 1,
        }
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("colbert")
    encoder, weight = make_checkpoint(root / "raw")
    prepare(root / "raw", root / "model", licence="MIT", seen="nothing")
    return {"root": root, "encoder": encoder, "weight": weight, "model": root / "model"}


def load(folder, **changes):
    from searchtune.retrieval.late_interaction import LateInteractionModel

    return LateInteractionModel.load(folder, changes=changes)


def ids_of(text, marker, length):
    """ColBERT's rows: [CLS], marker, words, [SEP], of which the words are cut."""
    return [4, marker, *[PLACE[word] for word in text.split()][: length - 3], 5]


def plain_score(made, query, passage, attend=0):
    """MaxSim as ColBERT describes it, one pair at a time, token by token."""
    import torch

    row = ids_of(query, 1, 8)
    fill = 8 - len(row)
    with torch.inference_mode():
        q = made["encoder"](
            input_ids=torch.tensor([row + [6] * fill]),
            attention_mask=torch.tensor([[1] * len(row) + [attend] * fill]),
        ).last_hidden_state[0]
        words = ids_of(passage, 2, 7)
        d = made["encoder"](input_ids=torch.tensor([words])).last_hidden_state[0]
    kept = [vector for token, vector in zip(words, d, strict=True) if token not in PUNCTUATION]

    def unit(vector):
        projected = made["weight"] @ vector
        return projected / projected.norm()

    return sum(max(float(unit(a) @ unit(b)) for b in kept) for a in q)


@pytest.mark.slow
def test_token_ids_by_hand(made):
    model = load(made["model"])
    rows = model.tokenize(QUERIES[:3], passage=False)
    assert rows == [[4, 1, 7, 8, 12, 5], [4, 1, 10, 9, 5], [4, 1, 7, 8, 7, 9, 7, 5]]
    ids, attention, counted = model.batch(rows, passage=False)
    assert ids.tolist() == [[4, 1, 7, 8, 12, 5, 6, 6], [4, 1, 10, 9, 5, 6, 6, 6], [4, 1, 7, 8, 7, 9, 7, 5]]
    assert attention.sum(dim=1).tolist() == [6, 5, 8] and attention[1].tolist() == [1] * 5 + [0] * 3
    assert counted.all()
    rows = model.tokenize(PASSAGES[:2], passage=True)
    assert rows == [[4, 2, 7, 10, 9, 13, 5], [4, 2, 8, 5]]
    ids, attention, counted = model.batch(rows, passage=True)
    assert ids.tolist()[1] == [4, 2, 8, 5, 0, 0, 0] and attention.tolist()[1] == [1, 1, 1, 1, 0, 0, 0]
    assert counted.tolist() == [[True] * 5 + [False, True], [True] * 4 + [False] * 3]


@pytest.mark.slow
@pytest.mark.parametrize("attend", [False, True])
def test_scores_are_those_of_a_plain_reading_of_colbert(made, attend):
    from searchtune.retrieval.late_interaction import maxsim

    model = load(made["model"], attend_to_augmentation=attend)
    passages = model.encode_passages(PASSAGES)
    assert [len(vectors) for vectors in passages] == [6, 4, 5, 3, 6]
    for query, vectors in zip(QUERIES, model.encode_queries(QUERIES), strict=True):
        assert vectors.shape == (8, 8)
        found = [maxsim(vectors, passage, [len(passage)]).item() for passage in passages]
        wanted = [plain_score(made, query, passage, int(attend)) for passage in PASSAGES]
        assert found == pytest.approx(wanted, abs=1e-5)


@pytest.mark.slow
def test_the_prepared_folder_says_what_the_checkpoint_says_and_comes_back(made, tmp_path):
    import torch

    settings = read_json(made["model"] / "late_interaction.json")
    assert settings == {
        "dim": 8,
        "query_length": 8,
        "passage_length": 7,
        "skip_punctuation": True,
        "keep_special": True,
        "projection_seed": 0,
        "query_marker": "[unused0]",
        "passage_marker": "[unused1]",
        "query_augmentation": True,
        "attend_to_augmentation": False,
    }
    model = load(made["model"])
    model.save(tmp_path / "again")
    again = load(tmp_path / "again")
    assert again.settings == model.settings and torch.equal(again.weight, made["weight"])
    for a, b in zip(model.encode_queries(QUERIES), again.encode_queries(QUERIES), strict=True):
        assert torch.equal(a, b)


@pytest.mark.slow
def test_metadata_may_lack_keys_and_lie_under_config(tmp_path):
    # colbert/infra/config/settings.py: 32, 220, punctuation masked, [MASK] tokens not attended to
    from searchtune.training.colbert_checkpoint import settings_from

    path = tmp_path / "artifact.metadata"
    path.write_text(json.dumps({"config": {"doc_maxlen": 180}, "meta": {}}), encoding="utf-8")
    found = settings_from(path, 128)
    assert (found.dim, found.query_length, found.passage_length) == (128, 32, 180)
    assert (found.query_marker, found.passage_marker) == ("[unused0]", "[unused1]")
    assert found.skip_punctuation and found.query_augmentation and not found.attend_to_augmentation


@pytest.mark.slow
def test_a_configuration_may_name_other_lengths_but_no_other_dimensions(made):
    model = load(made["model"], passage_length=5, query_marker="")
    assert model.tokenize(PASSAGES[:1], passage=True) == [[4, 2, 7, 10, 5]]
    assert model.tokenize(QUERIES[1:2], passage=False) == [[4, 10, 9, 5]]
    with pytest.raises(ConfigError, match=r"udapdr.student.dim is 4, but the projection in .*model has 8 dimensions"):
        load(made["model"], dim=4)
    with pytest.raises(ModelError, match=r"query_marker asks for the token '\[Q\]', which the encoder's vocabulary"):
        load(made["model"], query_marker="[Q]")


@pytest.mark.slow
def test_a_student_starts_from_the_checkpoints_projection_and_learns(made):
    import torch

    from searchtune.retrieval.late_interaction import maxsim
    from searchtune.training.distillation import Tokens, Tuple, load_student, train

    passages = {f"d{i}": text for i, text in enumerate(PASSAGES)}
    collection = Collection({i: Passage("", t) for i, t in passages.items()}, {"q": Query("x")}, {})
    rows = [
        Tuple(f"t{i}", query, (f"d{i}", *[d for d in passages if d != f"d{i}"][:3]), (4.0, 0.0, 0.0, 0.0))
        for i, query in enumerate(QUERIES)
    ]
    params = udapdr.student_args(plan(ROOT, {"scale": "paper"}), "adapted")
    params |= {"epochs": 15, "batch_size": 2, "lr": 3e-3, "dropout": 0.0, "precision": "float32", "passage_length": 6}
    model = load_student(made["model"], params)
    assert torch.equal(model.weight, made["weight"])
    assert model.settings.passage_length == 6 and model.settings.query_marker == "[unused0]"
    tokens = Tokens.of(model, rows, collection)
    names = sorted(tokens.passages)
    with torch.no_grad():
        found = model.scores(
            tokens.queries, [tokens.passages[n] for n in names], [[names.index(i) for i in r.passages] for r in rows]
        )
    vectors = dict(zip(names, model.encode_passages([passages[n] for n in names]), strict=True))
    for row, query, scores in zip(rows, model.encode_queries(QUERIES), found, strict=True):
        # what training scores is what search scores
        wanted = [maxsim(query, vectors[i], [len(vectors[i])]).item() for i in row.passages]
        assert scores.tolist() == pytest.approx(wanted, abs=1e-5)
    curve = train(model, rows, collection, params, print)
    assert curve[-1]["loss"] < 0.6 * curve[0]["loss"] and not torch.allclose(model.weight, made["weight"])


def drop(name):
    return lambda tensors: tensors.pop(name)


def add(name):
    def change(tensors):
        tensors[name] = tensors["linear.weight"][0].clone()

    return change


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "metadata", "message"),
    [
        (drop("linear.weight"), {}, r"holds no linear\.weight, the projection of a ColBERT checkpoint"),
        (add("linear.bias"), {}, r"holds linear\.bias"),
        (drop("bert.embeddings.word_embeddings.weight"), {}, r"lacks bert\.embeddings\.word_embeddings\.weight"),
        (add("bert.extra"), {}, r"holds extra, which the network of its config\.json does not have"),
        (None, {"similarity": "l2"}, r"artifact\.metadata: similarity is 'l2'; only 'cosine'"),
        (None, {"dim": 128}, r"dim is 128; only 8 can be used"),
        (None, {"query_maxlen": "32"}, r"query_maxlen is '32', which is no int"),
        (None, {"query_token_id": "[Q]"}, r"asks for the token '\[Q\]'"),
    ],
)
def test_a_checkpoint_of_another_form_is_refused_by_name(tmp_path, change, metadata, message):
    make_checkpoint(tmp_path / "raw", change, **metadata)
    with pytest.raises(ModelError, match=message):
        prepare(tmp_path / "raw", tmp_path / "model")


@pytest.mark.slow
def test_pickled_and_incomplete_checkpoints_are_refused(tmp_path):
    make_checkpoint(tmp_path / "raw")
    (tmp_path / "raw" / "artifact.metadata").rename(tmp_path / "elsewhere")
    with pytest.raises(ModelError, match=r"raw lacks artifact\.metadata"):
        prepare(tmp_path / "raw", tmp_path / "model")
    (tmp_path / "elsewhere").rename(tmp_path / "raw" / "artifact.metadata")
    (tmp_path / "raw" / "model.safetensors").rename(tmp_path / "raw" / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"holds pickled weights only \(pytorch_model\.bin\); convert them"):
        prepare(tmp_path / "raw", tmp_path / "model")


@pytest.mark.slow
def test_a_vocabulary_and_heads_of_pre_training_are_enough(made, tmp_path):
    import torch

    def change(tensors):
        for name in [name for name in tensors if "pooler" in name]:
            tensors.pop(name)
        tensors["cls.predictions.bias"] = torch.zeros(3)

    make_checkpoint(tmp_path / "raw", change)
    (tmp_path / "raw" / "tokenizer.json").unlink()
    (tmp_path / "raw" / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    prepare(tmp_path / "raw", tmp_path / "model")
    for a, b in zip(load(made["model"]).encode_queries(QUERIES), load(tmp_path / "model").encode_queries(QUERIES),
                    strict=True):  # fmt: skip
        assert torch.allclose(a, b, atol=1e-6)


@pytest.mark.slow
def test_the_zero_shot_system_is_the_checkpoint_itself(made, tmp_path):
    config = plan(ROOT, {"scale": "paper", "udapdr": {"student": {"passage_length": None}}})
    args = udapdr.zero_shot_args(config) | {"precision": "float32"}
    queries = {f"q{i}": Query(text, "", {"split": "test"}) for i, text in enumerate(QUERIES)}
    passages = {f"d{i}": Passage("", text) for i, text in enumerate(PASSAGES)}
    Collection(passages, queries, {q: {"d0": 1} for q in queries}, {}, {"id": "c"}).save(tmp_path / "c")
    base = {"collection": str(tmp_path / "c"), "model": str(made["model"])}
    index, runs = str(tmp_path / "index"), str(tmp_path / "runs")
    job = {"stage": "retrieve.late", "threads": 1}
    # as the rules do: an index for the filter and for the zero-shot runs
    run_job(job | {"inputs": base, "outputs": {"index": index}, "params": args | {"systems": {}}})
    run_job(job | {"inputs": base | {"index": index}, "outputs": {"runs": runs}, "params": args})
    (file,) = sorted((tmp_path / "runs").glob("*.run.gz"))
    assert file.name == "zero_shot.run.gz"
    found = read_run(file)
    for i, query in enumerate(QUERIES):
        wanted = {f"d{n}": plain_score(made, query, passage) for n, passage in enumerate(PASSAGES)}
        best = max(wanted, key=wanted.__getitem__)
        assert wanted[best] - wanted[found[f"q{i}"][0][0]] < 1e-2  # the index keeps half precision
        assert set(wanted) == {name for name, _ in found[f"q{i}"]}
    from searchtune.synthesis.udapdr_filter import retrieve

    params = udapdr.filter_args(config) | {"precision": "float32"}
    filtered = retrieve(
        Job("udapdr.filter", {"model": made["model"], "index": tmp_path / "index"}, {}, params, threads=1),
        Collection.load(tmp_path / "c"), QUERIES,
    )  # fmt: skip
    assert filtered == {"late": [[name for name, _ in found[f"q{i}"]] for i in range(len(QUERIES))]}


@pytest.mark.slow
def test_the_code_of_a_card_scores_as_the_model_does(made, tmp_path):
    from collections import defaultdict

    from searchtune.retrieval.late_interaction import maxsim

    facts: dict = defaultdict(str) | {"scores": [], "failed": [], "licences": []}
    names = ["encoder", "target", "dim", "passages", "rerankers", "synthetic", "n", "k", "comparison", "signs_passed"]
    names += ["signs", "writer", "written", "kept", "trained", "corpus_licence", "passage_length", "seen"]
    card = render_card(dict.fromkeys(names, "") | facts)
    code = card.split("```python\n")[1].split("```")[0]
    query, passage = QUERIES[0], PASSAGES[2]
    code += f"\nprint(score({query!r}, {passage!r}))\n"
    done = subprocess.run([sys.executable, "-c", code], cwd=made["model"], capture_output=True, text=True, check=True)
    model = load(made["model"])
    vectors = model.encode_passages([passage])[0]
    wanted = maxsim(model.encode_queries([query])[0], vectors, [len(vectors)]).item()
    assert float(done.stdout) == pytest.approx(wanted, abs=1e-4)


def test_the_scale_of_the_paper_starts_from_colbert():
    config = plan(ROOT, {"scale": "paper"})
    assert colbert_models(config) == ["colbertv2"] and "colbertv2" not in prepared_models(config)
    assert udapdr.zero_shot_systems(config) == {"zero_shot": "trained"}
    for args in (udapdr.zero_shot_args(config), udapdr.filter_args(config), udapdr.student_args(config, "adapted")):
        named = {key: value for key, value in args.items() if key in ("dim", "query_length", "query_marker")}
        assert args["passage_length"] == 300 and not named  # the checkpoint's own
    found = Chains(config).evaluate_args()
    assert found["published_start"] is True
    assert found["without"] == ["maxsim_no_projection", "minilm_dense", "student_untrained_projection"]
    assert "minilm_dense" not in {row["system"] for row in found["runs"]}


def test_other_scales_start_as_before():
    config = plan(ROOT, {"scale": "demo"})
    args = udapdr.zero_shot_args(config)
    assert args["systems"] == {"maxsim_no_projection": "none", "student_untrained_projection": "untrained"}
    assert (args["dim"], args["query_length"], args["query_marker"], args["query_augmentation"]) == (128, 32, "", False)
    assert "projection" not in args
    found = Chains(config).evaluate_args()
    assert found["without"] == ["zero_shot"] and found["published_start"] is False


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"udapdr": {"reranker": {"model": "colbertv2"}}}, r"udapdr\.reranker\.model names 'colbertv2', a ColBERT ch"),
        ({"udapdr": {"cheap_model": "colbertv2"}}, r"udapdr\.cheap_model names 'colbertv2'"),
        ({"limrank": {"base": "colbertv2"}}, r"limrank\.base names 'colbertv2'.*for udapdr\.encoder alone"),
        (
            {"udapdr": {"ablations": {"mine": {"kind": "models", "set": {"reranker": {"model": "colbertv2"}}}},
                        "run_ablations": ["mine"]}},
            r"udapdr\.ablations\.mine\.set\.reranker\.model names 'colbertv2'",
        ),
        ({"models": {"colbertv2": {"source": "built"}}}, r"its source is folder or hub, not 'built'"),
    ],
)  # fmt: skip
def test_a_colbert_checkpoint_is_the_start_of_a_student_only(changes, message):
    with pytest.raises(ConfigError, match=message):
        plan(ROOT, {"scale": "paper"} | changes)


def test_a_variant_may_start_from_colbert():
    entry = {"source": "folder", "raw": "mini", "kind": "late_interaction"}
    mine = {"ablations": {"mine": {"kind": "models", "set": {"encoder": "c"}}}, "run_ablations": ["mine"]}
    config = plan(ROOT, {"scale": "ci", "models": {"c": entry}, "udapdr": mine})
    chains = Chains(config)
    variant = chains.of(config["udapdr"]["target"], "mine")[0]
    assert chains.args(variant, "filtered")["projection"] == "trained"
    assert chains.owner(variant, "index") == variant and chains.owner(variant, "queries") != variant


def test_the_report_calls_it_by_what_it_is():
    assert readable("zero_shot") == "Late interaction, not adapted" and look_of("zero_shot") == BASELINE
