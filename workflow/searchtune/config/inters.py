"""Configuration of INTERS' part: data, mixture, tuning, test prompts."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from searchtune.config.base import Section, check_ablations
from searchtune.config.inters_pairs import (
    COLLECTION_TASKS,
    CONTROL_SOURCES,
    FILE_SOURCES,
    RANKING_TASKS,
    collection_of,
    is_control,
    sources_of,
)
from searchtune.errors import ConfigError, nearest

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
OURS = "ours: INTERS does not give it"
CATEGORIES = ("QU", "DU", "QDU")
TASK_NAMES = (*FILE_SOURCES, *(task for task in COLLECTION_TASKS if task not in FILE_SOURCES))
CONTROL_NAMES = tuple(name for task, sets in CONTROL_SOURCES.items() for name in (task, *(f"{task}/{s}" for s in sets)))
# a name of an ablation is part of file names; these are names of models already
RESERVED = ("full", "base")
# keys of an ablation that replace one of the recipe's
CHANGES = ("templates", "with_description", "bare", "n_templates", "few_shot_share")


class Source(Section):
    """Raw files of one data set."""

    raw: list[str] = Field([], description="files, relative to resources/raw")
    licence: str = Field("", description="licence as the publisher states it")
    canary: list[str] = Field([], description="canary marks that the data carries")


class Pair(Section):
    """How many examples of one task / data set pair are used, and how long they may be."""

    n_train: Count = Field(0, description="training examples (count; queries for reranking)")
    n_dev: Count = Field(0, description="held-out examples (count; queries for reranking)")
    n_test: int = Field(0, ge=0, description="test examples (count; queries for reranking); 0 or at least 2")
    max_words: int = Field(
        85,
        ge=5,
        description="longest text: passages are cut to whole sentences around the answer, "
        "stories and candidates to their opening, longer narratives are left out (words)",
    )
    upto: bool = Field(False, description="sizes are limits: where the data has fewer, all of them are taken")
    depth: int = Field(10, ge=2, description="BM25 passages a query that are reranked (count; INTERS: 100)")

    @model_validator(mode="after")
    def _enough_for_an_interval(self) -> "Pair":
        if self.n_test == 1:
            raise ValueError("n_test is 1: an interval needs at least 2 examples (0 leaves the pair out of testing)")
        return self


class Mixture(Section):
    """From examples to instructions."""

    total_tokens: int = Field(80_000, ge=100, description="budget of one pass over the full mixture (tokens)")
    cap: int = Field(300, ge=1, description=f"cap of a pair in examples-proportional mixing (examples; {OURS})")
    weights: dict[str, float] = Field({}, description=f"multiplier of a task's share; 1 where absent ({OURS})")
    uses: int = Field(2, ge=1, description="renderings of an example at most, each in another template (count)")
    few_shot_share: Share = Field(0.1, description=f"share of instructions with demonstrations ({OURS})")
    max_shots: int = Field(1, ge=1, description=f"demonstrations of such an instruction at most (count; {OURS})")
    max_tokens: int = Field(512, ge=32, description="length filter, prompt and answer (tokens; INTERS: probably 2,048)")
    n_templates: int | None = Field(
        None, ge=1, description="tune on the first so many templates of each set alone; empty = all (count)"
    )
    with_description: bool = Field(
        True, description="put the task description before every prompt, in tuning and test (released code)"
    )
    bare: bool = Field(False, description="no templates: a prompt is its field values, one a line, in tuning and test")

    @model_validator(mode="after")
    def _bare_has_no_templates(self) -> "Mixture":
        if self.bare and self.n_templates is not None:
            raise ValueError("bare prompts use no templates: set either bare or n_templates")
        return self


class Lora(Section):
    """LoRA adapter (INTERS was most likely tuned in full; its script is not published)."""

    r: int = Field(16, ge=1, description=f"rank (count; {OURS})")
    alpha: float = Field(32, gt=0, description=f"scale numerator ({OURS})")
    dropout: Share = Field(0.0, description=f"dropout ({OURS})")
    targets: str | list[str] = Field("all-linear", description="layers")


class Train(Section):
    """Supervised fine-tuning. None of INTERS' training settings was published: all of these are ours."""

    lora: Lora = Lora()
    full: bool = Field(False, description="tune all weights and no adapter")
    lr: float = Field(5e-4, gt=0, description=f"learning rate ({OURS})")
    epochs: float = Field(1, gt=0, description=f"passes over the mixture ({OURS})")
    max_steps: int | None = Field(None, ge=1, description="stop after so many steps; empty = by epochs (count)")
    batch_size: int = Field(8, ge=1, description=f"examples a step ({OURS})")
    max_length: int = Field(512, ge=32, description="cut-off (tokens)")
    warmup_ratio: Share = Field(0.05, description=f"share of steps with rising learning rate ({OURS})")
    schedule: Literal["cosine", "linear", "constant"] = Field("cosine", description=f"schedule ({OURS})")
    dtype: Literal["auto", "bfloat16", "float32"] = Field(
        "auto", description="number format of training; auto = bfloat16 where the machine has units for it"
    )
    micro_batch_tokens: int = Field(
        2048, ge=16, description="padded tokens in memory at once; a step over more is summed up (tokens)"
    )
    gradient_checkpointing: bool = Field(False, description="keep less of the forward pass and compute it again")
    processes: int = Field(
        1, ge=1, description="processes that train together, one a GPU; the model is sharded over them (count)"
    )
    dev_examples: int = Field(64, ge=1, description="held-out instructions whose loss is followed (count)")


