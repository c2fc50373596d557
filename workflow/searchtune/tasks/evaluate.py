"""Stage ``inters.evaluate``: predictions to the tables of INTERS, with baselines, intervals, tests, signs of life."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from searchtune.collections.beir import Collection
from searchtune.evaluation.metrics import write_metrics
from searchtune.evaluation.strategies import STRATEGY_COLUMNS, strategy_rows
from searchtune.files import read_json, read_jsonl, read_tsv, write_tsv
from searchtune.retrieval.bm25 import BM25Index
from searchtune.stage import Job
from searchtune.tasks.ablation_tables import ABLATION, BASE_MODEL, ablations, base_models
from searchtune.tasks.answers import active_faults
from searchtune.tasks.control_table import controls
from searchtune.tasks.data_table import DATA, data_rows
from searchtune.tasks.fault_table import fault_rows
from searchtune.tasks.macro import macro_rows
from searchtune.tasks.scorers import Faults
from searchtune.tasks.scoring import (
    Row,
    Scores,
    Values,
    baseline_scores,
    by_pair,
    check_complete,
    copied,
    read_answers,
    round_trips,
    score_set,
    share_differing,
)
from searchtune.tasks.tabulate import (
    CATEGORY,
    FAILURES,
    FAULT,
    FEW_SHOT,
    GENERATED,
    IN_DOMAIN,
    LOSS,
    PER_QUERY,
    ROUND_TRIP,
    SIGNS,
    TUNED,
    TUNED_FEW_SHOT,
    UNTUNED,
    VOLUME,
    Statistics,
    System,
    adjust,
    category_rows,
    failure_rows,
    loss_rows,
    metric_rows,
    per_query_rows,
    round_trip_rows,
    sign_rows,
    total_rows,
    volume_rows,
)
from searchtune.tasks.variants import FEW_SHOT as FEW_SHOT_SET
from searchtune.tasks.variants import FULL, OWN, ZERO_SHOT
from searchtune.tasks.verdicts import VERDICTS, verdict_rows


class Answers:
    """The predictions files by place, read when they are asked for: a few are held at a time."""

    HELD = 4

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._read = lru_cache(maxsize=self.HELD)(read_answers)

    def __getitem__(self, place: int) -> dict[str, dict[str, Row]]:
        return self._read(self._paths[place])


class Evaluation:
    """What the tables are made of: answers are read when they are scored, passages only to search them."""

    def __init__(self, job: Job) -> None:
        params = job.params
        self.params = params
        folder = job.inputs["examples"]
        self.test = read_jsonl(folder / "test.jsonl")
        self.known = read_jsonl(folder / "train.jsonl") + read_jsonl(folder / "dev.jsonl")
        mixed = {(row["task"], row["dataset"]) for row in read_tsv(job.inputs["statistics"]) if row["set"] == "train"}
        # pairs that are tested and that no mixture trains on
        self.untrained = frozenset((row["task"], row["dataset"]) for row in self.test) - mixed
        self.prompts = {name: read_jsonl(job.inputs["prompts"] / f"{name}.jsonl") for name in ("zero_shot", "few_shot")}
        self.folders = {path.name: path for path in job.inputs["collections"]}
        self.collections = {name: Collection.judgements(path) for name, path in self.folders.items()}
        self.answers = Answers(job.inputs["predictions"])
        self.training = {
            s["name"]: read_json(path / "training.json")
            for s, path in zip([s for s in params["systems"] if s["tuned"]], job.inputs["models"], strict=True)
        }
        self.faults: Faults = active_faults(params["fidelity"], params["faults"])
        for place, (spec, _) in enumerate(zip(params["systems"], job.inputs["predictions"], strict=True)):
            found = self.answers[place]
            for name in spec["sets"]:
                # a model's own prompts are of the same examples
                asked = self.prompts[ZERO_SHOT if name == OWN else name]
                check_complete(found.get(name, {}), asked, f"predictions of {spec['name']}, {name}")

    def scores(self, index: int, prompt_set: str = "zero_shot", **options: Any) -> Scores:
        """Return the scores of one predictions file under the faults in force."""
        return score_set(
            self.test, self.answers[index][prompt_set], self.collections, **({"faults": self.faults} | options)
        )

    def index_of(self, tuned: bool, fraction: float, design: str = FULL, base: str | None = None) -> list[int]:
        """Return the places of the systems with that volume, design and base (default: the first), first seed first."""
        wanted = (tuned, fraction, design, base or self.params["base"])
        keys = ("tuned", "fraction", "design", "base")
        return [i for i, s in enumerate(self.params["systems"]) if tuple(s[key] for key in keys) == wanted]

    def systems(self) -> tuple[list[System], list[System]]:
        """Return (systems of the main tables, systems of the volume ablation)."""
        model = self.params["base"]
        base = self.index_of(False, 0.0)[0]
        main = [
            System(UNTUNED, model, fraction=0.0, runs=[self.scores(base)]),
            System(FEW_SHOT, model, runs=[self.scores(base, "few_shot")], baseline=UNTUNED),
            System(
                UNTUNED + GENERATED,
                model,
                baseline=UNTUNED,
                runs=[self.scores(base, labels_by="generate", only="label")],
            ),
        ]
        volumes = [main[0], *(self._tuned(volume) for volume in sorted(self.params["volumes"]))]
        full = volumes[-1]
        places = self.index_of(True, 1.0)
        generated = [self.scores(i, labels_by="generate", only="label") for i in places]
        shown = [i for i in places if FEW_SHOT_SET in self.params["systems"][i]["sets"]]
        with_shots = [self.scores(i, FEW_SHOT_SET) for i in shown]
        main += [
            full,
            *(
                [System(TUNED_FEW_SHOT, model, True, seeds=full.seeds, runs=with_shots, baseline=FEW_SHOT)]
                * bool(shown)
            ),
            System(TUNED + GENERATED, model, True, seeds=full.seeds, runs=generated, baseline=UNTUNED + GENERATED),
        ]
        baselines = baseline_scores(self.test, self.known, self.collections, self.faults)
        main += [System(name, runs=[scores]) for name, scores in baselines.items()]
        return [s for s in main if s.runs[0].values], volumes

    def _tuned(self, volume: float) -> System:
        name = TUNED if volume == 1 else f"{TUNED}, {volume:g} of the data"
        return self.system(name, self.index_of(True, volume), UNTUNED, fraction=volume)

    def system(
        self, name: str, places: list[int], baseline: str | None, sets: str = ZERO_SHOT, fraction: float | None = None
    ) -> System:
        """Return one row group out of the predictions at ``places``, one a seed, over one prompt set."""
        specs = [self.params["systems"][i] for i in places]
        trained = [self.training[s["name"]] for s in specs if s["tuned"]]
        return System(
            name,
            specs[0]["base"],
            specs[0]["tuned"],
            fraction,
            _mean_of(trained, "tokens"),
            [s["seed"] for s in specs if s["tuned"]],
            [self.scores(i, sets) for i in places],
            baseline,
            _mean_of(trained, "steps"),
            _mean_of(trained, "examples"),
            _mean_of(trained, "completion_tokens"),
        )

    def round_trips(self) -> dict[str, dict[str, Values]]:
        """Return system -> collection -> round-trip values; people's questions and the copy baseline stand beside."""
        base, tuned = self.index_of(False, 0.0)[0], self.index_of(True, 1.0)[0]
        texts = {
            UNTUNED: self._written(base, "zero_shot"),
            FEW_SHOT: self._written(base, "few_shot"),
            TUNED: self._written(tuned, "zero_shot"),
            "human questions": lambda row: row["target"],
            "copy": copied,
        }
        found: dict[str, dict[str, Values]] = {name: {} for name in texts}
        for pair, rows in sorted(by_pair(self.test).items()):
            if pair[0] != "query_generation" or pair[1] not in self.collections:
                continue
            collection = Collection.load(self.folders[pair[1]])
            ids = list(collection.corpus)
            index = BM25Index.of(ids, [collection.passage_text(i) for i in ids], self.params)
            for name, text in texts.items():
                written = [text(row) for row in rows]
                ranked = index.search(written, 10)
                found[name][pair[1]] = round_trips(rows, written, [[i for i, _ in ranking] for ranking in ranked])
        return found

    def _written(self, place: int, prompt_set: str) -> Any:
        answers = self.answers[place][prompt_set]
        return lambda row: answers[f"{row['id']}#generate"]["text"]


