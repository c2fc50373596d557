"""PLAID: when it is chosen, what it refuses, and, where its package is installed, what it finds."""

from importlib import metadata
from pathlib import Path

import pytest
from helpers import ROOT

from searchtune.collections.beir import Collection, Passage, Query
from searchtune.collections.trec import read_run
from searchtune.errors import ConfigError, DataError
from searchtune.evaluation.metrics import overlap
from searchtune.files import read_tsv, sha256_tree
from searchtune.plan import plan
from searchtune.retrieval import plaid
from searchtune.retrieval.plaid import PlaidSettings
from searchtune.stage import Job, run_job
from searchtune.synthesis import udapdr_arguments

WORDS = [
    "river",
    "mill",
    "bridge",
    "grain",
    "boat",
    "lamp",
    "storm",
    "coast",
    "wall",
    "field",
    "road",
    "song",
    "mask",
    "kite",
    "lion",
    "moss",
    "pine",
    "reef",
    "salt",
    "tide",
]


@pytest.mark.parametrize(
    ("method", "passages", "chosen"),
    [("auto", 100000, False), ("auto", 100001, True), ("exact", 10**9, False), ("plaid", 2, True)],
)
def test_auto_is_exact_up_to_the_limit(method, passages, chosen):
    assert plaid.chooses_plaid(method, passages, 100000) is chosen


def test_a_quarter_of_the_full_scores_must_reach_the_depth():
    plaid.check_depth(400, 100)
    with pytest.raises(ConfigError, match=r"n_full_scores = 399 passages, but 100 are asked for .*raise it to 400"):
        plaid.check_depth(399, 100)
    with pytest.raises(ConfigError, match="raise it to 8000"):
        udapdr_arguments.search_args(plan(ROOT, {"scale": "ci", "retrieval": {"depth": 2000}}))
    exact = {"scale": "ci", "retrieval": {"depth": 2000}, "udapdr": {"search": {"method": "exact"}}}
    assert udapdr_arguments.search_args(plan(ROOT, exact))["search"]["method"] == "exact"


def test_another_torch_than_the_compiled_one_is_refused():
    needs = ["numpy>=1.26", "torch==2.11.0", 'maturin>=1.8; extra == "dev"']
    plaid.check_torch(needs, "2.11.0+cu130")
    with pytest.raises(DataError, match=r"compiled for torch 2.11.0, this environment has torch 2.13.0\+cpu"):
        plaid.check_torch(needs, "2.13.0+cpu")


def test_a_missing_package_names_itself_the_key_and_the_fix(monkeypatch, tmp_path):
    def absent(name: str) -> list[str]:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(plaid.metadata, "requires", absent)
    monkeypatch.setattr(plaid, "ROOT", tmp_path)
    with pytest.raises(ConfigError, match=r"package fast-plaid.*`make plaid`.*udapdr.search.method: exact"):
        plaid.engine_python()
    config = plan(ROOT, {"scale": "ci", "udapdr": {"search": {"loss_nbits": [2]}}})
    with pytest.raises(ConfigError, match=r"`make plaid`.*loss_nbits: \[\]"):
        udapdr_arguments.check_plaid(config)
    udapdr_arguments.check_plaid(plan(ROOT, {"scale": "ci"}))  # nothing asks for it
    own = tmp_path / plaid.OWN_PYTHON
    own.parent.mkdir(parents=True)
    own.touch()
    assert plaid.engine_python() == own


def test_how_a_corpus_is_searched_is_no_change_of_the_chain():
    row = {"kind": "models", "set": {"search": {"method": "exact"}}}
    with pytest.raises(ConfigError, match="search, which belongs to the whole part"):
        plan(ROOT, {"scale": "ci", "udapdr": {"ablations": {"mine": row}}})


def test_overlap_by_hand():
    exact = {"q": [("a", 3.0), ("b", 2.0), ("c", 1.0)], "p": [("a", 2.0)]}
    found = {"q": [("a", 3.0), ("x", 2.0), ("b", 1.0)], "p": [("b", 2.0), ("a", 1.0)]}
    # q: one of two; p: the whole of its list of one
    assert overlap(exact, found, 2) == pytest.approx((1 / 2 + 1) / 2)
    assert overlap(exact, found, 1) == pytest.approx((1 + 0) / 2)


@pytest.fixture(scope="module")
def engine() -> Path:
    """The interpreter of fast-plaid; tests that need it are left out where there is none."""
    try:
        return plaid.engine_python()
    except (ConfigError, DataError) as error:
        pytest.skip(f"fast-plaid does not run here: {error}")


@pytest.fixture(scope="module")
def tokens(engine, tmp_path_factory):
    """A saved index of 300 passages of 3 to 12 random unit vectors; passages p298 and p299 are equal."""
    import torch

    from searchtune.retrieval.token_index import TokenIndex

    lengths = [3 + number % 10 for number in range(298)] + [5, 5]
    generator = torch.Generator().manual_seed(0)
    vectors = torch.nn.functional.normalize(torch.randn(sum(lengths), 32, generator=generator), dim=1)
    vectors[-5:] = vectors[-10:-5]
    path = tmp_path_factory.mktemp("tokens") / "index"
    TokenIndex([f"p{number:03d}" for number in range(300)], vectors, lengths).save(path)
    return path


