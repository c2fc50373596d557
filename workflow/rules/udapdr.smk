# UDAPDR: a chain is a collection, a variant of the recipe and a seed (searchtune/synthesis/udapdr_chains.py): questions
# by a strong model, corpus-adapted prompts, queries by a cheap model, round-trip filter, one reranker per prompt,
# labelled tuples, students. Chains share the files of the stages in which they agree. Then every system searches its
# target, and is timed and compared.
# Inputs: the collections, BM25 and dense runs of the targets, writers, encoder. Outputs: tables/.
# Cost at demo on two cores: three to four minutes of writing a chain (side by side), four of training, one of
# scoring; tests and timing two. Training jobs take one thread each, so that they run side by side: writing has
# priority, so that both chains reach them together, and the clock of latency, which takes all cores, comes last.
import re

from searchtune.synthesis import udapdr_arguments as udapdr
from searchtune.synthesis.udapdr_chains import HELD, Chains, unjudged_targets

UDAPDR = config["udapdr"]
CHAINS = Chains(config)
UNJUDGED = unjudged_targets(config)
# PLAID's package needs a torch of its own; its environment is that of conda, or of `make plaid`
PLAID = UDAPDR["search"]["method"] == "plaid"
if not workflow.deployment_settings.deployment_method:
    udapdr.check_plaid(config)
# tokens of a passage that late interaction reads, and so the vectors that it holds in memory
PASSAGE_LENGTH = udapdr.settings_of(UDAPDR["student"])["passage_length"]
UDAPDR_TARGET = f"<results>/udapdr/{UDAPDR['target']}"


wildcard_constraints:
    chain="|".join(map(re.escape, CHAINS.names)),
    y=r"\d+",
    student="adapted|shuffled",
    retriever="|".join(udapdr.STUDENTS),
    unjudged="|".join(map(re.escape, UNJUDGED)) or "-",


rule udapdr_seed:
    input:
        collection=lambda w: CHAINS.collection_path(w.chain),
        model=lambda w: CHAINS.model(w.chain, "strong_model"),
        templates="workflow/prompts/udapdr/seed.yaml",
    output:
        seed=directory("<results>/udapdr/{chain}/seed"),
    log:
        "<results>/logs/udapdr_seed.{chain}.log",
    benchmark:
        "<results>/benchmarks/udapdr_seed.{chain}.tsv"
    priority: 20
    conda:
        GENERATE
    threads: config["hardware"]["generate_threads"]
    resources:
        mem_mb=memory(config["hardware"]["generate_mem_mb"]),
        gpu=gpus(config),
    params:
        stage="udapdr.seed",
        args=lambda w: CHAINS.args(w.chain, "seed"),
        code=code_hash("udapdr.seed"),
        variant=lambda w: CHAINS.is_variant(w.chain),
    script:
        "../scripts/stage.py"


rule udapdr_prompts:
    input:
        seed=lambda w: CHAINS.path(w.chain, "seed"),
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
        args=lambda w: CHAINS.args(w.chain, "prompts"),
        code=code_hash("udapdr.prompts"),
        variant=lambda w: CHAINS.is_variant(w.chain),
    script:
        "../scripts/stage.py"


rule udapdr_scale_up:
    input:
        collection=lambda w: CHAINS.collection_path(w.chain),
        prompts=lambda w: CHAINS.path(w.chain, "prompts"),
        model=lambda w: CHAINS.model(w.chain, "cheap_model"),
        templates="workflow/prompts/udapdr/scale_up.yaml",
    output:
        queries=directory("<results>/udapdr/{chain}/queries"),
    log:
        "<results>/logs/udapdr_scale_up.{chain}.log",
    benchmark:
        "<results>/benchmarks/udapdr_scale_up.{chain}.tsv"
    priority: 20
    conda:
        GENERATE
    threads: config["hardware"]["generate_threads"]
    resources:
        mem_mb=memory(config["hardware"]["generate_mem_mb"]),
        gpu=gpus(config),
    params:
        stage="udapdr.scale_up",
        args=lambda w: CHAINS.args(w.chain, "queries"),
        code=code_hash("udapdr.scale_up"),
        variant=lambda w: CHAINS.is_variant(w.chain),
    script:
        "../scripts/stage.py"


