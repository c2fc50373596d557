"""How much work a job has, told from its arguments alone: floating-point operations, tokens of a language model, bytes.

A forward pass of N weights over a token costs 2N operations, its backward pass 4N, or 2N where only adapters learn
(Kaplan et al., 2020, section 2.1). Token counts are what the arguments allow, so they are bounds; what past jobs made
of such bounds is fitted (costs.py). Stages without a model count what their time grows with.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from searchtune.commands.planning.jobs import PlannedJob
from searchtune.commands.planning.sizes import PASSAGE_TOKENS, TOKENS_A_WORD, Sizer
from searchtune.synthesis.limrank_answer_judge import ANSWER_TOKENS as VERDICT_TOKENS

FORWARD, FULL, ADAPTERS = 2, 6, 4
PLAID_SHARE = 0.01  # of the vectors that PLAID looks at, about
QUESTION_TOKENS = 100  # of a question with its choices and the words around it, about
FRAME_TOKENS = 40  # of the words that a prompt puts around what it asks about, about
QUERIES_A_SEED = 2  # of daily life and of an expert, of LimRank's synthesizer


@dataclass(frozen=True)
class Work:
    """``amount``: what time grows with (operations where ``model`` says that a model does it, else a count).

    ``tokens``: a bound on what a language model reads and writes; ``size``: what its output's bytes grow with.
    """

    amount: float = 0.0
    tokens: float = 0.0
    size: float = 0.0
    model: bool = False


def _weights(job: PlannedJob, sizer: Sizer, name: str = "model") -> int:
    return sizer.parameters(job.files(name)[0])


def _language(job: PlannedJob, sizer: Sizer, tokens: float, name: str = "model") -> Work:
    """Return the work of reading and writing so many tokens."""
    return Work(FORWARD * _weights(job, sizer, name) * tokens, tokens, tokens, model=True)


def _fetch(job: PlannedJob, _: Sizer) -> Work:
    size = sum(part["bytes"] for part in job.args["parts"])
    return Work(size, size=size)


def _prepare(job: PlannedJob, sizer: Sizer) -> Work:
    weights = sizer.parameters(next(iter(job.outputs.values())))  # type: ignore[arg-type]
    return Work(weights, size=weights)


def _prune(job: PlannedJob, sizer: Sizer) -> Work:
    full, half = _weights(job, sizer, "full"), sizer.parameters(str(job.outputs["model"]))
    tokens = job.args["heal"]["tokens"]
    return Work((FORWARD * full + FULL * half) * tokens, tokens, half, model=True)


def _build(job: PlannedJob, sizer: Sizer) -> Work:
    passages = sizer.passages(str(job.outputs["collection"]))
    return Work(passages, size=passages)


def _bm25(job: PlannedJob, sizer: Sizer) -> Work:
    collection = job.files("collection")[0]
    queries = sizer.queries(collection, job.args["splits"])
    return Work(sizer.passages(collection) + queries, size=queries * job.args["depth"])


def _dense(job: PlannedJob, sizer: Sizer) -> Work:
    collection = job.files("collection")[0]
    tokens = sizer.passages(collection) * min(job.args["max_length"], PASSAGE_TOKENS)
    return Work(FORWARD * _weights(job, sizer, "encoder") * tokens, size=tokens, model=True)


def _late(job: PlannedJob, sizer: Sizer) -> Work:
    """Encode the passages unless an index is given; search queries over all vectors for each system."""
    collection, index = job.files("collection")[0], job.files("index")
    student = job if "passage_length" in job.args else (sizer.graph.behind(job, "train.student") or [job])[0]
    length = min(student.args.get("passage_length") or PASSAGE_TOKENS, PASSAGE_TOKENS)
    vectors = sizer.passages(collection) * length
    encode = 0 if index else FORWARD * _weights(job, sizer) * vectors
    queries = sizer.queries(collection, job.args["splits"]) * len(job.args["systems"])
    search = _search(queries, vectors, student)
    if sizer.passages(collection) > 100_000:
        search *= PLAID_SHARE
    return Work(encode + search, size=0 if index else vectors, model=True)


def _search(queries: int, vectors: float, student: PlannedJob) -> float:
    """Return the operations of comparing every token of the queries with every vector."""
    one = (student.args.get("query_length") or 32) * (student.args.get("dim") or 128)
    return float(FORWARD * queries * one * vectors)


def _plaid_loss(job: PlannedJob, sizer: Sizer) -> Work:
    """Search all vectors; then, for each number of bits, group them around centroids and look at a share of them."""
    collection = job.files("collection")[0]
    student = sizer.graph.behind(job, "train.student")[0]
    vectors = sizer.passages(collection) * min(student.args.get("passage_length") or PASSAGE_TOKENS, PASSAGE_TOKENS)
    search = _search(sizer.queries(collection, job.args["splits"]), vectors, student)
    # each vector is compared with all centroids, 16 times the root of the vectors, as ColBERT's indexer sets them
    grouped = float(FORWARD * vectors * 16 * vectors**0.5 * (student.args.get("dim") or 128))
    return Work(search + len(job.args["nbits"]) * (grouped + PLAID_SHARE * search), model=True)


def _tokenize(job: PlannedJob, sizer: Sizer) -> Work:
    tokens = sizer.tokens(job)
    return Work(tokens, size=tokens)


def _sft(job: PlannedJob, sizer: Sizer) -> Work:
    args, weights = job.args, _weights(job, sizer)
    tokens = sizer.tokens(job) * args["fraction"] * args["epochs"]
    return Work((FULL if args["full"] else ADAPTERS) * weights * tokens, tokens, weights, model=True)


def _examples(job: PlannedJob, _: Sizer) -> Work:
    rows = sum(pair.get("n_train", 0) + pair.get("n_test", 0) for pair in job.args["pairs"].values())
    return Work(rows, size=rows)


def prompt_tokens(job: PlannedJob, sizer: Sizer) -> float:
    """Return the tokens of the test prompts of an ``inters.predict`` job, each cut to its budget."""
    from searchtune.tasks.inventory import CONTROLS, task_of

    render = sizer.graph.behind(job, "inters.render")[0]
    pairs = sizer.graph.behind(job, "inters.examples")[0].args["pairs"]
    total = 0.0
    for task, pair in ((name.split("/")[0], pair) for name, pair in pairs.items()):
        if task in CONTROLS:
            continue
        spec = task_of(task)
        prompts = pair["n_test"] * (pair.get("depth", 10) if spec.kind == "ranking" else 1)
        for kind in job.args["sets"]:
            shots = render.args["n_shots"] if "few" in kind and spec.kind != "ranking" else 0
            read = min((1 + shots) * pair["max_words"] * TOKENS_A_WORD, render.args["max_prompt_tokens"])
            total += prompts * (read + spec.max_tokens)
    return total


def _predict(job: PlannedJob, sizer: Sizer) -> Work:
    return _language(job, sizer, prompt_tokens(job, sizer))


def _strategies(job: PlannedJob, sizer: Sizer) -> Work:
    args, depth, tokens = job.args, job.args["depth"], 0.0
    pair = args["query_tokens"] + args["passage_tokens"]
    asked = {"pointwise": depth * pair, "pairwise": 2 * depth * args["top"] * (pair + args["passage_tokens"])}
    window = args["window"] * args["passage_tokens"] + args["query_tokens"] + args["listwise_max_tokens"]
    for mode in args["modes"]:
        tokens += asked.get(mode, max(1, depth // args["stride"]) * window)
    queries = sum(args["n_queries"] or sizer.queries(collection, ["test"]) for collection in job.files("collections"))
    return _language(job, sizer, queries * tokens)


def _seed(job: PlannedJob, sizer: Sizer) -> Work:
    args = job.args
    calls = args["n_passages"] * (1 + len(args["strategies"]))
    each = FRAME_TOKENS + args["passage_words"] * TOKENS_A_WORD + args["sampling"]["max_tokens"]
    return _language(job, sizer, calls * each)


def written(job: PlannedJob, sizer: Sizer) -> int:
    """Return how many queries UDAPDR's second stage writes for a job behind it, or is to write itself."""
    scale_up = job if job.stage == "udapdr.scale_up" else sizer.graph.behind(job, "udapdr.scale_up")[0]
    prompts = sizer.graph.behind(scale_up, "udapdr.prompts")
    return int(scale_up.args["per_prompt"] * (prompts[0].args["count"] if prompts else 1))


