"""Configuration of UDAPDR's part: writers, synthesis, filter, rerankers, distillation, systems that are compared."""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from searchtune.config.base import Section, check_ablations, chosen_ablations, merge

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0, le=1)]
Strategy = Literal["guided", "vanilla", "retrieve", "design", "write"]
Retriever = Literal["bm25", "late"]
Precision = Literal["auto", "float32", "bfloat16"]
OURS = "ours: UDAPDR does not give it"
# stages of a chain, in order; what a variant or a seed changes is made anew from its stage on
STAGES = ("seed", "prompts", "queries", "filtered", "rerankers", "tuples", "students")
Stage = Literal["seed", "prompts", "queries", "filtered", "rerankers", "tuples", "students"]
KINDS = {
    "rerankers": "number of prompts and rerankers (Table 1)",
    "models": "writers and reranker size (Table 3)",
    "strategies": "prompting strategies (Table 4)",
    "selection": "rerankers chosen on held-out queries (Table 7)",
    "tuples": "amount of distillation data (Table 8)",
    "queries": "number of synthetic queries",
    "filter": "round-trip filter",
    "distillation": "how the student learns",
    "faults": "faults of the released code, each alone",
}
Kind = Literal[
    "rerankers", "models", "strategies", "selection", "tuples", "queries", "filter", "distillation", "faults"
]


class Sampling(Section):
    """How a model draws its answers."""

    max_tokens: Count = Field(32, description="new tokens (count; released code)")
    temperature: float = Field(0.0, ge=0, description="0 is greedy (released code: 0.0 strong, 1.0 cheap model)")
    top_p: Rate = Field(1.0, description="nucleus (released code: 0.95 for the cheap model)")
    stop: Literal["line", "blank_line"] = Field("line", description="what ends an answer (InPars: a blank line)")


class Cleaning(Section):
    """Which written questions are kept; words of the released filter (speaker, author ...) always drop one."""

    min_words: Count = Field(3, description=f"shortest question (words; {OURS})")
    max_words: Count = Field(30, description=f"longest question (words; {OURS})")
    min_latin_share: Share = Field(0.6, description=f"least share of ASCII letters, a check for English ({OURS})")
    need_question_mark: bool = Field(False, description=f"drop what does not end in a question mark ({OURS})")


class SeedStage(Section):
    """Stage 1: questions by the strong model."""

    n_passages: Count = Field(20, description="X, passages sampled (count; released example: 20)")
    strategies: list[Strategy] = Field(
        ["guided", "vanilla", "retrieve", "design", "write"],
        min_length=1,
        description="prompting strategies, in the paper's order",
    )
    passage_words: Count = Field(192, description="cut of a passage (words; released code)")
    sampling: Sampling = Sampling()


class PromptStage(Section):
    """Stage 2: corpus-adapted prompts."""

    count: Count = Field(5, description="Y, prompts and rerankers (count; paper: 1, 5, 10)")
    demonstrations: Count = Field(3, description="demonstrations a prompt (count; paper)")
    passage_words: Count = Field(192, description="cut of a demonstration's passage (words; released code)")
    max_overlap: Share = Field(0.7, description=f"word overlap above which good and bad question are one ({OURS})")
    min_grounding: Share = Field(
        0.0,
        description="least share of a good question's content words that its passage "
        f"must hold ({OURS}; 0 switches the check off)",
    )


class ScaleUpStage(Section):
    """Stage 3: queries by the cheap model."""

    per_prompt: Count = Field(20000, description="Z, queries a prompt (count; paper: 100,000 in all)")
    per_passage: Count = Field(1, description="queries of each passage drawn, each with its own seed (count; paper: 1)")
    passage_words: Count = Field(256, description="cut of a passage (words; released code)")
    sampling: Sampling = Sampling(temperature=1.0, top_p=0.95)
    template: Literal["good_and_bad", "good_only", "instruction"] = Field(
        "good_and_bad", description="form of the corpus-adapted prompt (paper: good and bad questions)"
    )
    prompts: Literal["corpus_adapted", "inpars"] = Field(
        "corpus_adapted",
        description="prompts of stage 2, or one for every corpus, in a form and with examples of its own (InPars; "
        "Table 4): Y rerankers then differ in the passages that their queries were written from",
    )

    @model_validator(mode="after")
    def _several_queries_of_a_passage_are_drawn(self) -> "ScaleUpStage":
        if self.per_passage > 1 and self.sampling.temperature == 0:
            raise ValueError(
                f"per_passage is {self.per_passage}, but at sampling.temperature 0 all queries of a passage are one; "
                "set per_passage: 1 or raise the temperature"
            )
        return self