# late interaction before it is adapted: the index that the filter and the zero-shot systems search
rule udapdr_index:
    input:
        collection=lambda w: CHAINS.collection_path(w.chain),
        model=lambda w: CHAINS.model(w.chain, "encoder"),
    output:
        index=directory("<results>/udapdr/{chain}/index"),
    log:
        "<results>/logs/udapdr_index.{chain}.log",
    benchmark:
        "<results>/benchmarks/udapdr_index.{chain}.tsv"
    conda:
        "../../envs/distil.yaml"
    threads: config["hardware"]["light_threads"]
    resources:
        mem_mb=late(2500, PASSAGE_LENGTH),
        runtime=minutes(60, 720),
        gpu=gpus(config),
    params:
        stage="retrieve.late",
        args=lambda w: udapdr.zero_shot_args(CHAINS.config(w.chain, "filtered"))
        | {"systems": {}},
        code=code_hash("retrieve.late"),
    script:
        "../scripts/stage.py"


rule udapdr_zero_shot:
    input:
        collection=lambda w: CHAINS.scored_path(w.chain),
        model=lambda w: CHAINS.model(w.chain, "encoder"),
        index=lambda w: CHAINS.path(w.chain, "index"),
    output:
        runs=directory("<results>/udapdr/{chain}/late/zero_shot"),
    log:
        "<results>/logs/udapdr_zero_shot.{chain}.log",
    benchmark:
        "<results>/benchmarks/udapdr_zero_shot.{chain}.tsv"
    conda:
        "../../envs/plaid.yaml" if PLAID else "../../envs/distil.yaml"
    threads: config["hardware"]["light_threads"]
    resources:
        mem_mb=late(2500, PASSAGE_LENGTH),
        runtime=minutes(60, 240),
        gpu=gpus(config),
    params:
        stage="retrieve.late",
        args=lambda w: udapdr.zero_shot_args(CHAINS.config(w.chain, "filtered"))
        | udapdr.search_args(config),
        code=code_hash("retrieve.late"),
    script:
        "../scripts/stage.py"


rule udapdr_filter:
    input:
        collection=lambda w: CHAINS.collection_path(w.chain),
        queries=lambda w: CHAINS.path(w.chain, "queries"),
        seed=lambda w: CHAINS.path(w.chain, "seed"),
        model=lambda w: CHAINS.model(w.chain, "encoder"),
        index=lambda w: CHAINS.path(w.chain, "index"),
    output:
        queries=directory("<results>/udapdr/{chain}/filtered"),
    log:
        "<results>/logs/udapdr_filter.{chain}.log",
    benchmark:
        "<results>/benchmarks/udapdr_filter.{chain}.tsv"
    priority: 10
    conda:
        "../../envs/plaid.yaml" if PLAID else "../../envs/distil.yaml"
    threads: config["hardware"]["light_threads"]
    resources:
        mem_mb=late(2500, PASSAGE_LENGTH),
        runtime=minutes(60, 720),
        gpu=gpus(config),
    params:
        stage="udapdr.filter",
        args=lambda w: CHAINS.args(w.chain, "filtered"),
        code=code_hash("udapdr.filter"),
        variant=lambda w: CHAINS.is_variant(w.chain),
    script:
        "../scripts/stage.py"


# a target without human questions is tested with synthetic ones that trained nothing
rule udapdr_held:
    input:
        collection="<results>/collections/{unjudged}",
        queries="<results>/udapdr/{unjudged}/filtered",
    output:
        collection=directory(f"<results>/collections/{{unjudged}}{HELD}"),
    log:
        "<results>/logs/udapdr_held.{unjudged}.log",
    benchmark:
        "<results>/benchmarks/udapdr_held.{unjudged}.tsv"
    conda:
        "../../envs/data.yaml"
    resources:
        mem_mb=memory(2000, times=3),
    params:
        stage="udapdr.held",
        args=lambda w: {"id": w.unjudged + HELD},
        code=code_hash("udapdr.held"),
    script:
        "../scripts/stage.py"


rule udapdr_reranker:
    input:
        model=lambda w: CHAINS.model(w.chain, "reranker"),
        collection=lambda w: CHAINS.collection_path(w.chain),
        queries=lambda w: CHAINS.path(w.chain, "filtered"),
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
        mem_mb=memory(2500),
        gpu=gpus(config),
    params:
        stage="train.cross_encoder",
        args=lambda w: CHAINS.reranker_args(w.chain, int(w.y)),
        code=code_hash("train.cross_encoder"),
        variant=lambda w: CHAINS.is_variant(w.chain),
    script:
        "../scripts/stage.py"