def _scale_up(job: PlannedJob, sizer: Sizer) -> Work:
    prompts = sizer.graph.behind(job, "udapdr.prompts")
    shown = 1 + (prompts[0].args["demonstrations"] if prompts else 0)
    each = shown * job.args["passage_words"] * TOKENS_A_WORD + job.args["sampling"]["max_tokens"]
    return _language(job, sizer, written(job, sizer) * each)


def _filter(job: PlannedJob, sizer: Sizer) -> Work:
    args, made = job.args, written(job, sizer)
    length = min(args.get("passage_length") or PASSAGE_TOKENS, PASSAGE_TOKENS)
    vectors = sizer.passages(job.files("collection")[0]) * length
    search = FORWARD * made * (args.get("query_length") or 32) * vectors * (args.get("dim") or 128)
    read = FORWARD * _weights(job, sizer) * made * (args.get("query_length") or 32)
    return Work(read + search * (1 if vectors < 100_000 * PASSAGE_TOKENS else 0.01), size=made, model=True)


def labelled(job: PlannedJob, sizer: Sizer, share: str) -> int:
    """Return how many queries of a share (train, label) pass the filter at most."""
    shares = sizer.graph.behind(job, "udapdr.filter")[0].args["shares"]
    return int(written(job, sizer) * shares[share])