class Test(Section):
    """Test prompts and answers."""

    seed: int = Field(42, ge=0, description="seed of test templates and demonstrations (released code: 42)")
    n_shots: int = Field(2, ge=1, description="demonstrations of a few-shot prompt (count)")
    max_prompt_tokens: int = Field(900, ge=32, description="longest prompt (tokens; released code: 1,792)")
    max_new_tokens: dict[str, int] = Field(
        {}, description="longest answer by task where not the task's own (tokens; released code: 256)"
    )
    max_model_len: int = Field(1024, ge=64, description="context (tokens; released code: 2,048)")
    tuned_few_shot: bool = Field(False, description="ask the full model with demonstrations too")
    shard_size: int = Field(256, ge=1, description="calls kept together (count)")


class Strategies(Section):
    """Reranking BM25's passages pointwise, pairwise and listwise."""

    sets: dict[str, str] = Field(
        {}, description="collections that are reranked, each with the task whose templates serve"
    )
    modes: list[Literal["pointwise", "pairwise", "listwise", "listwise_released"]] = Field(
        ["pointwise", "pairwise", "listwise", "listwise_released"],
        min_length=1,
        description="ranking strategies; listwise_released = windows of 5 without overlap over shuffled candidates",
    )
    depth: int = Field(100, ge=2, description="BM25 passages a query (count; released code: 100, CQADupStack 10)")
    n_queries: int | None = Field(None, ge=2, description=f"test queries, drawn by seed; empty = all (count; {OURS})")
    top: int = Field(10, ge=1, description="places that the pairwise bubble sort fills (count; released code)")
    window: int = Field(10, ge=2, description="passages a listwise prompt (count; released code: 10, its runs 5)")
    stride: int = Field(5, ge=1, description="places that the window moves (count; released code)")
    shuffle_seed: int = Field(42, ge=0, description="seed of the shuffling under fault B6 (released code)")
    query_tokens: int = Field(64, ge=4, description="cut of a query (tokens; released code)")
    passage_tokens: int = Field(512, ge=8, description="cut of a passage (tokens; released code)")
    listwise_max_tokens: int = Field(500, ge=8, description="longest listwise answer (tokens; released code)")
    max_model_len: int = Field(8192, ge=64, description="context (tokens)")

    @model_validator(mode="after")
    def _windows_overlap_or_touch(self) -> "Strategies":
        if self.stride > self.window:
            raise ValueError(f"stride {self.stride} is wider than the window {self.window}: passages would be skipped")
        return self


class Ablation(Section):
    """One change of the full model's recipe: what is not named here stays as it is."""

    kind: Literal["instruction_design", "task_variety", "control"] = Field(
        "instruction_design", description="table and figure that show it"
    )
    label: str = Field("", description="name in tables and figures; empty = the key")
    templates: Literal["own", "released"] | None = Field(None, description="wordings; empty = as inters.templates")
    with_description: bool | None = Field(None, description="as inters.mixture.with_description")
    bare: bool | None = Field(None, description="as inters.mixture.bare")
    n_templates: int | None = Field(None, ge=1, description="as inters.mixture.n_templates (count)")
    few_shot_share: Share | None = Field(None, description="as inters.mixture.few_shot_share")
    leave_out: list[str] = Field(
        [], description="categories, tasks or task/dataset pairs that train nothing; they are tested all the same"
    )
    train_on: list[str] = Field(
        [],
        description="for kind control: what trains in place of all search tasks, a control task or its pairs "
        "(general_instructions: tasks of Natural Instructions that are no search task)",
    )

    @model_validator(mode="after")
    def _control_changes_the_data_alone(self) -> "Ablation":
        if bool(self.train_on) != (self.kind == "control"):
            raise ValueError("train_on and kind: control go together: set both or neither")
        if self.train_on and (self.leave_out or any(getattr(self, key) is not None for key in CHANGES)):
            raise ValueError(f"a control changes the data alone: set no leave_out and none of {', '.join(CHANGES)}")
        return self

    @model_validator(mode="after")
    def _changes_something(self) -> "Ablation":
        if not (self.leave_out or self.train_on) and all(getattr(self, key) is None for key in CHANGES):
            raise ValueError(f"it changes nothing: set leave_out or one of {', '.join(CHANGES)}")
        if self.bare and self.n_templates is not None:
            raise ValueError("bare prompts use no templates: set either bare or n_templates")
        return self


