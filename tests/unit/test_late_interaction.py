"""Late interaction: MaxSim by hand, masks and padding, projections, indexes, search."""

import pytest

from searchtune.errors import ConfigError, DataError, ModelError

pytestmark = pytest.mark.slow
TEXTS = ["the river runs past the old mill", "a mill grinds grain", "boats, boats; and boats!", "who saw the bridge"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from searchtune.training.tiny import build_encoder

    path = tmp_path_factory.mktemp("late") / "encoder"
    build_encoder(TEXTS * 4, path, hidden=32, vocabulary=200)
    return path


def load(folder, projection="untrained", **settings):
    from searchtune.retrieval.late_interaction import LateInteractionModel, Settings

    return LateInteractionModel.load(folder, projection, Settings(**{"dim": 8, "passage_length": 16} | settings))


def test_maxsim_by_hand():
    import torch

    from searchtune.retrieval.late_interaction import maxsim

    query = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    passages = torch.tensor([[0.6, 0.8], [1.0, 0.0], [-1.0, 0.0]])
    # first passage: tokens (0.6, 0.8), (1, 0): best 1.0 and 0.8; second: (-1, 0): -1.0 and 0.0
    assert maxsim(query, passages, [2, 1]).tolist() == pytest.approx([1.8, -1.0])


def test_padded_tokens_change_no_score():
    import torch

    from searchtune.retrieval.late_interaction import batch_maxsim

    query = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [9.0, 9.0]]])
    passages = torch.tensor([[[[0.6, 0.8], [1.0, 0.0], [7.0, 7.0]], [[-1.0, 0.0], [5.0, 5.0], [5.0, 5.0]]]])
    query_mask = torch.tensor([[True, True, False]])
    mask = torch.tensor([[[True, True, False], [True, False, False]]])
    assert batch_maxsim(query, query_mask, passages, mask)[0].tolist() == pytest.approx([1.8, -1.0])


def test_an_orthonormal_projection_is_seeded_and_keeps_lengths():
    import torch

    from searchtune.retrieval.late_interaction import orthonormal_projection

    weight = orthonormal_projection(32, 8, 5)
    assert torch.allclose(weight @ weight.T, torch.eye(8), atol=1e-5)
    assert torch.equal(weight, orthonormal_projection(32, 8, 5))
    assert not torch.equal(weight, orthonormal_projection(32, 8, 6))
    square = orthonormal_projection(8, 8, 5)  # as many dimensions: a rotation, no score changes
    vectors = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    assert torch.allclose((vectors @ square.T) @ (vectors @ square.T).T, vectors @ vectors.T, atol=1e-5)
    with pytest.raises(ModelError, match="projection to 64 dimensions is wider than the encoder's 32"):
        orthonormal_projection(32, 64, 0)


def test_vectors_have_unit_length_and_do_not_depend_on_the_batch(folder):
    import torch

    model = load(folder)
    together, alone = model.encode_passages(TEXTS, 4), [model.encode_passages([text], 1)[0] for text in TEXTS]
    for a, b in zip(together, alone, strict=True):
        assert a.shape == b.shape and a.shape[1] == 8
        assert torch.allclose(a, b, atol=1e-5)
        assert torch.allclose(a.norm(dim=1), torch.ones(len(a)), atol=1e-5)


def test_punctuation_and_special_tokens_can_be_left_out(folder):
    plain, skipped = load(folder), load(folder, skip_punctuation=True)
    bare = load(folder, skip_punctuation=True, keep_special=False)
    lengths = [len(model.encode_passages([TEXTS[2]])[0]) for model in (plain, skipped, bare)]
    assert (lengths[0] - lengths[1], lengths[1] - lengths[2]) == (3, 2)  # , ; ! and then [CLS] [SEP]
    # punctuation of queries counts
    assert len(plain.encode_queries([TEXTS[2]])[0]) == len(skipped.encode_queries([TEXTS[2]])[0])
    assert len(bare.encode_passages(["!"])[0]) == 1


def test_texts_are_cut_to_the_models_length(folder):
    model = load(folder, passage_length=6, query_length=4)
    assert len(model.encode_passages(TEXTS[:1])[0]) == 6
    assert len(model.encode_queries(TEXTS[:1])[0]) == 4