def _mean_of(trained: list[Row], key: str) -> float:
    return float(np.mean([t[key] for t in trained])) if trained else 0.0


def run(job: Job) -> dict[str, Any]:
    """Write the tables of INTERS.

    Inputs: examples, prompts, predictions (list), models (tuned, list), collections (list), claims and published (what
    the paper reports), statistics (of the full mixture). Outputs: tables (folder for the report: in_domain,
    ablation_*, round_trip, loss, parse_failures, signs, faults, data, verdicts, strategies) and details (folder:
    metrics .json and .tsv, category_means, per_query).

    Params: base, seen {base model: what it is}, systems [{name, tuned, base, design, fraction, seed, sets}] aligned
    with predictions, ablations {design: {kind, label, leave_out}}, volumes, data
    (:func:`searchtune.tasks.data_table.data_args`), fidelity, faults, k1, b, statistics, rankings {task: {data set:
    collections}}.
    """
    stats = Statistics(**job.params["statistics"])
    evaluation = Evaluation(job)
    main, volumes = evaluation.systems()
    trips = evaluation.round_trips()
    places = (evaluation.index_of(False, 0.0)[0], evaluation.index_of(True, 1.0)[0])
    differing = share_differing(*(evaluation.answers[i]["zero_shot"] for i in places))
    training = evaluation.training[job.params["systems"][places[1]]["name"]]
    failures, signs = failure_rows(main), sign_rows(training, differing, trips, stats)
    tables: dict[str, tuple[list[str], list[Row]]] = {
        "in_domain": (IN_DOMAIN, metric_rows(main, stats, main_only=True)),
        "ablation_data_volume": (VOLUME, volume_rows(volumes, stats)),
        "ablation_instruction_design": (ABLATION, ablations(evaluation, "instruction_design", stats)),
        "ablation_task_variety": (ABLATION, ablations(evaluation, "task_variety", stats)),
        "ablation_control": (ABLATION, controls(evaluation, stats)),
        "ablation_base_model": (BASE_MODEL, base_models(evaluation, stats)),
        "round_trip": (ROUND_TRIP, round_trip_rows(trips, stats)),
        "loss": (LOSS, loss_rows(training)),
        "parse_failures": (FAILURES, failures),
        "signs": (SIGNS, signs),
        "faults": (FAULT, fault_rows(evaluation, job)),
        "data": (DATA, data_table(job)),
        "verdicts": (VERDICTS, verdict_rows(evaluation, job.inputs["claims"], job.inputs["published"], stats)),
        "strategies": (STRATEGY_COLUMNS, strategies(job)),
    }
    for name, (columns, rows) in tables.items():
        write_tsv(job.outputs["tables"] / f"{name}.tsv", columns, rows)
    _write_details(job.outputs["details"], evaluation, main, volumes, stats)
    return {
        "test_examples": len(evaluation.test),
        "systems": len(main),
        "parse_failures": sum(f["failed"] for f in failures),
        "signs_passed": sum(s["passed"] for s in signs),
        "signs": len(signs),
    }