class Inters(Section):
    """INTERS: instruction tuning on search tasks."""

    base: str = Field("smollm2-135m-instruct", description="model id that is tuned")
    bases: list[str] = Field([], description="further model ids that are tuned on the full mixture and compared")
    cross_bases: bool = Field(False, description="run the ablations on the further models as well")
    sources: dict[str, Source] = Field({}, description="raw data sets by name")
    collections: list[str] = Field(["new_wiki", "squad"], description="collections that tasks read")
    train_collections: list[str] = Field(["new_wiki", "squad"], description="those of them that may train; no targets")
    rankings: dict[str, dict[str, list[str]]] = Field(
        {},
        description="INTERS' data sets of each ranking task and the collections that they are; a data set of several "
        "collections is scored by the unweighted mean over them",
    )
    pairs: dict[str, Pair] = Field({}, description="task/dataset pairs and their sizes")
    published_splits: bool = Field(
        False,
        description="split data sets as their publishers do; false = by source article across all data sets, so that "
        "none of an article's questions trains what another one tests (rules of evidence, 2)",
    )
    templates: Literal["own", "released"] = Field(
        "own",
        description="wordings of the prompts: ours, or the released ones where they fit a data set's fields and labels "
        "(ours elsewhere; the log says which); the released file is given by hand",
    )
    mixture: Mixture = Mixture()
    train: Train = Train()
    volumes: list[Annotated[float, Field(gt=0, le=1)]] = Field(
        [0.25, 1.0], min_length=1, description="shares of the mixture that are trained on; 1.0 is the full model"
    )
    ablations: dict[str, Ablation] = Field({}, description="changes of the full recipe by name")
    run_ablations: list[str] = Field(
        [],
        description="those that are trained and tested; [all] = all but those in released templates, and but controls "
        "that have no data to train on (none at this scale, or canary_data: evaluate_only)",
    )
    test: Test = Test()
    strategies: Strategies = Strategies()

    @model_validator(mode="after")
    def _rankings_are_tasks(self) -> "Inters":
        for task in self.rankings:
            if task not in RANKING_TASKS:
                raise ValueError(f"rankings has {task!r}: no ranking task{nearest(task, RANKING_TASKS)}")
        return self

    @model_validator(mode="after")
    def _ablations_are_known(self) -> "Inters":
        check_ablations(self.ablations, self.run_ablations, RESERVED)
        for name, row in self.ablations.items():
            for part in row.leave_out:
                if part not in CATEGORIES and part.split("/")[0] not in TASK_NAMES:
                    raise ValueError(
                        f"ablations.{name}.leave_out names {part!r}: no category, task or task/dataset pair"
                        f"{nearest(part, [*CATEGORIES, *TASK_NAMES, *self.pairs])}"
                    )
            for part in row.train_on:
                if part not in CONTROL_NAMES:
                    hint = nearest(part, CONTROL_NAMES)
                    raise ValueError(f"ablations.{name}.train_on names {part!r}: no control task or pair{hint}")
        return self

    @model_validator(mode="after")
    def _pairs_have_their_data(self) -> "Inters":
        for name, pair in self.pairs.items():
            try:
                collection, sources = collection_of(name), sources_of(name)
            except ConfigError as error:
                raise ValueError(str(error)) from error
            if is_control(name) and pair.n_dev + pair.n_test:
                raise ValueError(f"pairs.{name}: a control's data only train; set its n_dev and n_test to 0")
            if collection and collection not in self.collections:
                raise ValueError(f"pairs.{name}: collection {collection!r} is not listed under inters.collections")
            if collection and pair.n_train + pair.n_dev and collection not in self.train_collections:
                raise ValueError(f"pairs.{name}: trains on {collection!r}, which is not in inters.train_collections")
            for source in sources:
                if source not in self.sources or not self.sources[source].raw:
                    raise ValueError(f"pairs.{name}: inters.sources.{source} names no raw file")
        if 1.0 not in self.volumes:
            raise ValueError("volumes must hold 1.0: the full model is what the other parts use")
        return self