class Parts(Section):
    """Shares of the kept queries, by source passage; the rest is held out."""

    train: Share = Field(0.45, description=f"queries that train rerankers (share; {OURS})")
    label: Share = Field(0.45, description=f"queries that rerankers label for the student (share; {OURS})")

    @model_validator(mode="after")
    def _leave_some_out(self) -> "Parts":
        if self.train + self.label >= 1 or min(self.train, self.label) == 0:
            raise ValueError("train and label must both be above 0 and leave a share of queries held out")
        return self


class FilterStage(Section):
    """Round-trip filter."""

    retrievers: list[Retriever] = Field(
        ["late"], min_length=1, description="who must find the source passage (paper: zero-shot ColBERTv2)"
    )
    require: Literal["all", "any"] = Field("all", description="all retrievers must find it, or any")
    k: Count = Field(20, description="ranks that count as found (count; paper: 20)")
    depth: Count = Field(100, description="candidates kept per query (count; released code)")
    candidates: Literal["bm25", "late", "fused"] = Field(
        "late", description="whose list gives negatives and tuples; fused = reciprocal ranks of all retrievers"
    )
    shares: Parts = Parts()

    @model_validator(mode="after")
    def _candidates_come_from_a_retriever(self) -> "FilterStage":
        if self.candidates != "fused" and self.candidates not in self.retrievers:
            raise ValueError(f"candidates {self.candidates!r} is not among retrievers {self.retrievers}")
        if self.k > self.depth:
            raise ValueError(f"k = {self.k} is deeper than the {self.depth} candidates kept")
        return self


class Negatives(Section):
    """Which candidates are negatives of a reranker's training query."""

    policy: Literal["top", "random", "spread"] = Field("random", description="best ranked, drawn, or every n-th")
    count: Count = Field(99, description="negatives a query (count; released code: 99)")
    depth: Count = Field(100, description="candidates they come from (count; released code)")


class Reranker(Section):
    """Cross-encoders."""

    model: str = Field("deberta-v3-large", description="start (id of a model)")
    head: Literal["cls", "interaction"] = Field(
        "cls", description="linear unit on [CLS] (paper), or token interaction, which needs far less data (ours)"
    )
    n_queries: Count = Field(10000, description="training queries, at most (count; released code)")
    loss: Literal["pointwise", "listwise"] = Field("pointwise", description="cross-entropy of pairs (paper), or lists")
    negatives: Negatives = Negatives()
    lr: Rate = Field(
        5e-6,
        description="peak learning rate (paper, for DeBERTa-v3-large; a MiniLM start on few queries needs about 1e-4)",
    )
    epochs: Count = Field(1, description="passes over the queries (paper: 1)")
    batch_size: Count = Field(32, description="pairs an optimiser step (count; paper)")
    warmup_ratio: Share = Field(0.1, description="share of optimiser steps that warm up (paper: linear)")
    weight_decay: float = Field(0.0, ge=0, description="of AdamW (released code: Adam without)")
    max_grad_norm: float = Field(1.0, gt=0, description=f"gradient norm above which it is clipped ({OURS})")
    dropout: Share = Field(0.1, description="dropout (paper)")
    freeze_embeddings: bool = Field(
        False, description="leave the token embeddings as they are; steadier and faster on few queries (paper: no)"
    )
    blend: float = Field(
        1.0,
        gt=0,
        le=1,
        description="final weights: this share of the way from the start to the trained ones; a half is steadier on "
        "few queries (Wortsman et al. 2022; paper: 1)",
    )
    max_length: int = Field(384, ge=16, description="query and passage together (tokens; released code)")
    score_batch_size: Count = Field(32, description="pairs scored at once (count)")
    held_depth: Count = Field(20, description=f"candidates of an unseen query for the sign of life (count; {OURS})")
    held_queries: Count = Field(500, description=f"unseen queries for the sign of life, at most (count; {OURS})")