def data_table(job: Job) -> list[Row]:
    """Return the rows of data.tsv."""
    examples, mixture = job.inputs["examples"] / "statistics.tsv", job.inputs["statistics"]
    return data_rows(job.params["data"], read_tsv(examples), read_tsv(mixture))


def strategies(job: Job) -> list[Row]:
    """Return the rows of strategies.tsv; none where nothing was reranked in several strategies."""
    given = {key: job.inputs.get(key, []) for key in ("strategy_sets", "runs", "strategies")}
    collections = {path.name: path for path in given["strategy_sets"]}
    runs = {path.parent.name: path for path in given["runs"]}
    return strategy_rows(collections, runs, given["strategies"], job.params["statistics"])


def _write_details(
    folder: Path, evaluation: Evaluation, main: list[System], volumes: list[System], stats: Statistics
) -> None:
    every = [*main, *(s for s in volumes if s not in main)]
    rows = adjust(metric_rows(main, stats, main_only=False)) + total_rows(main)
    rows += macro_rows(main, stats, evaluation.params.get("rankings", {}))
    write_metrics(folder / "metrics.json", {"metrics": rows})
    write_tsv(folder / "metrics.tsv", [*IN_DOMAIN, "p_holm"], rows)
    write_tsv(folder / "category_means.tsv", CATEGORY, category_rows(every, stats))
    write_tsv(folder / "per_query.tsv", PER_QUERY, per_query_rows(every))
