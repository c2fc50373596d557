# LimRank's ablations: the rules of limrank.smk once more for each change of the chain, in files of its own
# (searchtune/synthesis/limrank_chains.py). A change makes what it touches and what hangs on that, and shares the rest.
# Where a change leaves too little to go on, that is its result: its outputs are empty, and its row says why.
# Cost: that of the rules that it repeats; rows from elsewhere take seconds, and a judge's time where they need reasoning.
wildcard_constraints:
    change="|".join(LIMRANK_CHAINS.changes) or "-",


use rule limrank_synthesize as limrank_synthesize_change with:
    input:
        unpack(lambda w: limrank.synthesis_inputs(LIMRANK_CHAINS.config(w.change))),
    output:
        synthesis=directory("<results>/limrank/synthesis.{change}"),
    log:
        "<results>/logs/limrank_synthesize.{change}.log",
    benchmark:
        "<results>/benchmarks/limrank_synthesize.{change}.tsv"
    wildcard_constraints:
        change="|".join(LIMRANK_CHAINS.owned("synthesis", False)) or "-",
    params:
        stage="limrank.synthesize",
        args=lambda w: limrank.synthesize_args(LIMRANK_CHAINS.config(w.change)),
        code=code_hash("limrank.synthesize"),
        variant=True,


# rows from elsewhere, in the synthesizer's form and number
rule limrank_source:
    input:
        unpack(lambda w: LIMRANK_CHAINS.source_inputs(w.change)),
    output:
        synthesis=directory("<results>/limrank/synthesis.{change}"),
    log:
        "<results>/logs/limrank_source.{change}.log",
    benchmark:
        "<results>/benchmarks/limrank_source.{change}.tsv"
    wildcard_constraints:
        change="|".join(LIMRANK_CHAINS.owned("synthesis", True)) or "-",
    conda:
        GENERATE
    threads: config["hardware"]["generate_threads"]
    resources:
        mem_mb=memory(config["hardware"]["generate_mem_mb"]),
        gpu=gpus(config),
    params:
        stage="limrank.source",
        args=lambda w: limrank.source_args(
            LIMRANK_CHAINS.config(w.change), LIMRANK_CHAINS.mode(w.change)
        ),
        code=code_hash("limrank.source"),
        variant=True,
    script:
        "../scripts/stage.py"


use rule limrank_pack as limrank_pack_change with:
    input:
        synthesis=lambda w: LIMRANK_CHAINS.path(w.change, "synthesis"),
        prompts="workflow/prompts/limrank/rerank.yaml",
        model=lambda w: limrank.model_path(LIMRANK_CHAINS.section(w.change)["base"]),
    output:
        reasoning_train="<results>/limrank/packed.{change}/reasoning.train.jsonl",
        reasoning_dev="<results>/limrank/packed.{change}/reasoning.dev.jsonl",
        direct_train="<results>/limrank/packed.{change}/direct.train.jsonl",
        direct_dev="<results>/limrank/packed.{change}/direct.dev.jsonl",
        balance="<results>/limrank/packed.{change}/balance.tsv",
        heldout=directory("<results>/limrank/packed.{change}/heldout"),
    log:
        "<results>/logs/limrank_pack.{change}.log",
    benchmark:
        "<results>/benchmarks/limrank_pack.{change}.tsv"
    params:
        stage="limrank.pack",
        args=lambda w: limrank.pack_args(LIMRANK_CHAINS.config(w.change)),
        code=code_hash("limrank.pack"),
        variant=True,


use rule limrank_tune as limrank_tune_change with:
    input:
        model=lambda w: limrank.model_path(LIMRANK_CHAINS.section(w.change)["base"]),
        train=lambda w: LIMRANK_CHAINS.path(
            w.change, "packed", f"{w.trained}.train.jsonl"
        ),
        dev=lambda w: LIMRANK_CHAINS.path(w.change, "packed", f"{w.trained}.dev.jsonl"),
    output:
        model=directory("<results>/limrank/models/{trained}.{change}-s{seed}"),
    log:
        "<results>/logs/limrank_tune.{trained}.{change}-s{seed}.log",
    benchmark:
        "<results>/benchmarks/limrank_tune.{trained}.{change}-s{seed}.tsv"
    params:
        stage="train.sft",
        args=lambda w: limrank.train_args(LIMRANK_CHAINS.config(w.change), w.seed),
        code=code_hash("train.sft"),
        variant=True,


# the same test sets and prompts for every change; held-out synthetic queries are of the chain as configured alone
use rule limrank_rerank as limrank_rerank_change with:
    input:
        **limrank.ranked_inputs(config),
        model=lambda w: LIMRANK_CHAINS.model(w.change, w.trained, w.seed),
        prompts="workflow/prompts/limrank/rerank.yaml",
    output:
        reranked=directory("<results>/limrank/reranked/{trained}.{change}-s{seed}"),
    log:
        "<results>/logs/limrank_rerank.{trained}.{change}-s{seed}.log",
    benchmark:
        "<results>/benchmarks/limrank_rerank.{trained}.{change}-s{seed}.tsv"
    params:
        stage="rerank.reasoning",
        args=lambda w: LIMRANK_CHAINS.rerank_args(w.change, w.trained, w.seed),
        code=code_hash("rerank.reasoning"),
        variant=True,
