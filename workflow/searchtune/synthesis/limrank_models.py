"""The models of the synthesizer: which one serves which step, one of them in memory at a time."""

from pathlib import Path

from searchtune.errors import DataError
from searchtune.llm.engine import Engine, open_engine
from searchtune.stage import Job

# step -> the input that may name a model of its own for it
ROLES = {
    "expand_query": "query_writer",
    "reason": "writer",
    "describe_passages": "writer",
    "write_passage": "passage_writer",
    "judge": "judge",
}
ENDPOINT = "endpoint.json"


class Models:
    """Opens the model of a step and closes the one before it, unless it is the same folder."""

    def __init__(self, job: Job) -> None:
        """``job``: inputs writer and judge, and query_writer and passage_writer where they are others."""
        self._job = job
        self._path: Path | None = None
        self._engine: Engine | None = None
        self.used: dict[str, dict[str, str]] = {}

    def path(self, step: str) -> Path:
        """Return the model folder of a step; the writer's where the step has none of its own."""
        if step not in ROLES:
            raise DataError(f"unknown step {step!r} of the synthesizer; known: {', '.join(ROLES)}")
        return Path(self._job.inputs.get(ROLES[step], self._job.inputs["writer"]))

    def engine(self, step: str) -> Engine:
        """Return the opened model of a step. A folder that describes an endpoint is asked over the network."""
        path = self.path(step)
        if self._engine is None or path != self._path:
            self._close()  # the memory of two models at once is not there
            self._path, params = path, self._job.params
            self._engine = open_engine(
                path,
                "openai" if (path / ENDPOINT).is_file() else params["backend"],
                dtype=params["dtype"],
                threads=self._job.threads,
                max_model_len=params["max_model_len"],
                seed=params["seed"],
                tensor_parallel=self._job.tensor_parallel,
                log=self._job.log,
            )
        self.used[step] = {"model": self._engine.model, "revision": self._engine.revision}
        return self._engine

    def _close(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()