class Teachers(Section):
    """Labelling for distillation."""

    combine: Literal["mean", "mixed", "sequential"] = Field(
        "mean", description="mean of all rerankers, or each query's own one, mixed or one after the other (released)"
    )
    nway: int = Field(16, ge=2, description="passages a tuple (count; released code)")
    windows: Count = Field(6, description="tuples a query (count; released code)")
    n_tuples: Count = Field(100000, description="tuples in all, at most (count; paper: 1K, 10K, 100K)")
    depth: Count = Field(100, description="candidates that tuples come from (count; released code)")
    select: Count | None = Field(
        None,
        description="how many rerankers label: the best by RR on unseen synthetic queries (count; empty = all; paper, "
        "Table 7: the best on dev queries)",
    )
    judge: str = Field(
        "",
        description="who labels: empty = the chain's cross-encoders (paper); or a language model by its odds of true "
        "against false, asked as limrank.rerank asks: limrank/<variant> (tuned by LimRank's part), inters/<variant>, "
        "or the id of a model, untuned (ours)",
    )
    judge_mode: Literal["direct", "reasoning"] = Field(
        "direct", description="reasoning: the judge thinks before its verdict, and every pair costs a text (ours)"
    )

    @model_validator(mode="after")
    def _a_judge_is_one_teacher(self) -> "Teachers":
        if self.judge and (self.select is not None or self.combine != "mean"):
            raise ValueError(
                f"judge {self.judge!r} labels alone, and combine and select are about several cross-encoders: leave "
                "them at mean and empty, or set judge to '' beside them"
            )
        return self

    @model_validator(mode="after")
    def _selection_needs_the_mean(self) -> "Teachers":
        if self.select is not None and self.combine != "mean":
            raise ValueError(f"select = {self.select} leaves prompts without a reranker: it goes with combine: mean")
        return self


# what a student's empty settings mean where its start was not trained for late interaction
_UNTRAINED_START: dict[str, Any] = {
    "dim": 128,
    "query_length": 32,
    "passage_length": 300,
    "skip_punctuation": True,
    "keep_special": True,
    "projection_seed": 0,
    "query_marker": "",
    "passage_marker": "",
    "query_augmentation": False,
    "attend_to_augmentation": False,
}
SETTINGS = tuple(_UNTRAINED_START)


