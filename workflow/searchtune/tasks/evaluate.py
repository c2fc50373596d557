"""Stage ``inters.evaluate``: predictions to the tables of INTERS, with baselines, intervals, tests, signs of life."""

from pathlib import Path
from typing import Any

import numpy as np

from searchtune.collections.beir import Collection
from searchtune.evaluation.metrics import write_metrics
from searchtune.evaluation.strategies import STRATEGY_COLUMNS, strategy_rows
from searchtune.files import read_json, read_jsonl, write_tsv
from searchtune.retrieval.bm25 import BM25Index
from searchtune.stage import Job
from searchtune.tasks.answers import FAULTS, active_faults
from searchtune.tasks.inventory import TASKS
from searchtune.tasks.macro import macro_rows
from searchtune.tasks.scorers import Faults
from searchtune.tasks.scoring import (
    Pair,
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

# which task shows what a scorer fault is worth, and in which metric
FAULT_METRICS = {
    "B1": ("reading_comprehension", "token F1"),
    "B2": ("query_subtopic_generation", "F1"),
    "B3": ("query_subtopic_generation", "F1"),
    "B12": ("fact_verification", "accuracy"),
}
FAULT_TEXTS = {
    "B1": "reading comprehension F1 over characters, not tokens",
    "B2": "an answer without numbering becomes a set of characters",
    "B3": "numbered lists read with numbers of one digit only",
    "B12": "labels by summed log-probability, which favours short ones",
}


class Evaluation:
    """Everything that the tables are made of, read once."""

    def __init__(self, job: Job) -> None:
        params = job.params
        self.params = params
        folder = job.inputs["examples"]
        self.test = read_jsonl(folder / "test.jsonl")
        self.known = read_jsonl(folder / "train.jsonl") + read_jsonl(folder / "dev.jsonl")
        self.prompts = {name: read_jsonl(job.inputs["prompts"] / f"{name}.jsonl") for name in ("zero_shot", "few_shot")}
        self.collections = {path.name: Collection.load(path) for path in job.inputs["collections"]}
        self.answers = [read_answers(path) for path in job.inputs["predictions"]]
        self.training = {
            s["name"]: read_json(path / "training.json")
            for s, path in zip([s for s in params["systems"] if s["tuned"]], job.inputs["models"], strict=True)
        }
        self.faults: Faults = active_faults(params["fidelity"], params["faults"])
        for spec, found in zip(params["systems"], self.answers, strict=True):
            for name in spec["sets"]:
                check_complete(found.get(name, {}), self.prompts[name], f"predictions of {spec['name']}, {name}")

    def scores(self, index: int, prompt_set: str = "zero_shot", **options: Any) -> Scores:
        """Return the scores of one predictions file under the faults in force."""
        return score_set(
            self.test, self.answers[index][prompt_set], self.collections, **({"faults": self.faults} | options)
        )

    def index_of(self, tuned: bool, fraction: float) -> list[int]:
        """Return the places of the systems with that volume, the first seed first."""
        return [i for i, s in enumerate(self.params["systems"]) if s["tuned"] == tuned and s["fraction"] == fraction]

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
        generated = [
            self.scores(i, labels_by="generate", only="label") for i in self.index_of(True, max(self.params["volumes"]))
        ]
        main += [
            full,
            System(TUNED + GENERATED, model, True, seeds=full.seeds, runs=generated, baseline=UNTUNED + GENERATED),
        ]
        baselines = baseline_scores(self.test, self.known, self.collections, self.faults)
        main += [System(name, runs=[scores]) for name, scores in baselines.items()]
        return [s for s in main if s.runs[0].values], volumes

    def _tuned(self, volume: float) -> System:
        places = self.index_of(True, volume)
        specs = [self.params["systems"][i] for i in places]
        tokens = [self.training[s["name"]]["tokens"] for s in specs]
        name = TUNED if volume == max(self.params["volumes"]) else f"{TUNED}, {volume:g} of the data"
        return System(
            name,
            self.params["base"],
            True,
            volume,
            float(np.mean(tokens)),
            [s["seed"] for s in specs],
            [self.scores(i) for i in places],
            baseline=UNTUNED,
        )

    def round_trips(self) -> dict[str, dict[str, Values]]:
        """Return system -> collection -> round-trip values; people's questions and the copy baseline stand beside."""
        base, tuned = self.index_of(False, 0.0)[0], self.index_of(True, max(self.params["volumes"]))[0]
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
            collection = self.collections[pair[1]]
            index = BM25Index.build(
                list(collection.corpus),
                [collection.passage_text(i) for i in collection.corpus],
                self.params["k1"],
                self.params["b"],
            )
            for name, text in texts.items():
                ranked = index.search([text(row) for row in rows], 10)
                found[name][pair[1]] = round_trips(rows, [[i for i, _ in ranking] for ranking in ranked])
        return found

    def _written(self, place: int, prompt_set: str) -> Any:
        answers = self.answers[place][prompt_set]
        return lambda row: answers[f"{row['id']}#generate"]["text"]

    def fault_rows(self) -> list[dict[str, Any]]:
        """Return what each scorer fault is worth: the metric that it touches, corrected and released."""
        rows = []
        places = {UNTUNED: self.index_of(False, 0.0)[0], TUNED: self.index_of(True, max(self.params["volumes"]))[0]}
        for fault in FAULTS:
            task, metric = FAULT_METRICS[fault]
            for name, place in places.items():
                right, wrong = (
                    self.scores(place, faults=f, tasks=frozenset([task])) for f in (frozenset(), frozenset([fault]))
                )
                rows += [
                    {
                        "fault": fault,
                        "what": FAULT_TEXTS[fault],
                        "system": name,
                        "task": TASKS[task].title,
                        "dataset": pair[1],
                        "metric": metric,
                        "corrected": _mean(right, pair, metric),
                        "released": _mean(wrong, pair, metric),
                    }
                    for pair in right.values
                    # a task's data sets may have other metrics: BoolQ has labels among answers
                    if metric in right.values[pair]
                ]
        return rows


def _mean(scores: Scores, pair: Pair, metric: str) -> float:
    return float(np.mean(list(scores.values[pair][metric].values())))


def run(job: Job) -> dict[str, Any]:
    """Write the tables of INTERS.

    Inputs: examples, prompts, predictions (list), models (tuned, list), collections (list). Outputs:
    tables (folder for the report: in_domain, ablation_data_volume, round_trip, loss, parse_failures,
    signs, faults, strategies) and details (folder: metrics .json and .tsv, category_means, per_query). Params: base,
    systems [{name, tuned, fraction, seed, sets}] aligned with predictions, volumes, fidelity, faults, k1, b,
    statistics, rankings {task: {data set: collections}}.
    """
    stats = Statistics(**job.params["statistics"])
    evaluation = Evaluation(job)
    main, volumes = evaluation.systems()
    trips = evaluation.round_trips()
    places = (evaluation.index_of(False, 0.0)[0], evaluation.index_of(True, max(job.params["volumes"]))[0])
    differing = share_differing(*(evaluation.answers[i]["zero_shot"] for i in places))
    training = evaluation.training[job.params["systems"][places[1]]["name"]]
    failures, signs = failure_rows(main), sign_rows(training, differing, trips, stats)
    tables: dict[str, tuple[list[str], list[Row]]] = {
        "in_domain": (IN_DOMAIN, metric_rows(main, stats, main_only=True)),
        "ablation_data_volume": (VOLUME, volume_rows(volumes, stats)),
        "round_trip": (ROUND_TRIP, round_trip_rows(trips, stats)),
        "loss": (LOSS, loss_rows(training)),
        "parse_failures": (FAILURES, failures),
        "signs": (SIGNS, signs),
        "faults": (FAULT, evaluation.fault_rows()),
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
