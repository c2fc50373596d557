# Leakage: what each paper's model was trained on against every collection that is scored, by exact text and
# n-gram. Inputs: training rows of the papers, text that healed pruned models, collections, task examples. Outputs: a
# table of shares and a list of overlaps (ids only). More than the stated share stops the run and leaves the list beside
# the log. Cost: seconds.
from searchtune.audited import audit_args, audit_inputs


rule audit_leakage:
    input:
        **audit_inputs(config),
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
