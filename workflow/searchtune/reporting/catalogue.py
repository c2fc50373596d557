"""The tables that the report knows: their columns, titles and the way they are read.

One entry a table. The columns of the main tables are fixed by the project's contract; a table with
another header is a DataError that names the file and the column, before anything is drawn.
"""

from searchtune.errors import ConfigError, nearest
from searchtune.reporting.catalogue_limrank import LIMRANK_TABLES
from searchtune.reporting.table import Table
from searchtune.synthesis.udapdr_chains import HELD

PAPERS = {"inters": "INTERS", "udapdr": "UDAPDR", "limrank": "LimRank"}
# metrics of which less is better; of all others more is better
LESS_IS_BETTER = frozenset({"loss", "dev_loss", "p50_ms", "p95_ms", "p99_ms"})


_SCORE = ("metric", "value", "ci_low", "ci_high", "n")
_PLACE = ("category", "task", "dataset")
_AGAINST = ("baseline", "baseline_value", "p_value")
_SIGNS = ("sign", "value", "threshold", "passed", "note")
_FAULTS = ("fault", "what", "system")
_PRICE = ("metric", "corrected", "released")
_FAILURES = ("step", "calls", "failed", "share")
_ABLATION = (
    *("system", "base_model", "prompts", "scope", "train_tokens", "steps", "instructions"),
    *("supervised_tokens", *_PLACE, *_SCORE, *_AGAINST),
)

_EQUAL = (
    " Tokens and optimiser steps are those of the full model; supervised tokens, which the loss counts, may differ. "
    "p-value: paired test against the full model."
)

