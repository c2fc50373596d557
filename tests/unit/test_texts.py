"""Plain texts as a corpus: passages, headings, what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchtune.collections.texts import files_of, passages_of, read_texts, sections_of
from searchtune.errors import DataError


def test_whole_paragraphs_share_a_passage_while_they_fit():
    assert passages_of(["a b", "c d", "e f g"], 4) == ["a b c d", "e f g"]
    assert passages_of(["", " \n "], 4) == []


def test_a_long_paragraph_is_cut_at_sentences_then_by_words():
    assert passages_of(["One two. Three four five! Six."], 4) == ["One two.", "Three four five! Six."]
    assert passages_of(["a b c d e"], 2) == ["a b", "c d", "e"]


@given(st.lists(st.text(alphabet="ab .!?\n", max_size=60), max_size=6), st.integers(1, 9))
def test_no_word_is_lost_and_no_passage_too_long(paragraphs, words):
    found = passages_of(paragraphs, words)
    assert " ".join(found).split() == " ".join(paragraphs).split()
    assert all(0 < len(passage.split()) <= words for passage in found)


def test_headings_name_what_stands_below_them_but_not_in_code():
    text = "intro\n\n# First #\nbody one\nmore\n\nbody two\n```\n# no heading\n```\n## Second\nlast"
    found = [(title, [p.strip() for p in paragraphs if p]) for title, paragraphs in sections_of(text, "notes", True)]
    assert found == [
        ("notes", ["intro"]),
        ("First", ["body one\nmore", "body two\n```\n# no heading\n```"]),
        ("Second", ["last"]),
    ]
    assert [title for title, _ in sections_of(text, "notes", False)] == ["notes"]


def test_a_folder_becomes_passages_with_title_and_article(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.md").write_text("# Boats\nThe ferry leaves at noon.\n", encoding="utf-8")
    (tmp_path / "b.txt").write_text("\ufeffTwo mills.\n\nTwo mills.\n", encoding="utf-8")
    (tmp_path / "c.jsonl").write_text('{"title": "Grain", "text": "Rye\\n\\nand oats."}\n', encoding="utf-8")
    (tmp_path / "d.pdf").write_bytes(b"\xff")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "e.txt").write_text("secret", encoding="utf-8")
    (tmp_path / "link.txt").symlink_to(tmp_path / "b.txt")
    found = read_texts([tmp_path], "mine")
    assert [(p.title, p.text, p.article) for p in found.passages.values()] == [
        ("b", "Two mills. Two mills.", "b.txt"),
        ("Grain", "Rye and oats.", "c.jsonl"),
        ("Boats", "The ferry leaves at noon.", "deep/a.md"),
    ]
    assert not found.questions and all(key.startswith("mine-") for key in found.passages)
    assert next(iter(read_texts([tmp_path / "b.txt"], "mine").passages.values())).article == "b.txt"


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(DataError, match=r"no file ends in \.txt, \.md, \.jsonl"):
        files_of(tmp_path)
    (tmp_path / "a.txt").write_bytes(b"caf\xe9")
    with pytest.raises(DataError, match=r"a\.txt: not UTF-8 .* at byte 3"):
        read_texts([tmp_path], "mine")
    (tmp_path / "a.txt").unlink()
    (tmp_path / "b.jsonl").write_text('{"text": "x"}\n{"body": "y"}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"b\.jsonl, line 2: a row needs a text"):
        read_texts([tmp_path], "mine")


def test_a_collection_of_texts_keeps_the_file_of_each_passage(tmp_path):
    from searchtune.collections.beir import Collection
    from searchtune.collections.build import make_collection

    (tmp_path / "notes" / "deep").mkdir(parents=True)
    (tmp_path / "notes" / "deep" / "a.txt").write_text("One text.", encoding="utf-8")
    (tmp_path / "notes" / "b.md").write_text("# Head\n\nTwo texts.", encoding="utf-8")
    shares = {"train": 0.0, "dev": 0.1, "test": 0.9}
    params = {
        "id": "n",
        "max_passages": None,
        "n_train": 0,
        "n_dev": 0,
        "n_test": 0,
        "seed": 0,
        "split_seed": 0,
        "shares": shares,
    }
    make_collection(read_texts([tmp_path / "notes"], "n"), params).save(tmp_path / "out")
    found = {p.text: (p.file, p.title) for p in Collection.load(tmp_path / "out").corpus.values()}
    assert found == {"One text.": ("deep/a.txt", "a"), "Two texts.": ("b.md", "Head")}
