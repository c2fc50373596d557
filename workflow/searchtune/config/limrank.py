"""Configuration of LimRank's part: synthesizer, packing, tuning, reranking, instruction set, tables."""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from searchtune.config.base import Section, check_ablations, chosen_ablations, merge
from searchtune.config.limrank_ablations import Change, Source, mode_of
from searchtune.config.limrank_baselines import Baseline, check_baselines
from searchtune.config.limrank_rag import Rag
from searchtune.config.limrank_recipes import OWN, Recipe, check_recipe
from searchtune.config.synthesis import SynthesisGuards, SynthesisSources

Share = Annotated[float, Field(ge=0, le=1)]
Variant = Literal["reasoning", "direct"]
OURS = "our choice: LimRank does not give it"


class Synthesize(SynthesisGuards):
    """LIMRANK-SYNTHESIZER. Its hyper-parameters were not published; all are ours unless a source is named."""

    n_seeds: int = Field(24, ge=2, description=f"seed queries (count; {OURS})")
    personas_per_seed: int = Field(1, ge=1, description=f"personas a seed (count; {OURS})")
    use_personas: bool = Field(True, description="false: queries without a persona (ablation: domain diversity)")
    kinds: list[Literal["daily_life", "expert"]] = Field(
        ["daily_life", "expert"], min_length=1, description="query flavours; leave one out for the ablation (paper)"
    )
    use_reasoning: bool = Field(
        True, description="false: no reasoning trace before the plans (ablation: long reasoning)"
    )
    n_positives: int = Field(1, ge=1, description=f"positive passages a query (count; {OURS})")
    n_hard: int = Field(1, ge=0, description=f"hard-negative passages a query (count; {OURS})")
    n_random: int = Field(
        1,
        ge=0,
        description="positives of other queries as easy negatives, a query (count; ours, "
        "the paper names hard negatives only)",
    )
    facets: list[str] = Field(
        [
            "the history of (subject)",
            "the price of (subject)",
            "a book about (subject)",
            "a joke about (subject)",
            "a museum of (subject)",
            "a company named after (subject)",
            "a film about (subject)",
            "a song about (subject)",
        ],
        description="what a hard negative describes, drawn by seed; (subject): the seed query; empty: planned freely "
        "(ours: a small model plans no near miss by itself)",
    )
    length_bands: list[int] = Field(
        [30, 45, 60], min_length=1, description=f"passage lengths asked for (words; {OURS})"
    )
    registers: list[str] = Field(["plain", "technical"], min_length=1, description=f"styles of passages ({OURS})")
    min_seed_words: int = Field(2, ge=1, description="shortest seed (words)")
    max_seed_words: int = Field(8, ge=1, description="longest seed (words)")
    prompt: str = Field("default", description="template id in workflow/prompts/limrank/synthesis.yaml")
    form: Literal["chatml", "plain"] = Field("chatml", description="prompt form of the writer")
    temperature: float = Field(0.3, ge=0, le=2, description=f"sampling temperature of the writer ({OURS})")
    top_p: float = Field(0.95, gt=0, le=1, description=f"nucleus of the writer ({OURS})")
    query_tokens: int = Field(160, ge=8, description="budget of expand_query (tokens)")
    trace_sentences: int = Field(3, ge=1, description=f"longest reasoning trace (sentences; {OURS})")
    trace_tokens: int = Field(110, ge=8, description="budget of a reasoning trace (tokens)")
    plan_tokens: int = Field(180, ge=8, description="budget of the plans of one query (tokens)")
    passage_tokens: int = Field(150, ge=8, description="budget of one passage (tokens)")
    passage_sentences: tuple[int, int] = Field((2, 3), description=f"fewest and most sentences of a passage ({OURS})")
    min_passage_words: int = Field(12, ge=1, description="shorter passages are dropped (words)")
    max_passage_words: int = Field(120, ge=5, description="longer passages are dropped (words)")
    text_chars: int | None = Field(
        None,
        ge=10,
        description="bound of every written text in characters instead of "
        "sentences, for models that write no full stops (costly for large vocabularies)",
    )
    check_language: bool = Field(
        True, description="false: no test of language, loops and length (for models that write no words)"
    )
    judge_mode: Literal["reasoning", "evidence"] = Field(
        "evidence",
        description="reasoning: the judge reasons, then P(true) decides (paper); evidence: the gain in "
        "log-probability of the query by reading the passage decides, and the reasoning is written for that verdict "
        "(ours, for small judges that say one word to everything)",
    )
    judge_sentences: int = Field(1, ge=1, description="sentences of a reasoning written for a verdict (count; ours)")
    judge_tokens: int = Field(48, ge=4, description="budget of the judge's reasoning (tokens)")
    judge_form: Literal["chatml", "plain"] = Field("chatml", description="prompt form of the judge")
    calibrate: bool = Field(True, description="threshold of the judge's score from planted pairs; false: 0.5")
    n_planted: int = Field(40, ge=2, description="planted queries, two pairs each; half of them calibrate (count)")
    planted_words: int = Field(70, ge=5, description="judged passages are cut to so many words (count)")
    query_ngram: int = Field(6, ge=3, description="shared words that make a query a leak (count)")
    passage_ngram: int = Field(13, ge=5, description="shared words that make a passage a leak (count)")
    dev_share: Share = Field(0.2, description="share of seeds whose pairs are held out (queries and passages)")
    block: int = Field(128, ge=1, description="pairs reasoned about and then scored at once (count)")
    max_model_len: int = Field(1024, ge=128, description="context of writer and judge (tokens)")


