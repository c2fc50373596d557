# One BEIR-layout collection per id of the configuration: distinct passages, sampled queries, splits by
# source article. Input: the fetched artefacts that hold its raw files. Output: a folder with corpus,
# queries, qrels, excluded documents and a manifest. Cost: seconds, under 1 GiB.
from searchtune.collections.arguments import collection_args, raw_inputs


rule collection:
    input:
        raw=lambda w: raw_inputs(config, w.collection),
    output:
        collection=directory("<results>/collections/{collection}"),
    log:
        "<results>/logs/collection.{collection}.log",
    benchmark:
        "<results>/benchmarks/collection.{collection}.tsv"
    wildcard_constraints:
        collection="|".join(config["collections"]),
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        # profile slurm runs BM25 in the same allocation, and what that asks for is not known before this has run:
        # ten times the texts, which lie packed here
        mem_mb=memory(1500, times=20),
        runtime=minutes(60, 360),
    params:
        stage="collections.build",
        args=lambda w: collection_args(config, w.collection),
        code=code_hash("collections.build"),
    script:
        "../scripts/stage.py"
