# Leakage: what each paper's model was trained on against every collection that is scored, by exact text and
# n-gram. Inputs: training rows of the papers, text that healed pruned models, collections, task examples. Outputs: a
# table of shares and a list of overlaps (ids only). More than the stated share stops the run and leaves the list beside
# the log. Cost: seconds.
from searchtune.evaluation.arguments import (
    audit_args,
    healing_sets,
    off_domain_corpora,
    scored_sets,
    training_sets,
)


rule audit_leakage:
    input:
        train=[
            *expand("<results>/{path}", path=training_sets(config)),
            *expand("<resources>/{path}", path=healing_sets(config)),
        ],
        eval=expand("<results>/{path}", path=scored_sets(config)),
        # their passages: the queries name them by id
        corpora=expand(
            "<results>/{path}", path=sorted(set(off_domain_corpora(config).values()))
        ),
    output:
        report="<results>/audit/leakage.tsv",
        overlaps="<results>/audit/overlaps.jsonl",
    log:
        "<results>/logs/audit_leakage.log",
    benchmark:
        "<results>/benchmarks/audit_leakage.tsv"
    conda:
        "../../envs/data.yaml"
    resources:
        mem_mb=memory(1500),
        runtime=minutes(30, 120),
    params:
        stage="audit.leakage",
        args=audit_args(config),
        code=code_hash("audit.leakage"),
    script:
        "../scripts/stage.py"
