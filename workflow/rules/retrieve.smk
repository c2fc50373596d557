# First-stage retrieval: BM25 for every query of a collection, dense retrieval for its test queries.
# Output: a TREC run and its raw scores beside it. Cost: BM25 seconds; dense about 50 passages a second
# on two cores.
from searchtune.collections.arguments import (
    bm25_args,
    bm25_stage,
    compared_collections,
    dense_args,
    engines_args,
    import_args,
    imported_run,
)
from searchtune.retrieval.lucene import check_lucene

BM25_STAGE = bm25_stage(config)
BM25 = f"../../envs/{'lucene' if BM25_STAGE == 'retrieve.lucene' else 'retrieve'}.yaml"

if not workflow.deployment_settings.deployment_method:
    check_lucene(config["retrieval"]["engine"])


rule bm25:
    input:
        collection="<results>/collections/{collection}",
    output:
        run="<results>/runs/{collection}/bm25.run.gz",
        scores="<results>/runs/{collection}/bm25.scores.tsv.gz",
    log:
        "<results>/logs/bm25.{collection}.log",
    benchmark:
        "<results>/benchmarks/bm25.{collection}.tsv"
    conda:
        BM25
    threads: 1
    resources:
        mem_mb=memory(1500, times=10),
        runtime=minutes(30, 240),
    params:
        stage=BM25_STAGE,
        args=lambda w: bm25_args(config, w.collection),
        code=code_hash(BM25_STAGE),
    script:
        "../scripts/stage.py"


# the same by Lucene, whatever engine is set; wanted by first_stage alone
use rule bm25 as bm25_lucene with:
    output:
        run="<results>/runs/{collection}/lucene.run.gz",
        scores="<results>/runs/{collection}/lucene.scores.tsv.gz",
    log:
        "<results>/logs/bm25_lucene.{collection}.log",
    benchmark:
        "<results>/benchmarks/bm25_lucene.{collection}.tsv"
    conda:
        "../../envs/lucene.yaml"
    params:
        stage="retrieve.lucene",
        args=lambda w: bm25_args(config, w.collection),
        code=code_hash("retrieve.lucene"),


# a target of its own: what the two engines differ in, on every collection with test queries
rule first_stage:
    input:
        collections=expand(
            "<results>/collections/{name}", name=compared_collections(config)
        ),
        bm25=expand(
            "<results>/runs/{name}/bm25.run.gz", name=compared_collections(config)
        ),
        lucene=expand(
            "<results>/runs/{name}/lucene.run.gz", name=compared_collections(config)
        ),
    output:
        table="<results>/first_stage/engines.tsv",
    log:
        "<results>/logs/first_stage.log",
    benchmark:
        "<results>/benchmarks/first_stage.tsv"
    conda:
        "../../envs/retrieve.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000, times=3),
    params:
        stage="evaluate.engines",
        args=engines_args(config),
        code=code_hash("evaluate.engines"),
    script:
        "../scripts/stage.py"


# a first-stage run of the user's, checked against the collection: ids, queries, excluded passages
rule import_run:
    input:
        collection="<results>/collections/{collection}",
        imported=lambda w: imported_run(config, w.collection),
    output:
        run="<results>/runs/{collection}/imported.run.gz",
        scores="<results>/runs/{collection}/imported.scores.tsv.gz",
    log:
        "<results>/logs/import_run.{collection}.log",
    benchmark:
        "<results>/benchmarks/import_run.{collection}.tsv"
    conda:
        "../../envs/retrieve.yaml"
    threads: 1
    params:
        stage="retrieve.import",
        args=lambda w: import_args(config, w.collection),
        code=code_hash("retrieve.import"),
    script:
        "../scripts/stage.py"


rule dense:
    input:
        collection="<results>/collections/{collection}",
        encoder="<resources>/models/{model}",
    output:
        run="<results>/runs/{collection}/dense.{model}.run.gz",
        scores="<results>/runs/{collection}/dense.{model}.scores.tsv.gz",
    log:
        "<results>/logs/dense.{collection}.{model}.log",
    benchmark:
        "<results>/benchmarks/dense.{collection}.{model}.tsv"
    conda:
        "../../envs/retrieve.yaml"
    threads: config["hardware"]["light_threads"]
    resources:
        mem_mb=memory(config["hardware"]["mem_mb"]),
        runtime=minutes(60, 720),
        gpu=gpus(config),
    params:
        stage="retrieve.dense",
        args=lambda w: dense_args(config, w.collection),
        code=code_hash("retrieve.dense"),
    script:
        "../scripts/stage.py"
