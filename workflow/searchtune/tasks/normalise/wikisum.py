"""WikiSum (Cohen et al. 2021): how-to articles of wikiHow to their summaries.

Form: ``WikiSumDataset.jsonl`` (url, title, summary, article, step_headers, fold) as the AWS registry of open data
describes it (awslabs/open-data-registry, datasets/wikisum.yaml). The paper of INTERS that names which of the two
data sets called WikiSum it takes was not at hand; this one has ready articles and summaries.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from searchtune.prompts.budget import first_words
from searchtune.tasks.example import Example
from searchtune.tasks.normalise.tables import jsonl_rows, split_named


def summarization(paths: Sequence[Path], dataset: str, max_words: int) -> Iterator[Example]:
    """Opening of the article (``max_words`` words) to its summary; the article is the page."""
    for path in paths:
        for number, row in enumerate(jsonl_rows(path), 1):
            split = split_named(row.text("fold"))
            if not split:
                raise row.fault("fold", f"is {row.text('fold')!r}, none of train, val, test")
            yield Example(
                f"summarization/{dataset}/{split}-{number}",
                "summarization",
                dataset,
                row.text("url"),
                {"article": first_words(row.text("article"), max_words)},
                row.text("summary"),
                split=split,
            )