def found(tokens, folder, queries, k, excluded=None, **settings):
    from searchtune.retrieval.token_index import VECTORS_FILE, TokenIndex

    ids = TokenIndex.load(tokens).ids
    left_out = excluded or [set()] * len(queries)
    return plaid.search(tokens / VECTORS_FILE, ids, queries, k, left_out, PlaidSettings(**settings), folder)


def passages(tokens, *numbers):
    """Token vectors of passages of the saved index, as queries."""
    from searchtune.retrieval.token_index import TokenIndex

    index = TokenIndex.load(tokens)
    return [index.vectors.split(index.lengths)[number] for number in numbers]


@pytest.mark.slow
def test_a_passage_finds_itself_and_four_bits_are_nearer_than_two(tokens, tmp_path):
    from searchtune.retrieval.late_interaction import search
    from searchtune.retrieval.token_index import TokenIndex

    queries = passages(tokens, *range(0, 40, 4))
    exact = dict(enumerate(search(TokenIndex.load(tokens), queries, 10)))
    shares, errors = {}, {}
    for nbits in (2, 4):
        rows = found(tokens, tmp_path / str(nbits), queries, 10, nbits=nbits)
        assert [row[0][0] for row in rows] == [f"p{number:03d}" for number in range(0, 40, 4)]
        shares[nbits] = overlap(exact, dict(enumerate(rows)), 10)
        # a query's score with itself is its number of tokens
        errors[nbits] = max(abs(row[0][1] - len(query)) / len(query) for row, query in zip(rows, queries, strict=True))
    assert shares[4] > shares[2] > 0.3
    assert errors[4] < errors[2] < 0.2


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tokens, tmp_path):
    queries = passages(tokens, 3, 50)
    runs = {
        name: found(tokens, tmp_path / name, queries, 20, seed=seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    }
    assert runs["a"] == runs["b"]
    hashes = {name: sha256_tree(tmp_path / name) for name in runs}
    assert hashes["a"] == hashes["b"] != hashes["c"]
    assert not list(tmp_path.glob("*.plaid-work"))


@pytest.mark.slow
def test_excluded_passages_are_replaced_and_ties_are_ordered_by_id(tokens, tmp_path):
    queries = passages(tokens, 299, 10)
    plain, without = (found(tokens, tmp_path / "i", queries, 5, left, nbits=4) for left in (None, [{"p298"}, set()]))
    assert [i for i, _ in plain[0][:2]] == ["p298", "p299"] and plain[0][0][1] == plain[0][1][1]
    assert without[0][0][0] == "p299" and "p298" not in dict(without[0])
    assert [len(row) for row in without] == [5, 5] and without[1] == plain[1]
    with pytest.raises(DataError, match=r"all of them excluded ones: raise udapdr.search.plaid.n_ivf_probe"):
        found(tokens, tmp_path / "none", queries[:1], 5, [{f"p{number:03d}" for number in range(300)}])


@pytest.mark.slow
def test_fewer_rows_than_asked_for_stay_with_their_query(tokens, tmp_path):
    queries = passages(tokens, 7, 8, 9)
    rows = found(tokens, tmp_path / "i", queries, 300, n_ivf_probe=1)
    assert [row[0][0] for row in rows] == ["p007", "p008", "p009"]
    assert all(0 < len(row) < 300 for row in rows) and len({len(row) for row in rows}) > 1
    assert all(len(dict(row)) == len(row) for row in rows)


@pytest.mark.slow
def test_a_corpus_that_is_too_small_is_a_clear_error(engine, tmp_path):
    import torch

    from searchtune.retrieval.token_index import TokenIndex

    TokenIndex(["a"], torch.eye(32)[:1], [1]).save(tmp_path / "index")
    with pytest.raises(DataError, match=r"fast-plaid failed in .*heldout.*udapdr.search.method: exact"):
        found(tmp_path / "index", tmp_path / "plaid", [torch.eye(32)[:1]], 1)


@pytest.fixture(scope="module")
def corpus(engine, tmp_path_factory) -> tuple[Path, Path]:
    """A collection of 60 passages, ten of them asked for in their own words, and an untrained student."""
    from searchtune.retrieval.late_interaction import LateInteractionModel, Settings
    from searchtune.training.tiny import build_encoder

    folder = tmp_path_factory.mktemp("corpus")
    texts = {f"d{n:02d}": " ".join(WORDS[(n * 3 + j * (n % 7 + 1)) % len(WORDS)] for j in range(8)) for n in range(60)}
    queries = {f"q{n}": Query(texts[f"d{n:02d}"], "", {"split": "test"}) for n in range(10)}
    qrels = {f"q{n}": {f"d{n:02d}": 1} for n in range(10)}
    corpus = {i: Passage("", text) for i, text in texts.items()}
    Collection(corpus, queries, qrels, {"q0": {"d01"}}, {"id": "words"}).save(folder / "collection")
    build_encoder(list(texts.values()), folder / "encoder", hidden=32, vocabulary=200)
    settings = Settings(dim=16, passage_length=16)
    LateInteractionModel.load(folder / "encoder", "untrained", settings).save(folder / "student")
    return folder / "collection", folder / "student"


def stage(name, inputs, outputs, params):
    paths = [{key: str(path) for key, path in group.items()} for group in (inputs, outputs)]
    return run_job({"stage": name, "inputs": paths[0], "outputs": paths[1], "params": params, "threads": 1})


def late(corpus, folder, method, exact_passages=100000, systems=None):
    """Run stage retrieve.late; return the run of its first system."""
    collection, student = corpus
    systems = systems or {"student": "trained"}
    search = {"method": method, "exact_passages": exact_passages, "plaid": {"nbits": 4}}
    params = {"systems": systems, "splits": ["test"], "depth": 10, "batch_size": 8, "precision": "float32", "dim": 16}
    outputs = {"runs": folder / "runs", "index": folder / "index"}
    stage("retrieve.late", {"collection": collection, "model": student}, outputs, params | {"search": search})
    return {name: read_run(folder / "runs" / f"{name}.run.gz") for name in systems}


@pytest.mark.slow
def test_the_stage_searches_as_it_is_told(corpus, tmp_path):
    exact = late(corpus, tmp_path / "exact", "auto", 60)["student"]
    assert not (tmp_path / "exact/index/plaid").exists()
    runs = {
        name: late(corpus, tmp_path / name, *how)["student"]
        for name, how in (("auto", ("auto", 59)), ("set", ("plaid",)))
    }
    assert runs["auto"] == runs["set"] and (tmp_path / "auto/index/plaid/metadata.json").is_file()
    assert set(runs["set"]) == set(exact) and "d01" not in dict(runs["set"]["q0"])
    assert overlap(exact, runs["set"], 10) > 0.7
    # a system with vectors of its own is indexed on its own
    untrained = late(corpus, tmp_path / "two", "plaid", systems={"a": "none", "b": "untrained"})
    assert untrained["a"] != untrained["b"] and (tmp_path / "two/index/plaid/metadata.json").is_file()


@pytest.mark.slow
def test_the_loss_stands_beside_exact_search(corpus, tmp_path):
    late(corpus, tmp_path, "exact")
    collection, student = corpus
    params = {"splits": ["test"], "depth": 10, "nbits": [2, 4], "plaid": {"nbits": 2}}
    inputs = {"collection": collection, "student": student, "index": tmp_path / "index"}
    stage("udapdr.plaid_loss", inputs, {"loss": tmp_path / "plaid.tsv"}, params)
    rows = read_tsv(tmp_path / "plaid.tsv")
    assert [row["search"] for row in rows] == ["exact", "plaid_2bit", "plaid_4bit"]
    assert (float(rows[0]["overlap@10"]), float(rows[0]["bytes_share"])) == (1.0, 1.0)
    assert all(row["n"] == "10" and row["passages"] == "60" for row in rows)
    assert all(0.3 < float(row["overlap@10"]) <= 1 for row in rows[1:])
    # two more bits for each of 16 dimensions of every token vector
    vectors = int(float(rows[0]["index_bytes"])) // (16 * 2)
    assert abs(int(rows[2]["index_bytes"]) - int(rows[1]["index_bytes"]) - vectors * 4) < 200


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "passages", "by_plaid"), [("auto", 5, True), ("auto", 6, False), ("exact", 5, False)]
)
def test_every_step_that_searches_chooses_by_the_size_of_the_corpus(tmp_path, monkeypatch, method, passages, by_plaid):
    """The filter of synthetic queries, too, which has none but the shared index."""
    import torch

    from searchtune.retrieval import late_interaction
    from searchtune.retrieval.token_index import TokenIndex

    vectors = torch.nn.functional.normalize(torch.rand(12, 4), dim=1)
    index = TokenIndex([f"p{i}" for i in range(6)], vectors, torch.full((6,), 2))
    asked = []
    monkeypatch.setattr(plaid, "search", lambda *given: asked.append(given) or [[("p0", 1.0)]])
    how = {"method": method, "exact_passages": passages, "plaid": {"nbits": 4}}
    job = Job("udapdr.filter", {}, {}, {"search": how}, work=tmp_path)
    found = late_interaction.ranked(job, index, [vectors[:2]], 3)
    assert bool(asked) is by_plaid and (tmp_path / "late.vectors").is_dir() is by_plaid
    assert found == ([[("p0", 1.0)]] if by_plaid else late_interaction.search(index, [vectors[:2]], 3))
    assert (
        late_interaction.ranked(Job("x", {}, {}, {}), index, [vectors[:2]], 3)[0][0][0] == "p0"
    )  # exact without settings