def _cross_encoder(job: PlannedJob, sizer: Sizer) -> Work:
    args, weights = job.args, _weights(job, sizer)
    queries = min(args["n_queries"], labelled(job, sizer, "train"))
    trained = queries * (1 + args["negatives"]["count"]) * args["epochs"]
    tested = 2 * args["held_queries"] * args["held_depth"]
    operations = (FULL * trained + FORWARD * tested) * weights * args["max_length"]
    return Work(operations, size=weights, model=True)


def tuples(job: PlannedJob, sizer: Sizer) -> int:
    """Return how many tuples a job labels or learns from at most."""
    maker = job if "nway" in job.args else sizer.graph.maker(job.files("tuples")[0])
    most = labelled(job, sizer, "label") * ((maker.args.get("windows") or 1) if maker else 1)
    return int(min(job.args.get("n_tuples") or job.args.get("max_tuples") or most, most))


def _teachers(job: PlannedJob, sizer: Sizer) -> Work:
    models = job.files("models")
    pairs = tuples(job, sizer) * job.args["nway"] * len(models)
    operations = FORWARD * sizer.parameters(models[0]) * pairs * job.args["max_length"]
    return Work(operations, size=pairs, model=True)


def _judge(job: PlannedJob, sizer: Sizer) -> Work:
    args = job.args
    each = args["max_query_tokens"] / 2 + args["max_passage_tokens"]
    each += args["max_reasoning_tokens"] if args["mode"] != "direct" else 0
    return _language(job, sizer, tuples(job, sizer) * args["nway"] * each)


def _student(job: PlannedJob, sizer: Sizer) -> Work:
    args, weights = job.args, _weights(job, sizer)
    maker = sizer.graph.maker(job.files("tuples")[0])
    each = (maker.args["nway"] if maker else 8) * (args.get("passage_length") or PASSAGE_TOKENS) + (
        args.get("query_length") or 32
    )
    return Work(FULL * weights * tuples(job, sizer) * args["epochs"] * each, size=weights, model=True)


