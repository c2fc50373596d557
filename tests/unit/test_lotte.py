"""LoTTE in the publisher's form: collection.tsv and qas.<kind>.jsonl, as the ColBERT project distributes them."""

import pytest

from searchtune.collections.build import make_collection
from searchtune.collections.lotte import read_lotte
from searchtune.errors import DataError

PARAMS = {"id": "c", "max_passages": None, "n_train": 0, "n_dev": 0, "n_test": None, "seed": 1, "split_seed": 0} | {
    "shares": {"train": 0.0, "dev": 0.0, "test": 1.0}
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "collection.tsv").write_text(
        "0\tRye needs\u00a0sun.\n1\tOats need rain.\n2\tMills grind.\n", encoding="utf-8"
    )
    rows = ['{"qid": 0, "query": "what does rye need?", "url": "x", "answer_pids": [0]}']
    (tmp_path / "qas.forum.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    rows = ['{"qid": 0, "query": "grain weather", "answer_pids": [1, 0]}']
    (tmp_path / "qas.search.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return tmp_path


def test_both_kinds_of_queries_share_a_corpus(folder):
    names = ("qas.forum.jsonl", "collection.tsv", "qas.search.jsonl")
    source = read_lotte([folder / name for name in names], "lotte")
    collection = make_collection(source, PARAMS)
    assert {key: p.text for key, p in collection.corpus.items()} == {
        "0": "Rye needs sun.",
        "1": "Oats need rain.",
        "2": "Mills grind.",
    }
    assert {key: (q.text, q.relevant, q.split) for key, q in source.questions.items()} == {
        "forum-0": ("what does rye need?", {"0": 1}, "test"),
        "search-0": ("grain weather", {"1": 1, "0": 1}, "test"),
    }


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("collection.tsv", "0 no tab\n", r"collection\.tsv, line 1: not of the form id, tab, text"),
        ("collection.tsv", "0\ta\n0\tb\n", r"line 2: duplicate id '0'"),
        ("qas.forum.jsonl", '{"qid": 0, "query": "x", "answer_pids": []}\n', "line 1: a row has qid, query and a list"),
        (
            "qas.forum.jsonl",
            '{"qid": 0, "query": "x", "answer_pids": [9]}\n',
            r"qas\.forum\.jsonl, line 1, query 'forum-0': qrels name unknown documents: '9'",
        ),
        ("questions.jsonl", "{}\n", "name one of these"),
    ],
)
def test_another_form_is_refused_by_file_and_line(folder, name, text, said):
    (folder / name).write_text(text, encoding="utf-8")
    paths = [folder / "collection.tsv", *({folder / name} - {folder / "collection.tsv"})]
    with pytest.raises(DataError, match=said):
        make_collection(read_lotte(paths, "lotte"), PARAMS)