_TABLES = (
    Table(
        "inters",
        "in_domain",
        "Every task, untuned and tuned",
        "Score of every system on every test set, with its 95% interval over test examples. The p-value is of a "
        "paired test against the system named under baseline.",
        ("system", "base_model", "tuned", "category", "task", "dataset", *_SCORE, "baseline", "p_value"),
        group=("category", "task", "dataset", "metric"),
        wide=("system",),
    ),
    Table(
        "inters",
        "ablation_data_volume",
        "How much tuning data is needed",
        "Score by the share of the tuning data that was used; the test prompts are the same.",
        ("fraction", "train_tokens", "category", "task", *_SCORE),
        group=("category", "task", "metric"),
        system="fraction",
        wide=("fraction",),
    ),
    *(
        Table(
            "inters",
            f"ablation_{kind}",
            title,
            caption + _EQUAL,
            _ABLATION,
            group=("base_model", "category", "task", "dataset", "metric"),
            wide=("base_model", "system"),
        )
        for kind, title, caption in (
            (
                "instruction_design",
                "What the design of instructions is worth",
                "One change of the recipe a row group, on the same test prompts, and where a variant's prompts have "
                "another form also on its own. Few templates are the first of each data set, reversed ones come last; "
                "a data set that has fewer keeps all of its own.",
            ),
            (
                "task_variety",
                "What the variety of tasks is worth",
                "Categories, tasks and data sets that trained nothing, tested all the same (scope: left out). "
                "Reversed templates of the tasks that stay may ask for something like it: a title from a narrative "
                "is close to query generation.",
            ),
        )
    ),
    Table(
        "inters",
        "ablation_control",
        "Search tasks, or any instruction tuning",
        "The control is tuned on general instructions in place of every search task, on as many tokens and optimiser "
        "steps as the full model; supervised tokens, which the loss counts, may differ. Its data are five tasks of "
        "Natural Instructions in their publisher's words: is a text nonsense (022), a related fact (037), what two "
        "facts add up to (038), a word that two sentences share (039), a story on a background (059); the other 56 "
        "are search tasks or close to one (questions, answers, topic words, paraphrases). Where they are fewer than "
        "the full model's they come again. Scope: whether the system was trained on the task. p-value: paired test "
        "against the system under baseline, the control against the untuned model, the full model against the control.",
        _ABLATION,
        group=("base_model", "category", "task", "dataset", "metric"),
        wide=("base_model", "system"),
    ),
    Table(
        "inters",
        "ablation_base_model",
        "Base models",
        "Every base model untuned and tuned on the same mixture.",
        ("system", "base_model", "tuned", "train_tokens", *_PLACE, *_SCORE, *_AGAINST),
        ("note",),
        group=("category", "task", "dataset", "metric"),
        wide=("system",),
        explained="base_model",
    ),
    Table(
        "inters",
        "round_trip",
        "Round trip of written queries",
        "How often BM25 finds the source passage with the query that a model wrote for it. A copied sentence finds "
        "it, too; without copies: a text that repeats more than twelve words of its passage in a row counts as failed. "
        "Model of the first seed.",
        ("system", "collection", *_SCORE),
        ("p_value", "baseline"),
        group=("collection", "metric"),
        wide=("collection", "metric"),
    ),
    Table(
        "inters",
        "data",
        "Data of every task",
        "Examples by split, instructions and tokens of the full mixture. Verified: the loader was checked on the "
        "publisher's file (raw), on a small file in the publisher's format (schema), or the format could not be "
        "confirmed (none: not done). Query generation is the workflow's own twenty-first task. The data of a control "
        "stand last: no task of INTERS, in no mixture but the control's, counted with nothing.",
        (
            "category",
            "task",
            "dataset",
            "train",
            "dev",
            "test",
            "instructions",
            "tokens",
            "verified",
            "licence",
            "status",
        ),
        main=False,
    ),
    Table(
        "inters",
        "verdicts",
        "Expected against ours",
        "What the paper reports, how far that can be trusted, and the change measured here (means over tasks, times "
        "100). A published base model that was not run here is judged by direction alone, with ours in its place. A "
        "direction counts where the interval, over prompts and seeds, leaves 0 out: row by row, not adjusted for their "
        "number.",
        (
            "item",
            "claim",
            "published_system",
            "published_before",
            "published_after",
            "trust",
            "base_model",
            "category",
            "compared",
            "change",
            "ci_low",
            "ci_high",
            "n",
            "seeds",
            "verdict",
        ),
    ),
    Table(
        "inters",
        "strategies",
        "Ranking strategies",
        "BM25's passages reranked by one model: pointwise (probability of yes), pairwise (bubble sort) and listwise "
        "(sliding windows), on the same candidates. Broken: windows whose answer did not name every passage. "
        "Model of the first seed.",
        ("system", "collection", "mode", "depth", "window", "stride", *_SCORE, "tie_share", "dropped", "asked"),
        ("broken", "prompt_tokens", "completion_tokens", "baseline", "p_value"),
        group=("collection", "depth", "metric"),
        wide=("collection", "metric"),
    ),
    Table(
        "inters",
        "loss",
        "Loss of the tuning run",
        "Training and held-out loss by step, full model of the first seed.",
        ("split", "step", "tokens", "loss"),
        main=False,
    ),
    Table(
        "udapdr",
        "quality",
        "Ranking quality",
        "Every system on the test queries of each target collection, none of which trained anything: human ones, or "
        f"held-out synthetic ones (weaker evidence) where its name ends in {HELD}. A reranked list "
        "ends at its depth, which can only lower its RR.",
        ("collection", "system", *_SCORE, "p_vs_bm25", "p_vs_best_unadapted", "p_vs_reranked"),
        ("note",),
        group=("collection", "metric"),
        wide=("collection", "metric"),
    ),
    Table(
        "udapdr",
        "ablations",
        "What each change of the chain is worth",
        "One change a row group, on the same test queries; all before the change is shared. x: number of "
        "prompts, of queries a prompt, of tuples at most, depth of the filter. p-value: paired test against the "
        "chain as configured. A change without values came to too little; its note says why.",
        (*("kind", "variant", "label", "x", "collection", "system"), *_SCORE, "seeds", *_AGAINST),
        ("difference", "difference_low", "difference_high", "note"),
        group=("kind", "collection", "system", "metric"),
        system="label",
        wide=("collection", "system", "metric"),
    ),
    Table(
        "udapdr",
        "dev",
        "What each change of the chain is worth on dev queries",
        "The same changes on the dev queries of the first target, which no other table uses: a setting is chosen here "
        "and then reported on test queries.",
        (*("kind", "variant", "label", "x", "collection", "system"), *_SCORE, "seeds", "baseline", "baseline_value"),
        ("difference", "difference_low", "difference_high", "note"),
        group=("kind", "collection", "system", "metric"),
        system="label",
        wide=("collection", "system", "metric"),
        main=False,
    ),
    Table(
        "udapdr",
        "latency",
        "Time per query",
        "Median, 95th and 99th percentile of the time from query text to ranked list here. Batch: queries at once, "
        "depth: passages retrieved, or reranked by all rerankers. ms per pair: the median over the depth, retrieval "
        "and all rerankers in it. Published: the paper's Table 2, on one V100; its reranking times are 20.6 ms a pair "
        "(one reranker, one pair at a time) multiplied by the depth, the 35 ms of retrieval not added. Ours are "
        "measured whole on this machine, a query's pairs in batches.",
        ("system", "depth", "batch", "p50_ms", "p95_ms", "n"),
        ("p99_ms", "published_ms", "ms_per_pair"),
    ),
    Table(
        "udapdr",
        "verdicts",
        "Expected against ours",
        "What the paper reports, how far that can be trusted, and what was measured here (times 100; times in ms). "
        "Published values are those of the collection where the paper has it, else means over the paper's own. The "
        "models here stand in for the paper's: their direction alone is judged, their size only where the student "
        "starts from ColBERTv2 and the collection is LoTTE. Intervals: over queries, paired, and over seeds. A "
        "direction counts where the p-value, adjusted by Holm over the claims of this table, is below 0.05; the same "
        "tests stand elsewhere with the report's own adjustment. A score is within tolerance where it is at most one "
        "point off. Times: one side is faster where its 95th percentile lies below the other's median.",
        (
            *("item", "claim", "published_before", "published_after", "trust", "collection", "metric", "compared"),
            *("before", "after", "change", "ci_low", "ci_high", "n", "seeds", "p_adjusted", "verdict", "note"),
        ),
    ),
    Table(
        "udapdr",
        "plaid",
        "PLAID against exact late interaction",
        "The adapted student on its target, by exact search and by PLAID with so many bits a dimension. Overlap: share "
        "of the exact top 10 or 100 that PLAID has too, mean over queries. Least rows: fewest passages that a query "
        "got; tie share: ranked passages whose score another one of the query has too.",
        ("collection", "search", "nbits", "passages", "index_bytes", "bytes_share", "overlap@10", "overlap@100"),
        ("success@5", "ndcg@10", "n", "depth", "least_rows", "tie_share"),
        system="search",
        main=False,
    ),
    Table(
        "udapdr",
        "synthesis",
        "Synthetic queries, stage by stage",
        "What went into each stage and what came out.",
        ("stage", "strategy", "prompt", "in", "out"),
        ("keep_rate",),
    ),
    Table(
        "udapdr",
        "filter",
        "Round-trip filter",
        "Share of queries whose own passage is found, by retriever and depth k.",
        ("retriever", "group", "name", "k", "n", "passed", "rate"),
        main=False,
    ),
    Table(
        "limrank",
        "rerank",
        "Reranking quality",
        "BM25's top passages reranked. Tie share: candidates whose score another one of the query has too.",
        ("collection", "system", "mode", "depth", *_SCORE, "tie_share", "p_vs_bm25", "p_vs_untuned"),
        group=("collection", "depth", "metric"),
        wide=("collection", "metric"),
    ),
    Table(
        "limrank",
        "followir",
        "Following a changed instruction",
        "p-MRR: how far a system moves passages that a narrowed instruction makes irrelevant "
        "(−100 to 100, above 0 is right).",
        ("collection", "system", "mode", "depth", *_SCORE),
        ("tie_share", "p_vs_bm25", "p_vs_untuned"),
        group=("collection", "depth", "metric"),
        wide=("collection", "metric"),
    ),
    Table(
        "limrank",
        "benchmarks",
        "Published benchmarks",
        "BRIGHT, FollowIR and LitSearch as measured here, and as papers print them. What is not reranked keeps its "
        "place: values at two depths are two measures. A mean is over sets, unweighted.",
        ("benchmark", "dataset", "system", "mode", "depth", *_SCORE, "source", "note"),
    ),
    Table(
        "limrank",
        "synthesis",
        "Synthesised examples, stage by stage",
        "What went into each stage and what came out.",
        ("stage", "strategy", "prompt", "in", "out"),
        ("keep_rate",),
    ),
    *LIMRANK_TABLES,
    Table(
        "limrank",
        "rag",
        "Answers with retrieved passages",
        "A generator reads the first k passages of a system and answers; k 0: it reads nothing. Accuracy: the boxed "
        "letter, or a right short answer among the words of what it wrote (SQuAD's normalisation), or a judge's yes. "
        "Says the original: what the passage said before its answer was swapped for another, the generator's memory. "
        "Questions: those that every system answered (reranked), or all of a set. Several answers that one model draws "
        "to a question are averaged. Seeds: of training, 1 where nothing was trained. Intervals: over questions, and "
        "over seeds where there are several.",
        ("collection", "questions", "system", "mode", "k", *_SCORE, "seeds"),
        group=("collection", "questions", "k", "metric"),
        wide=("collection", "metric"),
    ),
    Table(
        "limrank",
        "rag_tests",
        "Answers with retrieved passages: what can be told",
        "Paired tests of accuracy over questions, each the mean over its answers and training seeds: every system "
        "against no passages, and every reranker against BM25's order at the same k (values times 100). Seeds: of "
        "training, 1 where neither side was trained. p-values: adjusted by Holm over all "
        "comparisons of LimRank's part. The last row is the paper's own comparison on GPQA Diamond and what its "
        "printed shares allow: the interval takes the two systems as independent, p is the smallest that any overlap "
        "of right answers gives, not adjusted.",
        (
            *("collection", "system", "mode", "k", "against", "metric", "before", "after", "change"),
            *("ci_low", "ci_high", "n", "seeds", "p_holm", "verdict", "note"),
        ),
    ),
    Table(
        "limrank",
        "reasons",
        "Why synthesised items were lost",
        "By stage and strategy; an item counts under the first reason that applies.",
        ("stage", "strategy", "reason", "count"),
        main=False,
    ),
    Table(
        "limrank",
        "coverage",
        "What the synthesised examples cover",
        "Judged and kept pairs. Domain and difficulty are the writer's own labels, the band is what it was asked for.",
        ("kind", "domain", "difficulty", "role", "pairs", "kept"),
        ("band",),
        main=False,
    ),
    *(
        Table(
            paper,
            "faults",
            "What faults of the released code are worth",
            "The same answers and scores, evaluated by the field's standard definition and as the released code does. "
            "Of models with several seeds the first.",
            (*_FAULTS, *places, *_PRICE),
            main=False,
        )
        for paper, places in (
            ("inters", ("task", "dataset")),
            ("udapdr", ("collection",)),
            ("limrank", ("collection",)),
        )
    ),
    *(
        Table(
            paper, "signs", "Signs of life", "Checks that a run which learned nothing would fail.", _SIGNS, main=False
        )
        for paper in PAPERS
    ),
    *(
        Table(
            paper,
            "parse_failures",
            "Answers that could not be used",
            "Not parsed, cut off, or refused by a rule. Counted, never scored in silence.",
            _FAILURES,
            main=False,
        )
        for paper in PAPERS
    ),
)
TABLES = {(table.paper, table.name): table for table in _TABLES}


def tables_of(paper: str) -> list[Table]:
    """Return the known tables of a paper in the order of the report."""
    if paper not in PAPERS:
        raise ConfigError(f"unknown paper {paper!r}{nearest(paper, PAPERS)}")
    return [table for table in _TABLES if table.paper == paper]
