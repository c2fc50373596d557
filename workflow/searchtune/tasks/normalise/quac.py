"""QuAC (Choi et al. 2018): one turn of a conversation about a section of a Wikipedia page.

Form: ``train_v0.2.json`` and ``val_v0.2.json``, SQuAD's nesting: {data: [{title, section_title, background,
paragraphs: [{id, context, qas: [{id, question, orig_answer {text, answer_start}, answers, followup, yesno}]}]}]}
(quac.ai; as read by the hub's former loading script).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from searchtune.tasks.example import Example, clean, window
from searchtune.tasks.normalise.coqa import HISTORY
from searchtune.tasks.normalise.tables import Record, json_rows, split_of_file

NO_ANSWER = "CANNOTANSWER"


def conversational_qa(paths: Sequence[Path], dataset: str, max_words: int) -> Iterator[Example]:
    """Section, the two turns before and a question to the answer, cut as CoQA's: to the sentences around the answer.

    The article is the page. Turns that cannot be answered, the first two of a conversation, and answers that do
    not fit into ``max_words`` words are left out. Other annotators' answers are references.
    """
    for path in paths:
        split = split_of_file(path)
        for page in json_rows(path, "data"):
            for dialogue in page.children("paragraphs", 1):
                turns = dialogue.children("qas", 1)
                for number in range(HISTORY, len(turns)):
                    if example := _turn(page.text("title"), dialogue, turns, number, dataset, max_words, split):
                        yield example


def _answer(turn: Record) -> Record:
    value = turn.raw("orig_answer")
    if not isinstance(value, dict):
        raise turn.fault("orig_answer", "is not an object")
    return Record(f"{turn.where}, orig_answer", value)


def _passage(dialogue: Record, answer: Record, max_words: int) -> str | None:
    """Return the sentences around the answer; DataError where its text does not stand where it is said to."""
    context, text, start = dialogue.raw("context"), answer.raw("text"), answer.raw("answer_start")
    if not isinstance(context, str) or not isinstance(start, int) or context[start : start + len(text)] != text:
        raise answer.fault("answer_start", f"is {start!r}, where the context does not hold the answer")
    return window(context.removesuffix(NO_ANSWER).rstrip(), start, start + len(text.rstrip()), max_words)


def _turn(
    title: str, dialogue: Record, turns: list[Record], number: int, dataset: str, max_words: int, split: str
) -> Example | None:
    turn = turns[number]
    answer = _answer(turn)
    target = answer.text("text")
    passage = None if target == NO_ANSWER else _passage(dialogue, answer, max_words)
    if not passage:
        return None
    history = "\n".join(
        f"Q: {before.text('question')}\nA: {_answer(before).text('text')}"
        for before in turns[number - HISTORY : number]
    )
    others = dict.fromkeys(item.text("text") for item in turn.children("answers"))
    return Example(
        f"conversational_qa/{dataset}/{turn.text('id')}",
        "conversational_qa",
        dataset,
        title,
        {"passage": clean(passage), "history": history, "question": turn.text("question")},
        target,
        references=tuple(text for text in others if text not in (target, NO_ANSWER)),
        split=split,
    )
