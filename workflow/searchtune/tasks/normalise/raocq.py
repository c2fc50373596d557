"""RaoCQ (Rao and Daume 2018): Stack Exchange post to the clarifying question that its annotators chose.

Schema: raosudha89/ranking_clarification_questions (src/data_generation/data_generator.py writes post_data.tsv: postid,
title, post; qa_data.tsv: postid, q1..q10, a1..a10; src/evaluation/ reads human_annotations: two annotators a line,
tab-separated, each ``set_site,postid,best,valid ones,confidence``). One folder a site.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from searchtune.errors import DataError
from searchtune.prompts.budget import first_words
from searchtune.tasks.example import Example, detokenise
from searchtune.tasks.normalise.tables import Record, table_rows

_FILES = ("human_annotations", "post_data.tsv", "qa_data.tsv")
_QUESTIONS = [f"q{number}" for number in range(1, 11)]


def query_clarification(paths: Sequence[Path], dataset: str, max_words: int) -> Iterator[Example]:
    """Title and opening of a post (``description``) to the question that the surer annotator found best.

    References are the other annotator's best question and those that both found valid. The annotated posts
    are one evaluation set, so no split is published.
    """
    folders: dict[Path, dict[str, Path]] = {}
    for path in paths:
        folders.setdefault(path.parent, {})[path.name] = path
    for folder, files in folders.items():
        missing = [name for name in _FILES if name not in files]
        if missing:
            raise DataError(f"{folder}: no file {missing[0]!r} is listed; a site needs {', '.join(_FILES)}")
        first, second, third = (files[name] for name in _FILES)
        yield from _site(first, second, third, dataset, max_words)


def _choice(row: Record, name: str) -> tuple[str, int, set[int], int]:
    """Return (post id, best question, valid questions, confidence) of one annotator; questions count from 0."""
    cells = row.text(name).split(",")
    try:
        site, post, best, valid, confidence = cells
        found = f"{site.split('_')[1]}_{post}", int(best), {int(v) for v in valid.split()}, int(confidence)
    except (ValueError, IndexError) as error:
        raise row.fault(name, f"is {row.text(name)!r}, not set_site,postid,best,valid,confidence ({error})") from error
    if not {found[1], *found[2]} <= set(range(10)):
        raise row.fault(name, "names a question outside 0 to 9")
    return found


def _site(annotations: Path, posts: Path, questions: Path, dataset: str, max_words: int) -> Iterator[Example]:
    known = {row.text("postid"): row for row in table_rows(posts, ("postid", "title", "post"))}
    asked = {row.text("postid"): row for row in table_rows(questions, ("postid", *_QUESTIONS))}
    for row in table_rows(annotations, ("first", "second"), header=False):
        first, second = _choice(row, "first"), _choice(row, "second")
        post = first[0]
        if second[0] != post or post not in known or post not in asked:
            raise row.fault("second", f"and 'first' must name one post of {posts.name} and {questions.name}")
        best, other = (first, second) if first[3] >= second[3] else (second, first)
        also = dict.fromkeys([other[1], *sorted(first[2] & second[2])])
        text = [detokenise(asked[post].text(_QUESTIONS[n])) for n in (best[1], *(n for n in also if n != best[1]))]
        yield Example(
            f"query_clarification/{dataset}/{post}",
            "query_clarification",
            dataset,
            f"raocq post {post}",
            {
                "query": detokenise(known[post].text("title")),
                "description": first_words(detokenise(known[post].text("post")), max_words),
            },
            text[0],
            references=tuple(text[1:]),
        )
