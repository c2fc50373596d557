# UDAPDR: one chain per collection (the target, and another corpus for the off-domain student): questions by
# a strong model, corpus-adapted prompts, queries by a cheap model, round-trip filter, one reranker per
# prompt, labelled tuples, students. Then every system searches the target, and is timed and compared.
# Inputs: the two collections, BM25 and dense runs of the target, writers, encoder. Outputs: tables/.
# Cost at demo on two cores: three to four minutes of writing a chain (side by side), four of training, one of
# scoring; tests and timing two. Training jobs take one thread each, so that they run side by side: writing has
# priority, so that both chains reach them together, and the clock of latency, which takes all cores, comes last.
from searchtune.synthesis import udapdr_arguments as udapdr

UDAPDR = config["udapdr"]
UDAPDR_CHAINS = [UDAPDR["target"], UDAPDR["off_domain"]]
UDAPDR_TARGET = f"<results>/udapdr/{UDAPDR['target']}"
UDAPDR_ENCODER = udapdr.model_path(config, UDAPDR["encoder"], "encoder")


wildcard_constraints:
    chain="|".join(UDAPDR_CHAINS),
    y=r"\d+",
    student="adapted|shuffled",
    retriever="|".join(udapdr.STUDENTS),


rule udapdr_seed:
    input:
        collection="<results>/collections/{chain}",
        model=udapdr.model_path(config, UDAPDR["strong_model"], "strong_model"),
        templates="workflow/prompts/udapdr/seed.yaml",
    output:
        seed=directory("<results>/udapdr/{chain}/seed"),
    log:
        "<results>/logs/udapdr_seed.{chain}.log",
    benchmark:
        "<results>/benchmarks/udapdr_seed.{chain}.tsv"
    priority: 20
    conda:
        "../../envs/generate-cpu.yaml"
    threads: config["hardware"]["generate_threads"]
    resources:
        mem_mb=config["hardware"]["generate_mem_mb"],
    params:
        stage="udapdr.seed",
        args=udapdr.seed_args(config),
        code=code_hash("udapdr.seed"),
    script:
        "../scripts/stage.py"


rule udapdr_prompts:
    input:
        seed="<results>/udapdr/{chain}/seed",
    output:
        prompts="<results>/udapdr/{chain}/prompts.jsonl",
        synthesis="<results>/udapdr/{chain}/prompts.synthesis.tsv",
    log:
        "<results>/logs/udapdr_prompts.{chain}.log",
    benchmark:
        "<results>/benchmarks/udapdr_prompts.{chain}.tsv"
    conda:
        "../../envs/data.yaml"
    params:
        stage="udapdr.prompts",
        args=udapdr.prompts_args(config),
        code=code_hash("udapdr.prompts"),
    script:
        "../scripts/stage.py"


rule udapdr_scale_up:
    input:
        collection="<results>/collections/{chain}",
        prompts="<results>/udapdr/{chain}/prompts.jsonl",
        model=udapdr.model_path(config, UDAPDR["cheap_model"], "cheap_model"),
        templates="workflow/prompts/udapdr/scale_up.yaml",
    output:
        queries=directory("<results>/udapdr/{chain}/queries"),
    log:
        "<results>/logs/udapdr_scale_up.{chain}.log",
    benchmark:
        "<results>/benchmarks/udapdr_scale_up.{chain}.tsv"
    priority: 20
    conda:
        "../../envs/generate-cpu.yaml"
    threads: config["hardware"]["generate_threads"]
    resources:
        mem_mb=config["hardware"]["generate_mem_mb"],
    params:
        stage="udapdr.scale_up",
        args=udapdr.scale_up_args(config),
        code=code_hash("udapdr.scale_up"),
    script:
        "../scripts/stage.py"


