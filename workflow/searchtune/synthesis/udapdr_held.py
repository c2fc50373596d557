"""Stage ``udapdr.held``: a test set for a corpus without human questions, of synthetic queries that trained nothing.

Weaker evidence than human questions: a model wrote these, and only those are here whose passage the untrained
retrievers find.
"""

from typing import Any

from searchtune.collections.beir import Collection, Query
from searchtune.collections.synthetic import load_filtered
from searchtune.errors import DataError
from searchtune.stage import Job


def run(job: Job) -> dict[str, Any]:
    """Stage entry. Inputs: collection, queries (filtered folder). Output: collection (the same corpus; its test queries
    are those of the held-out part, each with the passage that it was written from as the relevant one).

    Params: id. DataError if no query was held out.
    """
    collection = Collection.load(job.inputs["collection"])
    held = [row for row in load_filtered(job.inputs["queries"]) if row.part == "held"]
    if not held:
        raise DataError(
            f"{job.inputs['queries']}: no synthetic query was held out to test with, and there are no human ones; "
            "write more (udapdr.scale_up.per_prompt) or lower udapdr.filter.shares"
        )
    made = Collection(
        corpus=collection.corpus,
        queries={row.id: Query(row.text, metadata={"split": "test", "synthetic": True}) for row in held},
        qrels={row.id: {row.source: 1} for row in held},
        excluded={},
        manifest=collection.manifest | {"id": job.params["id"], "queries": "synthetic, held out"},
    )
    made.save(job.outputs["collection"])
    return {"passages": len(made.corpus), "queries": len(held)}