def settings_of(student: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of late interaction for a start that was not trained for it: empty ones have a value."""
    return {key: default if student.get(key) is None else student[key] for key, default in _UNTRAINED_START.items()}


class Student(Section):
    """The late-interaction retriever. Settings that are empty are those of its start, where this was trained for late
    interaction (a model of kind late_interaction).
    """

    dim: Count | None = Field(
        None, description="dimensions of a token vector (count; empty = its start's, else ColBERTv2's 128)"
    )
    query_length: int | None = Field(
        None, ge=4, le=512, description="longest query (tokens; empty = its start's, else ColBERTv2's 32)"
    )
    passage_length: int | None = Field(
        None, ge=8, le=512, description="longest passage (tokens; empty = its start's, else the released code's 300)"
    )
    skip_punctuation: bool | None = Field(
        None, description="punctuation of passages does not count (empty = as its start, else true as in ColBERT)"
    )
    keep_special: bool | None = Field(
        None, description="[CLS] and [SEP] count (empty = as its start, else true as in ColBERT)"
    )
    projection_seed: int | None = Field(
        None, ge=0, description="seed of the orthonormal start of the projection (empty = 0; no use to a trained start)"
    )
    query_marker: str | None = Field(
        None,
        description="token behind [CLS] of a query ('' = none; empty = its start's, else none; ColBERT: [unused0])",
    )
    passage_marker: str | None = Field(
        None,
        description="token behind [CLS] of a passage ('' = none; empty = its start's, else none; ColBERT: [unused1])",
    )
    query_augmentation: bool | None = Field(
        None,
        description="queries are filled with [MASK] up to query_length, and these count (empty = as its start, else "
        "false; ColBERT: true)",
    )
    attend_to_augmentation: bool | None = Field(
        None,
        description="other tokens of a query attend to its [MASK] tokens (empty = as its start, else false; ColBERT: "
        "false)",
    )
    objective: Literal["distil", "contrast"] = Field(
        "distil",
        description="learn the teachers' scores (paper), or only which passage is the source (direct fine-tuning)",
    )
    lr: Rate = Field(1e-5, description="peak learning rate (paper)")
    schedule: Literal["constant", "linear"] = Field("constant", description="rate after warm-up (released: constant)")
    warmup_ratio: Share = Field(0.0, description="share of steps that warm up")
    epochs: Count = Field(1, description="passes over the tuples (paper: 1)")
    batch_size: Count = Field(32, description="tuples a step (count; paper)")
    weight_decay: float = Field(0.0, ge=0, description="of AdamW (released code)")
    max_grad_norm: float = Field(2.0, gt=0, description="gradient norm above which it is clipped (released code)")
    dropout: Share = Field(0.1, description="dropout (BERT's own)")
    freeze_layers: int = Field(0, ge=0, description=f"layers, with the embeddings, that do not learn (count; {OURS})")
    student_temperature: float = Field(1.0, gt=0, description="divides MaxSim scores in the loss (released code: 1)")
    teacher_temperature: float = Field(1.0, gt=0, description="divides teacher scores in the loss (released code: 1)")
    released_ranks: int = Field(
        4, ge=2, description="processes that read one part of the tuples under fault U14 (count; no other use)"
    )


class Plaid(Section):
    """PLAID's index and its search, by the package fast-plaid."""

    nbits: Literal[2, 4] = Field(2, description="bits a dimension of a residual (released code: 2; fast-plaid: 4)")
    kmeans_iterations: Count = Field(4, description="iterations of k-means (count; released code and fast-plaid: 4)")
    n_ivf_probe: Count = Field(
        8, description="centroids probed a query token (count; fast-plaid: 8; ColBERT, above 100 results: 4)"
    )
    n_full_scores: Count = Field(
        4096,
        description="passages ordered by centroids, of which the best quarter is scored: at least four times the depth "
        "(count; fast-plaid and ColBERT, up to 1,024 results: 4096)",
    )
    seed: int = Field(42, ge=0, description="seed of k-means and of its sample (fast-plaid: 42)")


class Search(Section):
    """How late interaction searches a corpus."""

    method: Literal["auto", "exact", "plaid"] = Field(
        "auto",
        description="score every passage (exact), or an index of the package fast-plaid (make plaid, or --sdm conda "
        "with method: plaid); auto = exact up to exact_passages",
    )
    exact_passages: Count = Field(100000, description=f"largest corpus that auto scores whole (count; {OURS})")
    plaid: Plaid = Plaid()
    loss_nbits: list[Literal[2, 4]] = Field(
        [], description="bits at which PLAID is compared with exact search on the target; empty = not compared"
    )


class Latency(Section):
    """Time per query."""

    depths: list[Count] = Field([20, 100, 1000], min_length=1, description="reranking depths (paper: 20, 100, 1000)")
    batch_size: int = Field(32, ge=2, description="queries at once in the batched rows of retrieval (count)")
    n_queries: int = Field(100, ge=2, description="queries timed for fast systems (count)")
    n_reranked: int = Field(
        20, ge=2, description="queries timed for reranking (count); batched: a quarter of them at once"
    )
    warm_up: int = Field(3, ge=1, description="queries run before the clock starts (count)")


class Variant(Section):
    """One change of the chain: what is not named here stays as it is."""

    kind: Kind = Field(description="group of tables and figures that shows it")
    label: str = Field("", description="name in tables and figures; empty = the key")
    set: dict[str, Any] = Field({}, description="keys of udapdr with other values, nested as in a configuration file")
    faults: list[str] = Field([], description="faults of the released code that it switches on")

    @model_validator(mode="after")
    def _changes_something(self) -> "Variant":
        if not self.set and not self.faults:
            raise ValueError("it changes nothing: give keys of udapdr under set, or faults")
        own = {"ablations", "run_ablations", "target", "off_domain", "more_targets", "seeds_from", "search"} & set(
            self.set
        )
        if own:
            raise ValueError(f"set names {', '.join(sorted(own))}, which belongs to the whole part, not to one chain")
        return self


class Udapdr(Section):
    """UDAPDR: adapt a late-interaction retriever to a corpus without human queries."""

    target: str = Field("amazon", description="collection that the student is adapted to and scored on")
    more_targets: list[str] = Field([], description="further collections, each with a student of its own")
    off_domain: str = Field(
        "new_wiki",
        description="collection of the off-domain student: same recipe, other corpus (empty: no such student)",
    )
    strong_model: str = Field("inters/full", description="writer of stage 1: id of a model, or inters/<variant>")
    cheap_model: str = Field("inters/full", description="writer of stage 3: id of a model, or inters/<variant>")
    max_model_len: int = Field(2048, ge=64, description="longest prompt with its answer (tokens)")
    encoder: str = Field(
        "minilm-l6",
        description="start of the student, and the zero-shot late interaction: a text encoder, or a ColBERT checkpoint "
        "(kind late_interaction), which keeps its projection",
    )
    precision: Precision = Field(
        "auto",
        description="matrix products of training and scoring; auto = bfloat16 where the machine has units for it",
    )
    encode_batch_size: Count = Field(32, description="passages encoded at once (count)")
    seed: SeedStage = SeedStage()
    prompts: PromptStage = PromptStage()
    scale_up: ScaleUpStage = ScaleUpStage()
    cleaning: Cleaning = Cleaning()
    filter: FilterStage = FilterStage()
    reranker: Reranker = Reranker()
    teachers: Teachers = Teachers()
    student: Student = Student()
    rerank_depth: Count = Field(20, description="BM25 passages reranked for the quality table (count; released: 20)")
    search: Search = Search()
    latency: Latency = Latency()
    seeds_from: Stage = Field(
        "rerankers",
        description="stage from which on further seeds draw anew; what comes before is shared "
        "(seed = all is written anew)",
    )
    ablations: dict[str, Variant] = Field({}, description="changes of the chain by name, on the first target")
    run_ablations: list[str] = Field([], description="those that are trained and tested; [all] = all of them")

    @model_validator(mode="after")
    def _ablations_are_known_and_sound(self) -> "Udapdr":
        check_ablations(self.ablations, self.run_ablations)
        plain = self.model_dump(exclude={"ablations", "run_ablations"}) if self.ablations else {}
        for name in chosen_ablations(self.ablations, self.run_ablations):
            _check_variant(name, merge(plain, self.ablations[name].set))
        return self

    @model_validator(mode="after")
    def _enough_passages_for_the_prompts(self) -> "Udapdr":
        needed = self.prompts.count * self.prompts.demonstrations
        if self.seed.n_passages < needed:
            raise ValueError(
                f"udapdr.seed.n_passages (X) is {self.seed.n_passages}, but {self.prompts.count} prompts "
                f"(Y) of {self.prompts.demonstrations} demonstrations need {needed} passages: no passage "
                "serves twice. Raise X or lower udapdr.prompts.count"
            )
        if min(self.latency.depths) != self.rerank_depth:
            raise ValueError(
                f"udapdr.latency.depths begin at {min(self.latency.depths)}, udapdr.rerank_depth is "
                f"{self.rerank_depth}: the smallest depth timed must be the one whose quality is measured"
            )
        if self.off_domain in (self.target, *self.more_targets):
            raise ValueError(f"udapdr.off_domain is the target {self.off_domain!r} itself; name another collection")
        if len({self.target, *self.more_targets}) <= len(self.more_targets):
            raise ValueError("udapdr.more_targets repeats a target; name each collection once")
        return self


def _check_variant(name: str, section: dict[str, Any]) -> None:
    """Raise ValueError, naming the key, where a variant's section is unsound."""
    try:
        Udapdr(**section)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"ablations.{name}.set{'.' + key if key else ''}: {first['msg']}") from None
