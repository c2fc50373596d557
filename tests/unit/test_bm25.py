"""BM25 against scores worked out by hand, ties, exclusions, the stage; dense search on hand-made vectors."""

from math import log

import numpy as np
import pytest

from searchtune.collections.beir import Collection, Passage, Query
from searchtune.collections.trec import read_run, read_scores
from searchtune.errors import ConfigError, DataError, ModelError
from searchtune.evaluation.metrics import evaluate
from searchtune.retrieval.bm25 import BM25Index, tokenize
from searchtune.retrieval.dense import search
from searchtune.retrieval.first_stage import fill_unmatched
from searchtune.stage import run_job


def test_words_cut_as_lucene_cuts_them():
    def cut(text: str) -> list[str]:
        return tokenize(text, "lucene", "lucene")

    # the terms that Lucene's EnglishAnalyzer gives for these texts
    assert cut("Don't pay 2,500.50 at 3 p.m. on Example.com") == ["don't", "pai", "2,500.50", "3", "p.m", "example.com"]
    assert cut("La'Porsha’s dog's below:Eureka; AC/DC, x2.y don.1") == [
        *("la'porsha", "dog", "below:eureka", "ac", "dc", "x2", "y", "don", "1")
    ]
    assert cut("us vs charging") == ["us", "vs", "charg"] and tokenize("us vs") == ["u", "v"]
    assert tokenize("Don't pay 2,500", "lucene") == ["don", "t", "pai", "2", "500"]
    with pytest.raises(ConfigError, match="unknown way to cut words 'lucen'"):
        tokenize("a", "lucene", "lucen")
    ids, texts = ["a", "b"], ["don't stop", "don stop stop"]
    assert [i for i, _ in BM25Index.build(ids, texts, stop_list="lucene", words="lucene").search(["don't"], 5)[0]] == [
        "a"
    ]
    assert [i for i, _ in BM25Index.build(ids, texts, stop_list="lucene").search(["don't"], 5)[0]] == ["a", "b"]


def test_index_terms():
    assert tokenize("The Batteries' C cells were charging, weren't they?") == ["batteri", "c", "cell", "charg"]
    assert tokenize("What is it?") == []
    assert tokenize("What is it?", "lucene") == ["what"]
    with pytest.raises(ConfigError, match=r"unknown stop list 'lucen'; did you mean 'lucene'\?"):
        tokenize("x", "lucen")


def test_scores_are_lucenes_formula():
    index = BM25Index.build(["a", "b", "c"], ["red apple red", "green apple tree leaf", "blue sky"], k1=0.9, b=0.4)
    # three documents of 3, 4, 2 terms (mean 3); apple stands in two, red in one
    norm_a, norm_b = 0.9 * (0.6 + 0.4 * 3 / 3), 0.9 * (0.6 + 0.4 * 4 / 3)
    idf_apple, idf_red = log(1 + 1.5 / 2.5), log(1 + 2.5 / 1.5)
    score_a = idf_apple * 1 / (1 + norm_a) + idf_red * 2 / (2 + norm_a)
    score_b = idf_apple * 1 / (1 + norm_b)
    found = index.search(["red apples"], 10)[0]
    assert [d for d, _ in found] == ["a", "b"]
    assert [s for _, s in found] == pytest.approx([score_a, score_b], rel=1e-5)


def test_ties_go_by_id_also_at_the_cut():
    ids = [f"d{i:02d}" for i in range(40)]
    shuffled = list(reversed(ids))
    index = BM25Index.build(shuffled, ["same words here"] * 40)
    assert [d for d, _ in index.search(["words"], 5)[0]] == ids[:5]


def test_excluded_documents_are_replaced_by_the_next():
    index = BM25Index.build(["a", "b", "c"], ["apple", "apple pie", "apple pie crust"])
    assert [d for d, _ in index.search(["apple"], 2, [{"a"}])[0]] == ["b", "c"]


def test_no_match_is_an_empty_list_and_is_filled_for_runs():
    index = BM25Index.build(["b", "a"], ["apple", "pear"])
    assert index.search(["zebra", "what is it"], 3) == [[], []]
    assert fill_unmatched([], index.ids, 1) == [("a", 0.0)]
    assert fill_unmatched([], index.ids, 2, {"a"}) == [("b", 0.0)]
    assert fill_unmatched([("b", 1.0)], index.ids, 2) == [("b", 1.0)]


@pytest.mark.parametrize(
    ("ids", "texts", "message"),
    [
        ([], [], "the corpus is empty"),
        (["a", "b", "a"], ["x", "y", "z"], "duplicate id 'a'"),
        (["a"], ["x", "y"], "1 ids against 2 texts"),
        (["a"], ["the of"], "no text has an index term"),
    ],
)
def test_refusals(ids, texts, message):
    with pytest.raises(DataError, match=message):
        BM25Index.build(ids, texts)


def small_collection(folder):
    corpus = {
        "p1": Passage("", "The kettle boils water fast."),
        "p2": Passage("Lamp", "It shines in the dark."),
        "p3": Passage("", "A lamp with a broken switch."),
    }
    queries = {
        "q1": Query("How fast does the kettle boil?", metadata={"split": "test"}),
        "q2": Query("zebra", metadata={"split": "test"}),
        "q3": Query("lamp", metadata={"split": "train"}),
    }
    qrels = {"q1": {"p1": 1}, "q2": {"p2": 1}, "q3": {"p3": 1}}
    Collection(corpus, queries, qrels, {"q3": {"p2"}}, {"id": "small"}).save(folder)


