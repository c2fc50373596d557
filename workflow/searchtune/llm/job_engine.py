"""The engine of a job: its model folder, back end, number format, context and threads, in one place for all stages."""

from searchtune.llm.engine import Engine, open_engine
from searchtune.stage import Job


def job_engine(job: Job, seed: int, model: str = "model", backend: str = "") -> Engine:
    """Load a model of a job once. ``model``: name of the input; ``backend``: in place of the one that params name.

    Params: backend, dtype, max_model_len. Raises what :func:`open_engine` raises.
    """
    params = job.params
    return open_engine(
        job.inputs[model],
        backend or params["backend"],
        dtype=params["dtype"],
        max_model_len=params["max_model_len"],
        threads=job.threads,
        seed=seed,
        tensor_parallel=job.tensor_parallel,
        log=job.log,
    )
