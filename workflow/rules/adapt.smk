# Adapted retrievers to take away: model with its card, index with the passages. Inputs: the student of each target, its
# index, the tables, and the audit (which must have passed). Output: <results>/adapted/<target>. Cost: seconds. A model
# that learnt from data with a canary is refused.
from searchtune.release.arguments import export_args


rule adapt_export:
    input:
        model="<results>/udapdr/{adapted}/students/adapted",
        index="<results>/udapdr/{adapted}/indexes/student_adapted",
        collection="<results>/collections/{adapted}",
        filtered=lambda w: CHAINS.path(w.adapted, "filtered"),
        tables="<results>/udapdr/tables",
        audit="<results>/audit/leakage.tsv",
    output:
        folder=directory("<results>/adapted/{adapted}"),
    log:
        "<results>/logs/adapt_export.{adapted}.log",
    benchmark:
        "<results>/benchmarks/adapt_export.{adapted}.tsv"
    wildcard_constraints:
        adapted="|".join(map(re.escape, CHAINS.targets)),
    conda:
        "../../envs/data.yaml"
    params:
        stage="adapt.export",
        args=lambda w: export_args(config, w.adapted),
        code=code_hash("adapt.export"),
    script:
        "../scripts/stage.py"