rule udapdr_teachers:
    input:
        collection=lambda w: CHAINS.collection_path(w.chain),
        queries=lambda w: CHAINS.path(w.chain, "filtered"),
        models=lambda w: CHAINS.rerankers(w.chain),
    output:
        tuples="<results>/udapdr/{chain}/tuples.jsonl",
    log:
        "<results>/logs/udapdr_teachers.{chain}.log",
    benchmark:
        "<results>/benchmarks/udapdr_teachers.{chain}.tsv"
    wildcard_constraints:
        chain="|".join(map(re.escape, CHAINS.taught())) or "-",
    priority: 10
    conda:
        "../../envs/distil.yaml"
    threads: config["hardware"]["light_threads"]
    resources:
        mem_mb=memory(2500),
        gpu=gpus(config),
    params:
        stage="score.teachers",
        args=lambda w: CHAINS.args(w.chain, "tuples"),
        code=code_hash("score.teachers"),
        variant=lambda w: CHAINS.is_variant(w.chain),
    script:
        "../scripts/stage.py"


# the same tuples, scored by a language model as LimRank asks it; its model may be one that limrank.smk tunes
rule udapdr_judge:
    input:
        collection=lambda w: CHAINS.collection_path(w.chain),
        queries=lambda w: CHAINS.path(w.chain, "filtered"),
        model=lambda w: CHAINS.judge_path(w.chain),
        prompts="workflow/prompts/limrank/rerank.yaml",
    output:
        tuples="<results>/udapdr/{chain}/tuples.jsonl",
        judged=directory("<results>/udapdr/{chain}/judged"),
    log:
        "<results>/logs/udapdr_judge.{chain}.log",
    benchmark:
        "<results>/benchmarks/udapdr_judge.{chain}.tsv"
    wildcard_constraints:
        chain="|".join(map(re.escape, CHAINS.judged())) or "-",
    priority: 10
    conda:
        GENERATE
    threads: config["hardware"]["generate_threads"]
    resources:
        mem_mb=memory(config["hardware"]["generate_mem_mb"]),
        gpu=gpus(config),
    params:
        stage="score.judge",
        args=lambda w: CHAINS.args(w.chain, "tuples"),
        code=code_hash("score.judge"),
        variant=lambda w: CHAINS.is_variant(w.chain),
    script:
        "../scripts/stage.py"


rule udapdr_student:
    input:
        model=lambda w: CHAINS.model(w.chain, "encoder"),
        tuples=lambda w: CHAINS.path(w.chain, "tuples"),
        collection=lambda w: CHAINS.collection_path(w.chain),
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
        mem_mb=memory(3000),
        gpu=gpus(config),
    params:
        stage="train.student",
        args=lambda w: CHAINS.student_args(w.chain, w.student),
        code=code_hash("train.student"),
        variant=lambda w: CHAINS.is_variant(w.chain),
    script:
        "../scripts/stage.py"


rule udapdr_search:
    input:
        collection=lambda w: CHAINS.scored_path(w.chain),
        model=lambda w: CHAINS.student(w.chain, w.retriever),
    output:
        runs=directory("<results>/udapdr/{chain}/late/{retriever}"),
        index=directory("<results>/udapdr/{chain}/indexes/{retriever}"),
    log:
        "<results>/logs/udapdr_search.{chain}.{retriever}.log",
    benchmark:
        "<results>/benchmarks/udapdr_search.{chain}.{retriever}.tsv"
    wildcard_constraints:
        chain="|".join(map(re.escape, CHAINS.hosts)),
    priority: 10
    conda:
        "../../envs/plaid.yaml" if PLAID else "../../envs/distil.yaml"
    threads: config["hardware"]["light_threads"]
    resources:
        mem_mb=late(2500, PASSAGE_LENGTH),
        runtime=minutes(60, 720),
        gpu=gpus(config),
    params:
        stage="retrieve.late",
        args=lambda w: CHAINS.search_args(w.chain, w.retriever),
        code=code_hash("retrieve.late"),
        variant=lambda w: CHAINS.is_variant(w.chain),
    script:
        "../scripts/stage.py"