def test_the_stage_writes_run_and_scores_for_every_query(tmp_path):
    small_collection(tmp_path / "small")
    spec = {
        "stage": "retrieve.bm25",
        "inputs": {"collection": str(tmp_path / "small")},
        "outputs": {"run": str(tmp_path / "bm25.run.gz"), "scores": str(tmp_path / "bm25.scores.tsv.gz")},
        "params": {
            "k1": 0.9,
            "b": 0.4,
            "stop_list": "extended",
            "words": "plain",
            "depth": 2,
            "splits": ["train", "test"],
        },
    }
    stats = run_job(spec)
    run = read_run(tmp_path / "bm25.run.gz")
    assert {q: [d for d, _ in r] for q, r in run.items()} == {"q1": ["p1"], "q2": ["p1", "p2"], "q3": ["p3"]}
    assert (stats["queries"], stats["passages"], stats["unmatched"]) == (3, 3, 1)
    assert stats["tie_share"] == pytest.approx(2 / 4)
    assert read_scores(tmp_path / "bm25.scores.tsv.gz")["q2"] == {"p1": 0.0, "p2": 0.0}
    assert evaluate({"q1": {"p1": 1}, "q2": {"p2": 1}}, run, ["RR"])["RR"] == {"q1": 1.0, "q2": 0.5}
    assert sorted(p.name for p in tmp_path.iterdir() if not p.name.endswith(".prov.json")) == [
        "bm25.run.gz",
        "bm25.scores.tsv.gz",
        "small",
    ]


def test_a_collection_without_the_splits_asked_for_has_too_few_queries(tmp_path):
    small_collection(tmp_path / "small")
    spec = {
        "stage": "retrieve.bm25",
        "inputs": {"collection": str(tmp_path / "small")},
        "outputs": {"run": str(tmp_path / "r.run.gz"), "scores": str(tmp_path / "r.scores.tsv.gz")},
        "params": {"k1": 0.9, "b": 0.4, "stop_list": "extended", "words": "plain", "depth": 2, "splits": ["dev"]},
    }
    with pytest.raises(DataError, match=r"collection 'small' has too few queries: none in the splits dev"):
        run_job(spec)
    assert not (tmp_path / "r.run.gz").exists()


def test_dense_search_ranks_by_cosine_with_ties_by_id():
    passages = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [1.0, 0.0]], dtype=np.float32)
    ids = ["d", "b", "c", "a"]
    queries = np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32)
    first, second = search(queries, passages, ids, 3)
    assert [d for d, _ in first] == ["a", "d", "c"]
    assert [s for _, s in first] == pytest.approx([1.0, 1.0, 0.6])
    assert [d for d, _ in second] == ["b", "c", "a"]
    assert [d for d, _ in search(queries[:1], passages, ids, 2, [{"a"}])[0]] == ["d", "c"]


@pytest.fixture(scope="module")
def encoder_dir(tmp_path_factory):
    """A BERT of two layers with random weights and a tokenizer over the characters a to z."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("encoder")
    vocabulary = {token: i for i, token in enumerate(["[PAD]", "[UNK]", *"abcdefghijklmnopqrstuvwxyz"])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", continuing_subword_prefix=""))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
    torch.manual_seed(0)
    BertModel(
        BertConfig(
            vocab_size=28,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=64,
        )
    ).save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_dense_vectors_have_length_one_and_do_not_depend_on_batch_or_order(encoder_dir):
    from searchtune.retrieval.dense import DenseEncoder

    texts = ["a lamp", "the old kettle boils over and over", "x", "a kettle of fish"]
    together = DenseEncoder(encoder_dir, max_length=32, batch_size=4).encode(texts)
    alone = DenseEncoder(encoder_dir, max_length=32, batch_size=1).encode(texts)
    backwards = DenseEncoder(encoder_dir, max_length=32, batch_size=2).encode(texts[::-1])[::-1]
    assert np.linalg.norm(together, axis=1) == pytest.approx(np.ones(4), abs=1e-5)
    assert np.allclose(together, alone, atol=1e-5) and np.allclose(together, backwards, atol=1e-5)
    assert np.abs(together[0] - together[1]).max() > 1e-3


@pytest.mark.slow
def test_the_dense_stage_ranks_every_passage_and_a_folder_without_a_model_is_refused(tmp_path, encoder_dir):
    small_collection(tmp_path / "small")
    spec = {
        "stage": "retrieve.dense",
        "inputs": {"collection": str(tmp_path / "small"), "encoder": str(encoder_dir)},
        "outputs": {"run": str(tmp_path / "dense.run.gz"), "scores": str(tmp_path / "dense.scores.tsv.gz")},
        "params": {"depth": 3, "splits": ["test", "train"], "batch_size": 2, "max_length": 32, "precision": "auto"},
    }
    assert run_job(spec)["dimensions"] == 16
    run = read_run(tmp_path / "dense.run.gz")
    assert {q: len(r) for q, r in run.items()} == {"q1": 3, "q2": 3, "q3": 2}
    spec["inputs"]["encoder"] = str(tmp_path / "small")
    with pytest.raises(ModelError, match="is not an encoder folder that transformers can load"):
        run_job(spec)
