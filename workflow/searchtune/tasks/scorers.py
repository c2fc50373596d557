"""Scores of one answer against its references, written from the metrics' definitions. All lie between 0 and 1.

BLEU and ROUGE are sentence scores, averaged over examples: intervals and paired tests then stand on
the very values whose mean is printed. (The released script pools a corpus BLEU; that number is
printed beside, without an interval.)
"""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from searchtune.tasks.answers import normalise_answer, normalise_item, parse_numbered

Faults = frozenset[str]
NONE: Faults = frozenset()


@cache
def _bleu(order: int) -> Any:
    from sacrebleu.metrics.bleu import BLEU

    # effective order: a one-word answer has no bigrams, and must not be scored 0 for that
    return BLEU(max_ngram_order=order, effective_order=True, lowercase=True, tokenize="13a", smooth_method="exp")


@cache
def _corpus_bleu(order: int) -> Any:
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(max_ngram_order=order, lowercase=True, tokenize="13a", smooth_method="exp")


@cache
def _rouge(kind: str) -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer([kind], use_stemmer=True)


def bleu(answer: str, references: Sequence[str], order: int) -> float:
    """Return sentence BLEU up to ``order``-grams (sacrebleu, tokeniser 13a, lower case)."""
    return _bleu(order).sentence_score(answer, list(references)).score / 100 if answer.strip() else 0.0


def corpus_bleu(answers: Sequence[str], targets: Sequence[str], order: int) -> float:
    """Return corpus BLEU up to ``order``-grams against one reference each."""
    return _corpus_bleu(order).corpus_score(list(answers), [list(targets)]).score / 100


def rouge(answer: str, references: Sequence[str], kind: str) -> float:
    """Return the best ROUGE F-measure over the references (rouge_score, Porter stems); kind: rouge1, rouge2, rougeL."""
    return max(_rouge(kind).score(reference, answer)[kind].fmeasure for reference in references)


def overlap_f1(predicted: Sequence[str], right: Sequence[str]) -> float:
    """Return F1 of two bags of units; two empty bags agree."""
    if not predicted or not right:
        return float(not predicted and not right)
    common = sum((Counter(predicted) & Counter(right)).values())
    return 2 * common / (len(predicted) + len(right))


def token_f1(answer: str, references: Sequence[str], faults: Faults = NONE) -> float:
    """Return the best token F1 over the references after SQuAD's normalisation; B1: of characters, not tokens."""

    def units(text: str) -> Sequence[str]:
        """Return what is compared: tokens, or characters under B1."""
        return normalise_answer(text) if "B1" in faults else normalise_answer(text).split()

    return max(overlap_f1(units(answer), units(reference)) for reference in references)


def exact_match(answer: str, references: Sequence[str]) -> float:
    """Return 1 if the answer equals a reference after SQuAD's normalisation, else 0."""
    return float(any(normalise_answer(answer) == normalise_answer(reference) for reference in references))


def set_scores(answer: str, target: str, faults: Faults = NONE) -> dict[str, float]:
    """Return precision, recall and F1 of the items of a numbered list, compared as exact strings.

    The target goes through the same parser as the answer, as in the released script.
    """
    found, wanted = ({normalise_item(item) for item in parse_numbered(text, faults)[0]} for text in (answer, target))
    common = len(found & wanted)
    precision = common / len(found) if found else 0.0
    recall = common / len(wanted) if wanted else 0.0
    return {
        "precision": precision,
        "recall": recall,
        "F1": 2 * precision * recall / (precision + recall) if common else 0.0,
    }


def weighted_f1(predicted: Sequence[str | None], right: Sequence[str]) -> float:
    """Return the F1 of each label, weighted by how often the label is right; None is an answer without a label."""
    total = 0.0
    for label, count in Counter(right).items():
        hits = sum(p == label == r for p, r in zip(predicted, right, strict=True))
        said = sum(p == label for p in predicted)
        total += count * (2 * hits / (said + count))
    return total / len(right)


TEXT_METRICS: dict[str, Callable[[str, Sequence[str], Faults], float]] = {
    "ROUGE-1": lambda answer, references, faults: rouge(answer, references, "rouge1"),
    "ROUGE-2": lambda answer, references, faults: rouge(answer, references, "rouge2"),
    "ROUGE-L": lambda answer, references, faults: rouge(answer, references, "rougeL"),
    "BLEU-1": lambda answer, references, faults: bleu(answer, references, 1),
    "BLEU-2": lambda answer, references, faults: bleu(answer, references, 2),
    "token F1": token_f1,
    "EM": lambda answer, references, faults: exact_match(answer, references),
}


def score_text(answer: str, row: dict[str, Any], metrics: Sequence[str], faults: Faults = NONE) -> dict[str, float]:
    """Return metric -> score of a free or list answer to one example."""
    references = [row["target"], *row["references"]]
    scores = {name: TEXT_METRICS[name](answer, references, faults) for name in metrics if name in TEXT_METRICS}
    if "F1" in metrics:
        scores |= set_scores(answer, row["target"], faults)
    return {name: scores[name] for name in metrics}