class Pack(Section):
    """From kept rows to training rows."""

    max_passage_words: int = Field(80, ge=5, description="passages are cut to so many words (count)")
    max_reasoning_words: int = Field(60, ge=5, description="reasoning is cut to so many words (count)")
    balance: bool = Field(True, description="drop rows of the larger label, by seed, until both are equal (ours)")
    min_rows: int = Field(8, ge=1, description="fewer training rows are an error (count)")


class Lora(Section):
    """LoRA adapter."""

    r: int = Field(32, ge=1, description="rank (released configuration)")
    alpha: int = Field(64, ge=1, description="scale numerator (released configuration)")
    dropout: Share = Field(0.0, description="dropout (library default; the released configuration leaves it unset)")
    targets: str | list[str] = Field("all-linear", description="layers (released configuration: all linear ones)")


class Train(Section):
    """Supervised fine-tuning of the reranker on completions only."""

    lora: Lora = Lora()
    full: bool = Field(False, description="tune all weights and no adapter")
    lr: float = Field(3e-5, gt=0, description="learning rate (released configuration: 3e-5)")
    epochs: float = Field(7, gt=0, description="passes over the data (released configuration: 7)")
    max_steps: int | None = Field(None, ge=1, description="stop after so many steps; empty = by epochs (count)")
    batch_size: int = Field(32, ge=1, description="rows a step (released: 4 x 8 accumulated on each GPU)")
    max_length: int = Field(2500, ge=32, description="cut-off (tokens; released configuration)")
    warmup_ratio: Share = Field(0.03, description="share of steps with rising learning rate (released configuration)")
    schedule: Literal["cosine", "linear", "constant"] = Field("cosine", description="schedule (released configuration)")
    dtype: Literal["auto", "bfloat16", "float32"] = Field(
        "auto", description="number format of training; auto = bfloat16 where the machine has units for it"
    )
    micro_batch_tokens: int = Field(
        2048, ge=16, description="padded tokens in memory at once; a step over more is summed up (tokens)"
    )
    add_tokens: list[str] = Field([], description="new tokens, such as <think> and </think> (released configuration)")
    new_token_mode: Literal["rows", "embeddings"] = Field(
        "rows",
        description="what learns of the embedding tables where there are new tokens: their rows, or the whole tables "
        "(released: add_tokens of LLaMA-Factory trains both tables whole)",
    )
    dev_examples: int = Field(64, ge=1, description="held-out rows whose loss is followed (count)")
    fraction: Share = Field(1.0, description="share of the training rows that is used (a prefix)")


class Rerank(Section):
    """Pointwise reranking by the probability of true, with and without reasoning."""

    depth: int = Field(
        20, ge=1, description="first-stage documents reranked (count; the released code: 10, Rank1: 100)"
    )
    n_queries: int | None = Field(12, ge=2, description="test queries of each collection; empty = all (count)")
    max_reasoning_tokens: int = Field(40, ge=1, description="budget of reasoning (tokens; released: 8,192)")
    max_passage_tokens: int = Field(
        80,
        ge=8,
        description="passages are cut to so many tokens, and the cuts counted "
        "(ours: the released code cuts nothing and fails on long ones)",
    )
    max_query_tokens: int = Field(96, ge=8, description="queries with instruction are cut to so many tokens (ours)")
    max_model_len: int = Field(512, ge=64, description="context (tokens; released: 16,000)")
    block: int = Field(160, ge=1, description="pairs reasoned about and then scored at once (count)")
    prompt: str = Field("default", description="template id in workflow/prompts/limrank/rerank.yaml")

    @model_validator(mode="after")
    def _texts_fit_the_window(self) -> "Rerank":
        parts = self.max_passage_tokens + self.max_query_tokens + self.max_reasoning_tokens
        if parts >= self.max_model_len:
            raise ValueError(
                f"max_passage_tokens + max_query_tokens + max_reasoning_tokens is {parts}, which leaves nothing of "
                f"max_model_len {self.max_model_len} for the rest of the prompt: raise max_model_len or lower the parts"
            )
        return self


class Instructions(Section):
    """The instruction-following set: two instructions a query, the second one narrower."""

    n_queries: int = Field(8, ge=2, description="articles that become a query with two instructions (count)")
    split: Literal["train", "dev", "test"] = Field("test", description="articles of this split are used")
    names_per_article: int = Field(3, ge=1, description="narrowed instructions an article may give (count)")
    n_changed: int = Field(3, ge=1, description="passages a query that the narrowed instruction excludes (count)")
    n_unchanged: int = Field(3, ge=1, description="passages a query that stay relevant (count)")
    n_other: int = Field(6, ge=1, description="passages of other articles among the candidates (count)")