# queries of another collection of the same corpus: the student and its index are there
rule udapdr_search_again:
    input:
        collection=lambda w: CHAINS.scored_path(w.chain),
        model=lambda w: CHAINS.student(w.chain, w.retriever),
        index=lambda w: CHAINS.path(w.chain, "indexes", w.retriever),
    output:
        runs=directory("<results>/udapdr/{chain}/late/{retriever}"),
    log:
        "<results>/logs/udapdr_search_again.{chain}.{retriever}.log",
    benchmark:
        "<results>/benchmarks/udapdr_search_again.{chain}.{retriever}.tsv"
    wildcard_constraints:
        chain="|".join(map(re.escape, CHAINS.guests)) or "-",
    conda:
        "../../envs/distil.yaml"
    threads: config["hardware"]["light_threads"]
    resources:
        mem_mb=late(2500, PASSAGE_LENGTH),
        runtime=minutes(60, 240),
        gpu=gpus(config),
    params:
        stage="retrieve.late",
        args=lambda w: CHAINS.search_args(w.chain, w.retriever),
        code=code_hash("retrieve.late"),
    script:
        "../scripts/stage.py"


rule udapdr_rerank:
    input:
        collection=lambda w: CHAINS.scored_path(w.chain),
        run=lambda w: f"<results>/runs/{CHAINS.scored(w.chain)}/bm25.run.gz",
        models=lambda w: CHAINS.rerankers(w.chain),
    output:
        run="<results>/udapdr/{chain}/bm25_reranked.run.gz",
        scores="<results>/udapdr/{chain}/bm25_reranked.scores.tsv.gz",
    log:
        "<results>/logs/udapdr_rerank.{chain}.log",
    benchmark:
        "<results>/benchmarks/udapdr_rerank.{chain}.tsv"
    conda:
        "../../envs/distil.yaml"
    threads: config["hardware"]["light_threads"]
    resources:
        mem_mb=memory(2500),
        gpu=gpus(config),
    params:
        stage="rerank.cross_encoder",
        args=lambda w: udapdr.rerank_args(CHAINS.config(w.chain, "rerankers")),
        code=code_hash("rerank.cross_encoder"),
        variant=lambda w: CHAINS.is_variant(w.chain),
    script:
        "../scripts/stage.py"


# takes all cores, so that nothing else runs while the clock does
rule udapdr_latency:
    input:
        collection=CHAINS.scored_path(UDAPDR["target"]),
        student=f"{UDAPDR_TARGET}/students/adapted",
        index=f"{UDAPDR_TARGET}/indexes/student_adapted",
        rerankers=CHAINS.rerankers(UDAPDR["target"]),
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
    resources:
        mem_mb=late(2500, PASSAGE_LENGTH),
        gpu=gpus(config),
    params:
        stage="udapdr.latency",
        args=udapdr.latency_args(config),
        code=code_hash("udapdr.latency"),
    script:
        "../scripts/stage.py"


# what PLAID loses against exact search, on a corpus small enough for both
rule udapdr_plaid_loss:
    input:
        collection=CHAINS.scored_path(UDAPDR["target"]),
        student=f"{UDAPDR_TARGET}/students/adapted",
        index=f"{UDAPDR_TARGET}/indexes/student_adapted",
    output:
        loss=f"{UDAPDR_TARGET}/plaid.tsv",
    log:
        "<results>/logs/udapdr_plaid_loss.log",
    benchmark:
        "<results>/benchmarks/udapdr_plaid_loss.tsv"
    conda:
        "../../envs/plaid.yaml"
    threads: config["hardware"]["light_threads"]
    resources:
        mem_mb=late(2500, PASSAGE_LENGTH),
        gpu=gpus(config),
    params:
        stage="udapdr.plaid_loss",
        args=udapdr.plaid_loss_args(config),
        code=code_hash("udapdr.plaid_loss"),
    script:
        "../scripts/stage.py"


rule udapdr_evaluate:
    input:
        **CHAINS.evaluate_inputs(),
    output:
        tables=directory("<results>/udapdr/tables"),
        details=directory("<results>/udapdr/details"),
    log:
        "<results>/logs/udapdr_evaluate.log",
    benchmark:
        "<results>/benchmarks/udapdr_evaluate.tsv"
    conda:
        "../../envs/retrieve.yaml"
    resources:
        mem_mb=memory(2000, times=0.5),
        runtime=minutes(60, 60),
    params:
        stage="udapdr.evaluate",
        args=udapdr.evaluate_args(config) | CHAINS.evaluate_args(),
        code=code_hash("udapdr.evaluate"),
    script:
        "../scripts/stage.py"
