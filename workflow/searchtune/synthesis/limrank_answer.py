"""Stage ``limrank.answer``: a generator answers with each system's top passages (GPQA in the paper).

One job loads one model and answers every set for every system. A prompt that several systems give is asked once.
"""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from searchtune.collections.beir import Collection
from searchtune.collections.build import raw_paths
from searchtune.collections.originals import original_answers
from searchtune.files import read_json, sha256_bytes, write_json, write_jsonl, write_tsv
from searchtune.llm.calls import Request, count_calls, run_requests
from searchtune.llm.engine import Engine, Sampling
from searchtune.llm.job_engine import job_engine
from searchtune.prompts.budget import load_tokenizer
from searchtune.prompts.templates import load_templates
from searchtune.stage import Job
from searchtune.synthesis.rag_prompts import Prompt, PromptMaker
from searchtune.synthesis.rag_systems import System, systems_of

COUNTS_COLUMNS = ["collection", "system", "mode", "train_seed", "k", "fault", "prompts", "passages", "cut", "left_out"]
# a short answer is one line
STOP = ("\n",)


def run(job: Job) -> dict[str, Any]:
    """Stage function. Inputs: model, prompts (rag.yaml), sets and runs (collection folders and their first stages,
    aligned), reranked (folders); raw (artefacts with swapped-out answers, optional). Output: answers, a folder of
    questions.jsonl, answers.jsonl, calls/, counts.tsv and manifest.json."""
    params = job.params
    engine = job_engine(job, params["sample_seed"])
    reranked = [(path, read_json(path / "manifest.json")) for path in _list(job.inputs.get("reranked", []))]
    folder = job.outputs["answers"]
    questions: list[dict] = []
    answers: list[dict] = []
    counts: list[dict] = []
    calls: list[dict] = []
    for path, first in zip(_list(job.inputs["sets"]), _list(job.inputs["runs"]), strict=True):
        collection = Collection.load(path)
        settings = params | {"set": path.name}
        own = [(p, m) for p, m in reranked if path.name in m["sets"]]
        systems, shared = systems_of(collection, path.name, first, own, settings)
        maker = PromptMaker(
            collection, load_templates(job.inputs["prompts"]), load_tokenizer(job.inputs["model"]), settings
        )
        prompts = {(i, q): maker.build(q, ds) for i, s in enumerate(systems) for q, ds in s.passages.items()}
        told = ask(job, engine, maker, prompts)
        write_jsonl(folder / "calls" / f"{path.name}.jsonl.gz", told.values())
        questions += question_rows(path.name, collection, systems[0].passages, shared, _originals(job, path.name))
        answers += answer_rows(path.name, systems, prompts, told, params)
        counts += [_counts(path.name, system, i, prompts) for i, system in enumerate(systems)]
        calls += told.values()
    write_jsonl(folder / "questions.jsonl", questions)
    write_jsonl(folder / "answers.jsonl", answers)
    write_tsv(folder / "counts.tsv", COUNTS_COLUMNS, counts)
    write_json(folder / "manifest.json", _manifest(engine, params))
    asked = sum(row["prompts"] for row in counts) * params["n_samples"]
    return count_calls(calls) | {"answers": asked, "shared_calls": asked - len(calls)}


def _list(paths: Path | list[Path]) -> list[Path]:
    return paths if isinstance(paths, list) else [paths]


def _originals(job: Job, name: str) -> dict[str, list[str]]:
    """Return question -> answers swapped out of its passages; empty for a set whose data do not give them."""
    files = job.params["originals"].get(name, [])
    return original_answers(raw_paths(job.inputs["raw"], files)) if files else {}


def _manifest(engine: Engine, params: dict[str, Any]) -> dict[str, Any]:
    keys = ("top_k", "n_samples", "temperature", "top_p", "scoring", "sample_seed")
    return {"model": engine.model, "revision": engine.revision, **{key: params[key] for key in keys}}


def ask(
    job: Job, engine: Engine, maker: PromptMaker, prompts: dict[tuple[int, str], Prompt]
) -> dict[str, dict[str, Any]]:
    """Return call id -> call of every distinct prompt and sample. Prompts of a question go together, so that a back end
    with prefix caching reads what they share once."""
    params, requests = job.params, {}
    for (_, question), prompt in sorted(prompts.items(), key=lambda item: (item[0][1], item[1].text)):
        for sample in range(params["n_samples"]):
            sampling = Sampling(
                max_tokens=maker.budget(question),
                temperature=params["temperature"],
                top_p=params["top_p"],
                stop=() if maker.is_choice(question) else STOP,
                seed=params["sample_seed"] + sample,
            )
            key = call_id(prompt, sample)
            requests[key] = Request(key, prompt.text, sampling)
    calls = run_requests(engine, list(requests.values()), job.work, f"answers/{maker.params['set']}", log=job.log)
    return {call["id"]: call for call in calls}


def call_id(prompt: Prompt, sample: int) -> str:
    """Return the id of a call: the same prompt is asked once a sample, whoever gave its passages."""
    return f"{sha256_bytes(prompt.text.encode())[:16]}#{sample}"


def question_rows(
    name: str, collection: Collection, questions: Iterable[str], shared: list[str], originals: dict[str, list[str]]
) -> list[dict]:
    """Return a row for each question: text, right answers, choices and letter, answers that were swapped out."""
    rows = []
    for question in questions:
        query, reranked = collection.queries[question], set(shared)
        found = {key: query.metadata.get(key) for key in ("choices", "letter")}
        rows.append(
            {
                "set": name,
                "id": question,
                "question": query.metadata.get("question") or query.text,
                "answers": query.metadata["answers"],
                "originals": originals.get(query.text, []) if originals else None,
                "reranked": question in reranked,
                **found,
            }
        )
    return rows


def answer_rows(
    name: str,
    systems: list[System],
    prompts: dict[tuple[int, str], Prompt],
    calls: dict[str, dict[str, Any]],
    params: dict[str, Any],
) -> list[dict]:
    """Return a row for each system, question and sample: who gave the passages, which, the call, and what was said."""
    rows = []
    for number, system in enumerate(systems):
        who = {key: value for key, value in asdict(system).items() if key != "passages"}
        for question, passages in system.passages.items():
            for sample in range(params["n_samples"]):
                call = calls[call_id(prompts[number, question], sample)]
                said = {"call": call["id"], "text": call["text"], "finish_reason": call["finish_reason"]}
                rows.append({"set": name, "question": question, **who, "sample": sample, "passages": passages, **said})
    return rows


def _counts(name: str, system: System, number: int, prompts: dict[tuple[int, str], Prompt]) -> dict[str, Any]:
    mine = [prompts[number, question] for question in system.passages]
    return {
        "collection": name,
        "system": system.name,
        "mode": system.mode,
        "train_seed": system.train_seed,
        "k": system.k,
        "fault": system.fault,
        "prompts": len(mine),
        "passages": sum(map(len, system.passages.values())),
        "cut": sum(prompt.cut for prompt in mine),
        "left_out": sum(prompt.left_out for prompt in mine),
    }