# untrained late interaction: the zero-shot systems, and the index that the filter searches
rule udapdr_zero_shot:
    input:
        collection="<results>/collections/{chain}",
        model=UDAPDR_ENCODER,
    output:
        runs=directory("<results>/udapdr/{chain}/late/zero_shot"),
        index=directory("<results>/udapdr/{chain}/index"),
    log:
        "<results>/logs/udapdr_zero_shot.{chain}.log",
    benchmark:
        "<results>/benchmarks/udapdr_zero_shot.{chain}.tsv"
    conda:
        "../../envs/distil.yaml"
    threads: config["hardware"]["light_threads"]
    resources:
        mem_mb=2500,
    params:
        stage="retrieve.late",
        args=udapdr.zero_shot_args(config),
        code=code_hash("retrieve.late"),
    script:
        "../scripts/stage.py"


rule udapdr_filter:
    input:
        collection="<results>/collections/{chain}",
        queries="<results>/udapdr/{chain}/queries",
        seed="<results>/udapdr/{chain}/seed",
        model=UDAPDR_ENCODER,
        index="<results>/udapdr/{chain}/index",
    output:
        queries=directory("<results>/udapdr/{chain}/filtered"),
    log:
        "<results>/logs/udapdr_filter.{chain}.log",
    benchmark:
        "<results>/benchmarks/udapdr_filter.{chain}.tsv"
    priority: 10
    conda:
        "../../envs/distil.yaml"
    params:
        stage="udapdr.filter",
        args=udapdr.filter_args(config),
        code=code_hash("udapdr.filter"),
    script:
        "../scripts/stage.py"


rule udapdr_reranker:
    input:
        model=udapdr.model_path(config, UDAPDR["reranker"]["model"], "reranker.model"),
        collection="<results>/collections/{chain}",
        queries="<results>/udapdr/{chain}/filtered",
    output:
        model=directory("<results>/udapdr/{chain}/rerankers/{y}"),
    log:
        "<results>/logs/udapdr_reranker.{chain}.{y}.log",
    benchmark:
        "<results>/benchmarks/udapdr_reranker.{chain}.{y}.tsv"
    priority: 10
    conda:
        "../../envs/distil.yaml"
    threads: config["hardware"]["light_threads"]
    resources:
        mem_mb=2500,
    params:
        stage="train.cross_encoder",
        args=lambda w: udapdr.reranker_args(config, int(w.y)),
        code=code_hash("train.cross_encoder"),
    script:
        "../scripts/stage.py"


rule udapdr_teachers:
    input:
        collection="<results>/collections/{chain}",
        queries="<results>/udapdr/{chain}/filtered",
        models=expand(
            "<results>/udapdr/{{chain}}/rerankers/{y}",
            y=range(UDAPDR["prompts"]["count"]),
        ),
    output:
        tuples="<results>/udapdr/{chain}/tuples.jsonl",
    log:
        "<results>/logs/udapdr_teachers.{chain}.log",
    benchmark:
        "<results>/benchmarks/udapdr_teachers.{chain}.tsv"
    priority: 10
    conda:
        "../../envs/distil.yaml"
    threads: config["hardware"]["light_threads"]
    params:
        stage="score.teachers",
        args=udapdr.teachers_args(config),
        code=code_hash("score.teachers"),
    script:
        "../scripts/stage.py"


rule udapdr_student:
    input:
        model=UDAPDR_ENCODER,
        tuples="<results>/udapdr/{chain}/tuples.jsonl",
        collection="<results>/collections/{chain}",
    output:
        model=directory("<results>/udapdr/{chain}/students/{student}"),
    log:
        "<results>/logs/udapdr_student.{chain}.{student}.log",
    benchmark:
        "<results>/benchmarks/udapdr_student.{chain}.{student}.tsv"
    priority: 10
    conda:
        "../../envs/distil.yaml"
    threads: config["hardware"]["light_threads"]
    resources:
        mem_mb=3000,
    params:
        stage="train.student",
        args=lambda w: udapdr.student_args(config, w.student),
        code=code_hash("train.student"),
    script:
        "../scripts/stage.py"


