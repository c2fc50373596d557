"""Adapter between a rule and its stage: write the job file, run it in this process, keep its error in the log."""

import sys
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(snakemake.scriptdir).parent))

from searchtune.cluster import why_again
from searchtune.devices import leased
from searchtune.errors import SearchtuneError
from searchtune.files import write_json
from searchtune.redaction import without_secrets
from searchtune.stage import run_job


def named(items):
    """Return Snakemake's named files as plain strings or lists of strings."""
    return {name: [str(v) for v in value] if isinstance(value, list | tuple) else str(value) for name, value in items}


spec = {
    "stage": snakemake.params.stage,
    "inputs": named(snakemake.input.items()),
    "outputs": named(snakemake.output.items()),
    "params": snakemake.params.get("args", {}),
    "threads": snakemake.threads,
    "log": str(snakemake.log[0]),
    "spare": bool(snakemake.params.get("variant", False)),
}
# how it runs, as threads are; not in params, which are part of what its results are
if (parts := snakemake.config["hardware"]["tensor_parallel"]) > 1:
    spec["tensor_parallel"] = parts
write_json(Path(next(iter(spec["outputs"].values())) + ".job.json"), spec)
if again := why_again():
    with Path(spec["log"]).open("a", encoding="utf-8") as log:
        log.write(again + "\n")
try:
    with leased(int(snakemake.resources.get("gpu", 0))):
        run_job(spec)
except Exception as error:
    text = f"{type(error).__name__}: {error}"
    shown = without_secrets(text)
    with Path(spec["log"]).open("a", encoding="utf-8") as log:
        log.write(f"{shown}\n{without_secrets(traceback.format_exc())}")
    # Snakemake would print an error that it is handed as it is
    if shown == text and not isinstance(error, SearchtuneError):
        raise
    sys.exit(shown)
