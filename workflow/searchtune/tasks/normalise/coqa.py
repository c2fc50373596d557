"""CoQA (Reddy et al. 2019): one turn of a conversation about a story, with the two turns before it."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from searchtune.files import read_json
from searchtune.tasks.example import Example, clean, window

HISTORY = 2
_ENDING = re.compile(r"\.(txt|story|test|train|dev)$")


def article_of(story: dict) -> str:
    """Return the source document: the page's title for Wikipedia, else source and file (the book of a chapter)."""
    name = _ENDING.sub("", str(story.get("filename") or story["id"]))
    if story["source"] == "wikipedia":
        return name.rsplit("/", 1)[-1]
    return f"{story['source']} {name.split('.txt/')[0]}"


def conversational_qa(paths: Sequence[Path], dataset: str, max_words: int) -> Iterator[Example]:
    """Story, history and question to answer; the story is cut to the sentences around the annotated span."""
    for path in paths:
        for story in read_json(path)["data"]:
            for turn in range(HISTORY, len(story["questions"])):
                if example := _turn(story, turn, dataset, max_words):
                    yield example


def _turn(story: dict, turn: int, dataset: str, max_words: int) -> Example | None:
    answer = story["answers"][turn]
    start, end = int(answer["span_start"]), int(answer["span_end"])
    if start < 0 or end <= start or not answer["input_text"].strip() or answer["span_text"].strip() == "unknown":
        return None
    # annotated spans often begin or end with a blank, which belongs to the neighbouring sentence
    span = story["story"][start:end]
    start, end = start + len(span) - len(span.lstrip()), end - (len(span) - len(span.rstrip()))
    passage = window(story["story"], start, end, max_words) if end > start else None
    if passage is None:
        return None
    history = "\n".join(
        f"Q: {clean(q['input_text'])}\nA: {clean(a['input_text'])}"
        for q, a in zip(story["questions"][turn - HISTORY : turn], story["answers"][turn - HISTORY : turn], strict=True)
    )
    others = story.get("additional_answers") or {}
    references = [clean(rows[turn]["input_text"]) for _, rows in sorted(others.items()) if turn < len(rows)]
    return Example(
        f"conversational_qa/{dataset}/{story['id']}-{turn + 1}",
        "conversational_qa",
        dataset,
        article_of(story),
        {"passage": clean(passage), "history": history, "question": clean(story["questions"][turn]["input_text"])},
        clean(answer["input_text"]),
        references=tuple(r for r in dict.fromkeys(references) if r),
    )