rule udapdr_search:
    input:
        collection=f"<results>/collections/{UDAPDR['target']}",
        model=lambda w: udapdr.student_model(config, w.retriever),
    output:
        runs=directory(f"{UDAPDR_TARGET}/late/{{retriever}}"),
        index=directory(f"{UDAPDR_TARGET}/indexes/{{retriever}}"),
    log:
        "<results>/logs/udapdr_search.{retriever}.log",
    benchmark:
        "<results>/benchmarks/udapdr_search.{retriever}.tsv"
    priority: 10
    conda:
        "../../envs/distil.yaml"
    threads: config["hardware"]["light_threads"]
    resources:
        mem_mb=2500,
    params:
        stage="retrieve.late",
        args=lambda w: udapdr.student_runs_args(config, w.retriever),
        code=code_hash("retrieve.late"),
    script:
        "../scripts/stage.py"


rule udapdr_rerank:
    input:
        collection=f"<results>/collections/{UDAPDR['target']}",
        run=f"<results>/runs/{UDAPDR['target']}/bm25.run.gz",
        models=expand(
            f"{UDAPDR_TARGET}/rerankers/{{y}}",
            y=range(UDAPDR["prompts"]["count"]),
        ),
    output:
        run=f"{UDAPDR_TARGET}/bm25_reranked.run.gz",
        scores=f"{UDAPDR_TARGET}/bm25_reranked.scores.tsv.gz",
    log:
        "<results>/logs/udapdr_rerank.log",
    benchmark:
        "<results>/benchmarks/udapdr_rerank.tsv"
    conda:
        "../../envs/distil.yaml"
    threads: config["hardware"]["light_threads"]
    params:
        stage="rerank.cross_encoder",
        args=udapdr.rerank_args(config),
        code=code_hash("rerank.cross_encoder"),
    script:
        "../scripts/stage.py"


# takes all cores, so that nothing else runs while the clock does
rule udapdr_latency:
    input:
        collection=f"<results>/collections/{UDAPDR['target']}",
        student=f"{UDAPDR_TARGET}/students/adapted",
        index=f"{UDAPDR_TARGET}/indexes/student_adapted",
        rerankers=expand(
            f"{UDAPDR_TARGET}/rerankers/{{y}}", y=range(UDAPDR["prompts"]["count"])
        ),
    output:
        latency=f"{UDAPDR_TARGET}/latency.tsv",
        hardware=f"{UDAPDR_TARGET}/hardware.json",
    log:
        "<results>/logs/udapdr_latency.log",
    benchmark:
        "<results>/benchmarks/udapdr_latency.tsv"
    priority: -10
    conda:
        "../../envs/distil.yaml"
    threads: config["hardware"]["threads"]
    params:
        stage="udapdr.latency",
        args=udapdr.latency_args(config),
        code=code_hash("udapdr.latency"),
    script:
        "../scripts/stage.py"


rule udapdr_evaluate:
    input:
        collection=f"<results>/collections/{UDAPDR['target']}",
        bm25=f"<results>/runs/{UDAPDR['target']}/bm25.run.gz",
        dense=f"<results>/runs/{UDAPDR['target']}/dense.{UDAPDR['encoder']}.run.gz",
        reranked=f"{UDAPDR_TARGET}/bm25_reranked.run.gz",
        reranked_scores=f"{UDAPDR_TARGET}/bm25_reranked.scores.tsv.gz",
        late=expand(
            f"{UDAPDR_TARGET}/late/{{name}}", name=["zero_shot", *udapdr.STUDENTS]
        ),
        rerankers=expand(
            "<results>/udapdr/{chain}/rerankers/{y}",
            chain=UDAPDR_CHAINS,
            y=range(UDAPDR["prompts"]["count"]),
        ),
        synthesis=expand(
            f"{UDAPDR_TARGET}/{{name}}",
            name=["seed", "prompts.synthesis.tsv", "queries", "filtered"],
        ),
        filtered=f"{UDAPDR_TARGET}/filtered",
        latency=f"{UDAPDR_TARGET}/latency.tsv",
    output:
        tables=directory("<results>/udapdr/tables"),
        details=directory("<results>/udapdr/details"),
    log:
        "<results>/logs/udapdr_evaluate.log",
    benchmark:
        "<results>/benchmarks/udapdr_evaluate.tsv"
    conda:
        "../../envs/retrieve.yaml"
    params:
        stage="udapdr.evaluate",
        args=udapdr.evaluate_args(config),
        code=code_hash("udapdr.evaluate"),
    script:
        "../scripts/stage.py"
