"""Which test queries are reranked: reranking with a language model is dear, so a seeded sample is."""

from random import Random

from searchtune.collections.beir import Collection
from searchtune.errors import DataError


def sample_queries(collection: Collection, n: int | None, seed: int, key: str) -> list[str]:
    """Return ``n`` test queries that have a judgement (None: all), the same for every system, in id order.

    DataError, naming the setting ``key``, if there are fewer.
    """
    usable = sorted(i for i in collection.queries_of("test") if collection.qrels.get(i))
    if n is not None and len(usable) < n:
        raise DataError(
            f"{n} queries were asked for, {collection.manifest.get('id', 'the collection')!r} has "
            f"{len(usable)} judged test queries; lower {key}"
        )
    return usable if n is None else sorted(Random(seed).sample(usable, n))