def _rerank(job: PlannedJob, sizer: Sizer) -> Work:
    args, models = job.args, job.files("models")
    pairs = sizer.queries(job.files("collection")[0], args["splits"]) * args["depth"]
    operations = FORWARD * sizer.parameters(models[0]) * len(models) * pairs * args["max_length"]
    return Work(operations, size=pairs, model=True)


def _latency(job: PlannedJob, sizer: Sizer) -> Work:
    passages = sizer.passages(job.files("collection")[0])
    return Work(passages)


def _synthesize(job: PlannedJob, sizer: Sizer) -> Work:
    args = job.args
    seeds = args["n_seeds"] * args["personas_per_seed"]
    passages = args["n_positives"] + args["n_hard"]
    asked = args["query_tokens"] + args["trace_tokens"] + args["plan_tokens"] + passages * args["passage_tokens"]
    judged = (seeds * (passages + args["n_random"]) + 2 * args["n_planted"]) * (
        args["judge_tokens"] + args["max_passage_words"] * TOKENS_A_WORD
    )
    return _language(job, sizer, seeds * asked + judged, "writer")


def _pairs(job: PlannedJob, sizer: Sizer) -> float:
    """Return how many pairs a job reranks at most: of its collections, of the sets of instructions, of FollowIR's sets,
    and of the held-out synthetic queries.
    """
    depth, asked = job.args["depth"], job.args["n_queries"]
    queries = sum(asked or sizer.queries(path, ["test"]) for path in job.files("collections"))
    sets = [f"collections/{name}" for name in job.args.get("followir", ())]
    made = [sizer.graph.maker(path) for path in job.files("followir")]
    paths = [path for maker in made if maker for path in maker.files("collections")]
    queries += sum(sizer.queries(path, ["test"]) for path in paths if path.endswith(tuple(sets)))
    if "heldout" in job.inputs:
        written = sizer.graph.behind(job, "limrank.synthesize")[0].args
        seeds = max(1, written["n_seeds"] * written["dev_share"])
        queries += seeds * written["personas_per_seed"] * QUERIES_A_SEED
    pairs = float(queries * depth)
    for path in job.files("instructions"):
        maker = sizer.graph.maker(path)
        if maker is not None:
            each = sum(maker.args[key] for key in ("n_changed", "n_unchanged", "n_other"))
            pairs += 2 * maker.args["n_queries"] * min(depth, each)
    return pairs


def _pair_tokens(job: PlannedJob, modes: Iterable[str]) -> float:
    """Return the tokens of one pair, read and written in each of the modes; a query is taken as half its budget."""
    args, tokens = job.args, 0.0
    for mode in modes:
        tokens += FRAME_TOKENS + args["max_query_tokens"] / 2 + args["max_passage_tokens"]
        tokens += args["max_reasoning_tokens"] if mode == "reasoning" else 0
    return tokens


def _reasoning(job: PlannedJob, sizer: Sizer) -> Work:
    return _language(job, sizer, _pairs(job, sizer) * _pair_tokens(job, job.args["modes"]))


def _baseline(job: PlannedJob, sizer: Sizer) -> Work:
    """Rerank with a model of some kind; those with a relevance head are no language models and count no tokens."""
    kind, pairs = job.args["kind"], _pairs(job, sizer)
    asked = _language(job, sizer, pairs * _pair_tokens(job, [kind]))
    return Work(asked.amount, size=pairs, model=True) if kind in ("cross_encoder", "scalar") else asked


