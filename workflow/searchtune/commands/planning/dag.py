"""The jobs of a target, from Snakemake's own dry run: its Snakefile, configuration, profile and reasons."""

import contextlib
import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from searchtune.commands.planning.jobs import Paths, PlannedJob
from searchtune.errors import ConfigError
from searchtune.registry.table import ROOT
from searchtune.stage import PROVENANCE, read_record


def arguments_of(targets: Iterable[str], configfiles: Iterable[Path], config: Iterable[str]) -> list[str]:
    """Return the command line of the dry run; options stand before the targets. ``configfiles``: absolute paths."""
    argv = ["--dry-run", "--quiet", "all"]
    for option, values in (("--configfile", [str(file) for file in configfiles]), ("--config", list(config))):
        argv += [option, *values] if values else []
    return [*argv, "--", *targets]


def _named(files: Any) -> dict[str, Paths]:
    """Return Snakemake's named files as plain strings or lists of strings, as the rules' script does."""
    return {name: str(value) if isinstance(value, str) else [str(v) for v in value] for name, value in files.items()}


def _unwrapped(reason: str) -> str:
    """Return a reason without the note that the dry run has ended the job."""
    return reason.removeprefix("Finished (was: ").removesuffix(")") if reason.startswith("Finished (was: ") else reason


def _memory(job: Any) -> int:
    """Return what a job asks for (MiB); where that hangs on inputs that are not there yet, the least of its rule."""
    asked = job.resources.get("mem_mb", 0)
    if isinstance(asked, int):
        return asked
    return int(getattr(job.rule.resources["mem_mb"]._evaluator, "least", 0))


def _planned(job: Any, dag: Any) -> PlannedJob:
    params = dict(job.params.items())
    runs, made = bool(dag.needrun(job)), ROOT / f"{next(iter(job.output))}{PROVENANCE}"
    return PlannedJob(
        rule=job.rule.name,
        stage=params.get("stage", job.rule.name),
        args=params.get("args", {}),
        inputs=_named(job.input) or {"input": [str(path) for path in job.input]},
        outputs=_named(job.output) or {"output": [str(path) for path in job.output]},
        threads=int(job.threads),
        mem_mb=_memory(job),
        wildcards=dict(job.wildcards_dict),
        log=str(next(iter(job.log), "")),
        runs=runs,
        reason=_unwrapped(str(dag.reason(job))) if runs else "",
        counts={} if runs or not made.is_file() else read_record(made).get("counts", {}),
    )


def _dry_run(argv: list[str], cores: int) -> tuple[list[PlannedJob], dict[str, Any]]:
    """Run Snakemake's dry run through its Python interface; return jobs with outputs, and the whole configuration."""
    from snakemake import cli
    from snakemake.api import SnakemakeApi
    from snakemake.settings.types import (
        ConfigSettings,
        DAGSettings,
        OutputSettings,
        Quietness,
        ResourceSettings,
        StorageSettings,
    )

    _, args = cli.parse_args(argv)
    with SnakemakeApi(OutputSettings(dryrun=True, quiet={Quietness.ALL}, log_level_override=None)) as api:
        whole = api.workflow(
            resource_settings=ResourceSettings(
                cores=cores, default_resources=args.default_resources, resources=args.resources
            ),
            config_settings=ConfigSettings(config=cli.parse_config(args.config), configfiles=args.configfile or []),
            storage_settings=StorageSettings(),
            snakefile=ROOT / "Snakefile",
            workdir=ROOT,
        )
        dag_api = whole.dag(
            DAGSettings(
                targets=set(args.targets), rerun_triggers=args.rerun_triggers, force_incomplete=args.rerun_incomplete
            )
        )
        dag_api.execute_workflow(executor="dryrun")
        # the one thing that the public interface does not give: the jobs themselves
        workflow = whole._workflow
        jobs = [_planned(job, workflow.dag) for job in workflow.dag.jobs if job.output]
        return jobs, dict(workflow.globals["config"])


def jobs_of(
    targets: Iterable[str], configfiles: Iterable[Path], config: Iterable[str], cores: int | None = None
) -> tuple[list[PlannedJob], dict]:
    """Return the jobs behind some targets (none given: everything of the scale) and the checked configuration.

    ``cores``: no job has more threads (without it: as many as this machine has).
    Jobs that need not run are among them, so that sizes can be read off them. ConfigError with Snakemake's or the
    configuration's own message where the workflow can't be planned.
    """
    from snakemake.exceptions import RuleException, WorkflowError
    from snakemake_interface_common.exceptions import ApiError

    said, before = io.StringIO(), Path.cwd()
    try:
        os.chdir(ROOT)  # profiles are looked up from here
        with contextlib.redirect_stderr(said):
            return _dry_run(arguments_of(targets, configfiles, config), cores or os.cpu_count() or 1)
    except (RuleException, WorkflowError, ApiError, SystemExit, ValueError) as error:
        text = str(error) if not isinstance(error, SystemExit) else said.getvalue().strip().splitlines()[-1]
        raise ConfigError(text or said.getvalue().strip()) from error
    finally:
        os.chdir(before)
