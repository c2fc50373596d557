"""The configuration's schema: the source of defaults, of the JSON schema and of config/README.md."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from searchtune.config.base import Section
from searchtune.config.inters import Inters
from searchtune.config.limrank import Limrank
from searchtune.config.models import ModelConfig
from searchtune.config.udapdr import Udapdr

Scale = Literal["ci", "demo", "adapt", "synthesize", "laptop", "workstation", "paper"]
Paper = Literal["inters", "udapdr", "limrank"]
Share = Annotated[float, Field(ge=0, le=1)]


class Hardware(Section):
    """What the machine offers to one heavy job."""

    threads: int = Field(2, ge=1, le=256, description="threads of a heavy model job (count)")
    light_threads: int = Field(1, ge=1, le=256, description="threads of jobs that run side by side (count)")
    generate_threads: int = Field(
        1, ge=1, le=256, description="threads of generating jobs that have a sister job to run beside (count)"
    )
    gpus: int = Field(
        0, ge=0, le=64, description="GPUs that a model job asks for; 0 also generates with vLLM for CPUs (count)"
    )
    tensor_parallel: int = Field(
        1,
        ge=1,
        le=64,
        description="GPUs that vLLM spreads one model over, at most hardware.gpus; changing it reruns nothing (count)",
    )
    backend: Literal["vllm", "transformers"] = Field("vllm", description="LLM back end for generation and scoring")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="number format of LLM inference; auto = bfloat16 where the machine has units for it"
    )
    mem_mb: int = Field(6000, ge=500, description="memory that a heavy model job asks for (MiB)")
    generate_mem_mb: int = Field(3500, ge=500, description="memory that a generating job asks for (MiB)")

    @model_validator(mode="after")
    def _parts_have_devices(self) -> "Hardware":
        parts = self.tensor_parallel
        if parts > 1 and self.backend != "vllm":
            raise ValueError(
                f"tensor_parallel is {parts}, which {self.backend} can't do: set backend to vllm, or it to 1"
            )
        if parts > 1 and self.gpus < parts:
            raise ValueError(f"tensor_parallel is {parts}, but gpus is {self.gpus}: set gpus to at least {parts}")
        return self


class CollectionConfig(Section):
    """One collection: where its raw files lie and how much of it this scale uses."""

    reader: str = Field(description="name of the reader that understands the publisher's format")
    raw: list[str] = Field([], description="raw files, relative to resources/raw")
    folder: str = Field(
        "",
        description="in place of raw: a file or folder of yours, anywhere on this machine, read as it is; a relative "
        "path begins at the project",
    )
    licence: str = Field("", description="licence as the publisher states it")
    canary: list[str] = Field([], description="canary marks that the data carries")
    target: bool = Field(False, description="true: never trained on (rules of evidence, 1)")
    same_corpus_as: str = Field(
        "",
        description="collection of the same corpus with other queries (LoTTE's forum and search): where both are "
        "targets of UDAPDR one student serves both; empty = none",
    )
    run: str = Field(
        "",
        description="first-stage run of yours that LimRank reranks in place of BM25's: a TREC run, or JSON query -> "
        "document -> score as rank1-run-files have it; a relative path begins at the project",
    )
    wrapper: str = Field(
        "",
        description="template id in workflow/prompts/limrank/wrappers.yaml that the reasoning reranker's query is put "
        "into; empty = the bare query",
    )
    metrics: list[str] = Field(
        [], description="metrics of this benchmark in LimRank's tables, in place of limrank.metrics; empty = those"
    )
    max_passages: int | None = Field(None, ge=2, description="passages kept; empty = all (count)")
    n_train: int = Field(0, ge=0, description="training queries sampled (count)")
    n_dev: int = Field(
        0,
        ge=0,
        description="dev queries sampled (count); on those of UDAPDR's first target its changes are measured, too, to "
        "choose settings on",
    )
    n_test: int | None = Field(
        100,
        ge=0,
        description="test queries sampled (count; empty = all); 0 for a target without human questions: it is "
        "scored on held-out synthetic ones",
    )

    @model_validator(mode="after")
    def _one_place(self) -> "CollectionConfig":
        if bool(self.raw) == bool(self.folder):
            raise ValueError("give either raw (files that the registry fetches) or folder (a path of yours)")
        return self

    @model_validator(mode="after")
    def _texts_have_no_questions(self) -> "CollectionConfig":
        if self.reader == "texts" and (self.n_train or self.n_dev or self.n_test != 0):
            raise ValueError("plain texts have no questions: set n_train, n_dev and n_test to 0")
        return self

    @model_validator(mode="after")
    def _a_shared_corpus_is_whole(self) -> "CollectionConfig":
        if self.same_corpus_as and self.max_passages:
            raise ValueError("max_passages cuts the corpus by its queries, so it can't be the same corpus as another's")
        if self.same_corpus_as and self.n_test == 0:
            raise ValueError("same_corpus_as lends another collection's student, so there must be queries: set n_test")
        return self


class Splits(Section):
    """Split by source article, the same for all data sets at once."""

    seed: int = Field(0, ge=0, description="seed of the article hash")
    train: Share = Field(0.7, description="share of articles whose data may train")
    dev: Share = Field(0.1, description="share of articles for held-out loss and hyper-parameters")

    @model_validator(mode="after")
    def _leave_room_for_test(self) -> "Splits":
        if self.train + self.dev >= 1:
            raise ValueError("train + dev must leave a share for test")
        return self


class Retrieval(Section):
    """First-stage retrieval."""

    engine: Literal["bm25s", "lucene"] = Field(
        "bm25s",
        description="what makes the BM25 runs of the collections: bm25s, or Lucene (Anserini, pyserini's; needs "
        "`make lucene`)",
    )
    k1: float = Field(0.9, gt=0, description="BM25 term saturation (Anserini's default)")
    b: float = Field(0.4, ge=0, le=1, description="BM25 length normalisation (Anserini's default)")
    stop_list: Literal["extended", "lucene"] = Field(
        "extended", description="BM25 stop words: 179 English words, or Lucene's 33"
    )
    words: Literal["plain", "lucene"] = Field(
        "plain", description="how bm25s cuts words: at every sign that is no letter or digit, or as Lucene does"
    )
    depth: int = Field(100, ge=1, description="passages kept per query (count)")
    dense_batch_size: int = Field(32, ge=1, description="texts encoded at once (count)")
    dense_max_length: int = Field(256, ge=8, le=512, description="encoder cut-off (tokens)")
    dense_precision: Literal["auto", "bfloat16", "float32"] = Field(
        "auto", description="number format of matrix products; auto = bfloat16 where the machine has units for it"
    )


class Evaluation(Section):
    """Uncertainty of every number."""

    bootstrap_samples: int = Field(2000, ge=100, description="bootstrap resamples over queries (count)")
    permutations: int = Field(
        10000,
        ge=1000,
        description="sign flips of the paired randomisation test; twenty times as many where p is small (count)",
    )
    level: float = Field(0.95, gt=0.5, lt=1, description="confidence level of intervals")
    seed: int = Field(0, ge=0, description="seed of resampling")


class Leakage(Section):
    """Overlap between training and evaluation data (rules of evidence, 3)."""

    ngram: int = Field(13, ge=5, le=50, description="words of an n-gram that counts as overlap (count)")
    max_share: Share = Field(0.02, description="share of evaluation texts that may overlap before the run fails")


class Report(Section):
    """What the report holds."""

    notebooks: bool = Field(False, description="execute notebooks/ and keep them with the results")
    seeds_note: bool = Field(True, description="say 'one seed' on comparisons with fewer than three seeds")


class Config(Section):
    """The whole configuration after merging schema, papers, scale and the user's file."""

    scale: Scale = Field("demo", description="size of everything; see config/scales/")
    name: str = Field(
        "",
        pattern=r"^[a-z0-9_]*$",
        description="name of a run: its results lie in a folder of this name below those of the scale; empty = none",
    )
    papers: list[Paper] = Field(["inters", "udapdr", "limrank"], min_length=1, description="papers to reproduce")
    seeds: list[int] = Field([13], min_length=1, description="training and sampling seeds")
    fidelity: Literal["corrected", "released"] = Field(
        "corrected", description="what the paper describes, or what the released code does"
    )
    faults: list[str] = Field(
        [],
        description="faults of the released code switched on one by one: B1 B2 B3 B12, "
        "U3 U4 U5 U7 U9 U10 U12 U13 U14 U15, L1 L6 L7 L8 L9 L11 L14",
    )
    canary_data: Literal["train_locally", "evaluate_only"] = Field(
        "train_locally", description="whether data that carries a canary may train models that stay on this machine"
    )
    accept_terms: list[Literal["gemma"]] = Field([], description="model terms that the user accepts")
    hardware: Hardware = Hardware()
    splits: Splits = Splits()
    collections: dict[str, CollectionConfig] = Field({}, description="collections of this scale by id")
    models: dict[str, ModelConfig] = Field({}, description="models of this scale by id")
    retrieval: Retrieval = Retrieval()
    evaluation: Evaluation = Evaluation()
    leakage: Leakage = Leakage()
    report: Report = Report()
    inters: Inters = Inters()
    udapdr: Udapdr = Udapdr()
    limrank: Limrank = Limrank()