class Limrank(SynthesisSources):
    """LimRank: synthesizer, tuned reasoning reranker, tables."""

    base: str = Field("smollm2-135m-instruct", description="model id of the reranker before tuning")
    writer: str = Field(
        "smollm2-135m-instruct", description="model id, or inters/<variant>, that writes (paper: GPT-4o)"
    )
    judge: str = Field(
        "smollm2-135m-instruct", description="model id, or inters/<variant>, that judges (paper: DeepSeek-R1)"
    )
    form: Literal["chatml", "plain"] = Field("chatml", description="prompt form of the reranker (released: plain)")
    raw: list[str] = Field(
        ["pyserini-0.20.0/topics-and-qrels/topics.mq.1-10000.txt"],
        min_length=1,
        description="seed query files, relative to resources/raw (paper: MS MARCO queries)",
    )
    personas: str = Field(
        "workflow/prompts/limrank/personas.yaml",
        description="personas: a file (.yaml of ours, .jsonl with a key persona, .txt a line each) or the id of a "
        "fetched one, such as personahub (paper: PersonaHub)",
    )
    planted_collection: str = Field("squad", description="source collection whose train split gives planted pairs")
    instruction_collection: str = Field("squad", description="collection with articles for the instruction set")
    collections: list[str] = Field(["nq_swapped", "reddit"], min_length=1, description="collections that are reranked")
    followir: list[str] = Field(
        [],
        description="published FollowIR sets (collections of the reader followir) that are scored beside the packaged "
        "instruction set; all their queries are",
    )
    variants: list[Variant] = Field(
        ["direct", "reasoning"],
        min_length=1,
        description="tuned models: the paper's, and the control that learns the verdict without reasoning",
    )
    metrics: list[str] = Field(["nDCG@10", "RR"], min_length=1, description="metrics of the reranking table")
    instruction_metrics: list[str] = Field(
        ["nDCG@5", "AP"],
        min_length=1,
        description="metrics on the original instruction with the original judgements (FollowIR)",
    )
    synthesize: Synthesize = Synthesize()
    source: Source = Source()
    pack: Pack = Pack()
    train: Train = Train()
    recipe: str = Field(
        OWN, description="recipe of tuning: limrank (section train as it stands), rank1, or another of recipes"
    )
    recipes: dict[str, Recipe] = Field({}, description="recipes by name: what each changes of section train")
    rerank: Rerank = Rerank()
    baselines: list[Baseline] = Field(
        [],
        description="rerankers that others tuned, on the same candidates; BM25 and the untuned base are always there",
    )
    instructions: Instructions = Instructions()
    rag: Rag = Rag()
    depths: list[Annotated[int, Field(ge=1)]] = Field(
        [],
        description="depth sweep: one reranking at the largest of these and rerank.depth, from whose scores the "
        "smaller depths are cut (counts; the released code: 10, Rank1: 100)",
    )
    ablations: dict[str, Change] = Field({}, description="changes of the chain by name")
    run_ablations: list[str] = Field([], description="those that are made and scored; [all] = all of them")
    ablated: Variant = Field("reasoning", description="tuned model that changes are tried on")

    @model_validator(mode="after")
    def _ablations_are_known_and_sound(self) -> "Limrank":
        check_ablations(self.ablations, self.run_ablations)
        plain = self.model_dump(exclude={"ablations", "run_ablations"}) if self.ablations else {}
        for name in chosen_ablations(self.ablations, self.run_ablations):
            row = self.ablations[name]
            _check_change(name, merge(plain, row.set))
            mode = mode_of(row.model_dump(), self.ablated)
            if mode not in self.variants:
                raise ValueError(
                    f"ablations.{name} is compared with the {mode} model, which limrank.variants does not tune; add "
                    f"{mode} to variants or set ablations.{name}.mode"
                )
        return self

    @model_validator(mode="after")
    def _depth_covers_candidates(self) -> "Limrank":
        check_recipe(self.recipe, self.recipes)
        check_baselines(self.baselines)
        part = self.instructions
        pool = part.n_changed + part.n_unchanged + part.n_other
        if self.rerank.depth < pool:
            raise ValueError(
                f"limrank.rerank.depth is {self.rerank.depth}, but an instruction query has {pool} candidates "
                "(limrank.instructions.n_changed + n_unchanged + n_other): BM25 and the rerankers would be compared on "
                "different lists. Raise the depth or lower the candidates"
            )
        if self.planted_collection in self.collections:
            raise ValueError(
                f"planted_collection {self.planted_collection!r} is reranked too; choose a source collection"
            )
        return self


def _check_change(name: str, section: dict[str, Any]) -> None:
    """Raise ValueError, naming the key, where a changed section is unsound."""
    try:
        Limrank(**section)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"ablations.{name}.set{'.' + key if key else ''}: {first['msg']}") from None