def test_search_agrees_with_maxsim_one_by_one(folder, monkeypatch):
    from searchtune.retrieval import late_interaction
    from searchtune.retrieval.late_interaction import maxsim, search

    model = load(folder)
    index = model.index(["a", "b", "c", "d"], TEXTS)
    queries = model.encode_queries(["who saw the mill", "old boats"])
    wanted = [
        sorted(zip(maxsim(q, index.vectors, index.lengths).tolist(), index.ids, strict=True), reverse=True)
        for q in queries
    ]
    found = search(index, queries, 4)
    assert [[i for i, _ in ranking] for ranking in found] == [[i for _, i in ranking] for ranking in wanted]
    assert [s for _, s in found[0]] == pytest.approx([s for s, _ in wanted[0]], abs=1e-5)
    monkeypatch.setattr(late_interaction, "_CELLS", 1)  # one query at a time: the same answer
    assert [[i for i, _ in r] for r in search(index, queries, 4)] == [[i for i, _ in r] for r in found]
    best = found[0][0][0]
    assert best not in [i for i, _ in search(index, queries, 2, [{best}, set()])[0]]
    assert len(search(index, queries, 2, [{best}, set()])[0]) == 2


def test_equal_scores_are_ordered_by_id(folder):
    from searchtune.retrieval.late_interaction import search

    model = load(folder)
    index = model.index(["z", "m", "a"], [TEXTS[0]] * 3)
    assert [i for i, _ in search(index, model.encode_queries(["river"]), 2)[0]] == ["a", "m"]


def test_an_index_comes_back_as_it_was_saved(folder, tmp_path):
    import torch

    from searchtune.retrieval.late_interaction import search
    from searchtune.retrieval.token_index import TokenIndex

    model = load(folder)
    index = model.index(["a", "b"], TEXTS[:2])
    index.save(tmp_path / "index")
    loaded = TokenIndex.load(tmp_path / "index")
    assert (loaded.ids, loaded.lengths) == (index.ids, index.lengths)
    assert torch.allclose(loaded.vectors, index.vectors, atol=1e-3)
    queries = model.encode_queries(["mill"])
    assert search(loaded, queries, 2)[0][0][1] == pytest.approx(search(index, queries, 2)[0][0][1], abs=1e-2)
    (tmp_path / "index" / "ids.json").write_text('["a"]', encoding="utf-8")
    with pytest.raises(DataError, match="1 ids, 2 lengths"):
        TokenIndex.load(tmp_path / "index")


def test_projecting_an_index_equals_encoding_with_the_projection(folder, tmp_path):
    import torch

    model = load(folder)
    plain = load(folder, "none").index(["a", "b"], TEXTS[:2])
    assert plain.vectors.shape[1] == 32
    assert torch.allclose(
        plain.projected(model.weight, tmp_path).vectors, model.index(["a", "b"], TEXTS[:2]).vectors, atol=1e-5
    )
    assert plain.projected(None, tmp_path) is plain


def test_a_saved_model_keeps_projection_and_settings(folder, tmp_path):
    import torch

    from searchtune.retrieval.late_interaction import LateInteractionModel

    model = load(folder, skip_punctuation=True, passage_length=9)
    model.save(tmp_path / "student")
    loaded = LateInteractionModel.load(tmp_path / "student", "trained")
    assert loaded.settings == model.settings and torch.equal(loaded.weight, model.weight)
    assert torch.allclose(loaded.encode_passages(TEXTS)[2], model.encode_passages(TEXTS)[2], atol=1e-5)


def test_unusable_models_are_refused(folder):
    with pytest.raises(ModelError, match="holds no trained projection"):
        load(folder, "trained")
    with pytest.raises(ConfigError, match="unknown projection 'trainde'; did you mean 'trained'"):
        load(folder, "trainde")
    with pytest.raises(DataError, match="the corpus is empty"):
        load(folder).index([], [])
    with pytest.raises(ModelError, match="without a projection"):
        load(folder, "none").save(folder)