def asked(job: PlannedJob, sizer: Sizer) -> list[tuple[int, int, int]]:
    """Return (prompts, passages in each, tokens that an answer may have) of a ``limrank.answer`` job, by set and number
    of passages. A prompt that several systems give is asked once; how many do is not known, so that each counts."""
    args, found = job.args, []
    makers = [sizer.graph.maker(path) for path in job.files("reranked")]
    rerankers = [maker.args for maker in makers if maker is not None]
    for path in job.files("sets"):
        maker = sizer.graph.maker(path)
        choice = maker is not None and maker.stage == "limrank.questions"
        budget = args["choice_tokens" if choice else "short_tokens"]
        own = rerankers[0]["n_queries"] or sizer.queries(path, ["test"])
        every = own + args["more_questions"]
        runs = sum(len(r["modes"]) * (2 if args["price_faults"] and not r["faults"] else 1) for r in rerankers)
        # nobody's passages, the right one where it is known, and those of BM25 and of each reranker
        found += [(every, 0, budget)] + [(every, 1, budget)] * (not choice)
        found += [(every + runs * own, k, budget) for k in args["top_k"]]
    return found


def _answer(job: PlannedJob, sizer: Sizer) -> Work:
    args, tokens = job.args, 0.0
    for prompts, k, budget in asked(job, sizer):
        tokens += prompts * min(QUESTION_TOKENS + k * args["max_passage_tokens"] + budget, args["max_model_len"])
    return _language(job, sizer, args["n_samples"] * tokens)


def _judge_answers(job: PlannedJob, sizer: Sizer) -> Work:
    """Read each answer with its question and say yes or no; answers that are alike are judged once, but count here."""
    answer, tokens = sizer.graph.behind(job, "limrank.answer")[0], 0.0
    for prompts, _, budget in asked(answer, sizer):
        tokens += prompts * min(QUESTION_TOKENS + budget + VERDICT_TOKENS, job.args["max_model_len"])
    return _language(job, sizer, answer.args["n_samples"] * tokens)


def _source(job: PlannedJob, sizer: Sizer) -> Work:
    """Draw as many rows as the synthesizer gave; only where rows are to hold a reasoning does its judge write it."""
    rows = sizer.synthetic_rows(job)
    if not job.files("judge"):
        return Work(size=rows, model=True)  # none of a model's work, but of the stage that elsewhere has much of it
    each = job.args["judge_tokens"] + job.args["planted_words"] * TOKENS_A_WORD
    return replace(_language(job, sizer, rows * each, "judge"), size=rows)


STAGES: dict[str, Callable[[PlannedJob, Sizer], Work]] = {
    "fetch.artefact": _fetch,
    "models.prepare": _prepare,
    "models.colbert": _prepare,
    "models.prune": _prune,
    "collections.build": _build,
    "retrieve.bm25": _bm25,
    "retrieve.dense": _dense,
    "retrieve.late": _late,
    "train.tokenize": _tokenize,
    "inters.render": _tokenize,
    "train.sft": _sft,
    "inters.examples": _examples,
    "inters.predict": _predict,
    "rerank.strategies": _strategies,
    "udapdr.seed": _seed,
    "udapdr.scale_up": _scale_up,
    "udapdr.filter": _filter,
    "train.cross_encoder": _cross_encoder,
    "score.teachers": _teachers,
    "score.judge": _judge,
    "train.student": _student,
    "rerank.cross_encoder": _rerank,
    "udapdr.latency": _latency,
    "limrank.synthesize": _synthesize,
    "rerank.reasoning": _reasoning,
    "rerank.baseline": _baseline,
    "limrank.answer": _answer,
    "limrank.judge_answers": _judge_answers,
    "limrank.source": _source,
    "udapdr.plaid_loss": _plaid_loss,
}


def work_of(job: PlannedJob, sizer: Sizer) -> Work:
    """Return the work of a job; none for a stage that takes about the same time each time.

    Where the arguments don't hold what is needed (a job of other code), that is noted among the sizer's guesses.
    """
    if job.stage not in STAGES:
        return Work()
    try:
        return STAGES[job.stage](job, sizer)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        sizer.guesses.add(f"work of {job.name}: not told by its arguments ({type(error).__name__} {error}), left out")
        return Work()
