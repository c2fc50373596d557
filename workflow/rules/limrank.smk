# LimRank: synthesizer, packing, tuning with and without reasoning, reranking of BM25's top by the probability of
# true, an instruction-following set and FollowIR's, answers of a generator that reads the top passages, tables. Inputs: fetched query
# files, the collections with their BM25 runs, the base model. Outputs: <results>/limrank/{synthesis,packed,models,
# reranked,instructions,followir,questions,answers,tables}. Cost at demo on two cores: about two minutes of writing, two for each
# tuned model, one for each reranking, one for the answers.
from searchtune.synthesis import limrank_arguments as limrank
from searchtune.synthesis import limrank_baselines as baselines
from searchtune.synthesis import limrank_rag_arguments as rag
from searchtune.synthesis.limrank_chains import LimrankChains

LIMRANK_CHAINS = LimrankChains(config)


wildcard_constraints:
    trained="|".join(config["limrank"]["variants"]),
    reranker="|".join(limrank.rerank_systems(config)),
    baseline="|".join(baselines.baseline_names(config)) or "none",


rule limrank_synthesize:
    input:
        **limrank.synthesis_inputs(config),
    output:
        synthesis=directory("<results>/limrank/synthesis"),
    log:
        "<results>/logs/limrank_synthesize.log",
    benchmark:
        "<results>/benchmarks/limrank_synthesize.tsv"
    priority: 100
    conda:
        GENERATE
    threads: config["hardware"]["threads"]
    resources:
        mem_mb=memory(config["hardware"]["mem_mb"]),
        gpu=gpus(config),
    params:
        stage="limrank.synthesize",
        args=limrank.synthesize_args(config),
        code=code_hash("limrank.synthesize"),
    script:
        "../scripts/stage.py"


rule limrank_pack:
    input:
        synthesis="<results>/limrank/synthesis",
        prompts="workflow/prompts/limrank/rerank.yaml",
        model=limrank.model_path(config["limrank"]["base"]),
    output:
        reasoning_train="<results>/limrank/packed/reasoning.train.jsonl",
        reasoning_dev="<results>/limrank/packed/reasoning.dev.jsonl",
        direct_train="<results>/limrank/packed/direct.train.jsonl",
        direct_dev="<results>/limrank/packed/direct.dev.jsonl",
        balance="<results>/limrank/packed/balance.tsv",
        heldout=directory("<results>/limrank/packed/heldout"),
    log:
        "<results>/logs/limrank_pack.log",
    benchmark:
        "<results>/benchmarks/limrank_pack.tsv"
    priority: 150
    conda:
        "../../envs/data.yaml"
    threads: 1
    params:
        stage="limrank.pack",
        args=limrank.pack_args(config),
        code=code_hash("limrank.pack"),
    script:
        "../scripts/stage.py"


rule limrank_tune:
    input:
        model=limrank.model_path(config["limrank"]["base"]),
        train="<results>/limrank/packed/{trained}.train.jsonl",
        dev="<results>/limrank/packed/{trained}.dev.jsonl",
    output:
        model=directory("<results>/limrank/models/{trained}-s{seed}"),
    log:
        "<results>/logs/limrank_tune.{trained}-s{seed}.log",
    benchmark:
        "<results>/benchmarks/limrank_tune.{trained}-s{seed}.tsv"
    priority: 70
    conda:
        "../../envs/train.yaml"
    threads: config["hardware"]["threads"]
    resources:
        mem_mb=memory(config["hardware"]["mem_mb"]),
        gpu=gpus(config),
    params:
        stage="train.sft",
        args=lambda w: limrank.train_args(config, w.seed),
        code=code_hash("train.sft"),
    script:
        "../scripts/stage.py"


rule limrank_instructions:
    input:
        collection=f"<results>/collections/{config['limrank']['instruction_collection']}",
    output:
        instructions=directory("<results>/limrank/instructions"),
    log:
        "<results>/logs/limrank_instructions.log",
    benchmark:
        "<results>/benchmarks/limrank_instructions.tsv"
    conda:
        "../../envs/retrieve.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000, times=10),
        runtime=minutes(60, 240),
    params:
        stage="limrank.instructions",
        args=limrank.instructions_args(config),
        code=code_hash("limrank.instructions"),
    script:
        "../scripts/stage.py"


# question sets without judged passages (GPQA), with their own first stage
rule limrank_questions:
    input:
        raw=lambda w: rag.question_raw(config, w.questions),
    output:
        questions=directory("<results>/limrank/questions/{questions}"),
        run="<results>/runs/{questions}/bm25.run.gz",
        scores="<results>/runs/{questions}/bm25.scores.tsv.gz",
    log:
        "<results>/logs/limrank_questions.{questions}.log",
    benchmark:
        "<results>/benchmarks/limrank_questions.{questions}.tsv"
    wildcard_constraints:
        questions="|".join(config["limrank"]["rag"]["questions"]) or "none",
    conda:
        "../../envs/retrieve.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000, times=10),
    params:
        stage="limrank.questions",
        args=lambda w: rag.question_args(config, w.questions),
        code=code_hash("limrank.questions"),
    script:
        "../scripts/stage.py"


rule limrank_followir:
    input:
        collections=expand(
            "<results>/collections/{name}", name=config["limrank"]["followir"]
        ),
        imported=list(limrank.followir_imports(config).values()),
    output:
        followir=directory("<results>/limrank/followir"),
    log:
        "<results>/logs/limrank_followir.log",
    benchmark:
        "<results>/benchmarks/limrank_followir.tsv"
    conda:
        "../../envs/retrieve.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000, times=10),
        runtime=minutes(60, 240),
    params:
        stage="limrank.followir",
        args=limrank.followir_args(config),
        code=code_hash("limrank.followir"),
    script:
        "../scripts/stage.py"


rule limrank_rerank:
    input:
        **limrank.ranked_inputs(config, questions=True),
        model=lambda w: limrank.reranker_path(config, w.reranker),
        prompts="workflow/prompts/limrank/rerank.yaml",
        heldout="<results>/limrank/packed/heldout",
    output:
        reranked=directory("<results>/limrank/reranked/{reranker}"),
    log:
        "<results>/logs/limrank_rerank.{reranker}.log",
    benchmark:
        "<results>/benchmarks/limrank_rerank.{reranker}.tsv"
    conda:
        GENERATE
    threads: config["hardware"]["generate_threads"]
    resources:
        mem_mb=memory(config["hardware"]["generate_mem_mb"]),
        gpu=gpus(config),
    params:
        stage="rerank.reasoning",
        args=lambda w: limrank.rerank_args(config, w.reranker),
        code=code_hash("rerank.reasoning"),
    script:
        "../scripts/stage.py"


rule limrank_baseline:
    input:
        **limrank.ranked_inputs(config),
        model=lambda w: baselines.model_folder(config, w.baseline),
        prompts="workflow/prompts/limrank/baselines.yaml",
        heldout="<results>/limrank/packed/heldout",
    output:
        reranked=directory("<results>/limrank/baselines/{baseline}"),
    log:
        "<results>/logs/limrank_baseline.{baseline}.log",
    benchmark:
        "<results>/benchmarks/limrank_baseline.{baseline}.tsv"
    conda:
        GENERATE
    threads: config["hardware"]["generate_threads"]
    resources:
        mem_mb=memory(config["hardware"]["generate_mem_mb"]),
        gpu=gpus(config),
    params:
        stage="rerank.baseline",
        args=lambda w: baselines.baseline_args(config, w.baseline),
        code=code_hash("rerank.baseline"),
    script:
        "../scripts/stage.py"


# one generator reads the top passages of every system; a prompt that several systems give is asked once
rule limrank_answer:
    input:
        model=rag.generator_path(config),
        prompts="workflow/prompts/limrank/rag.yaml",
        sets=rag.set_paths(config),
        runs=rag.run_paths(config),
        raw=rag.originals_raw(config),
        reranked=expand(
            "<results>/limrank/reranked/{name}", name=limrank.rerank_systems(config)
        ),
    output:
        answers=directory("<results>/limrank/answers"),
    log:
        "<results>/logs/limrank_answer.log",
    benchmark:
        "<results>/benchmarks/limrank_answer.tsv"
    conda:
        GENERATE
    threads: config["hardware"]["threads"]
    resources:
        mem_mb=memory(config["hardware"]["generate_mem_mb"]),
        gpu=gpus(config),
    params:
        stage="limrank.answer",
        args=rag.answer_args(config),
        code=code_hash("limrank.answer"),
    script:
        "../scripts/stage.py"


# only where limrank.rag.scoring is judge
rule limrank_judge_answers:
    input:
        model=limrank.model_path(config["limrank"]["rag"]["judge"]["model"]),
        prompts="workflow/prompts/limrank/rag.yaml",
        answers="<results>/limrank/answers",
    output:
        judged=directory("<results>/limrank/answers_judged"),
    log:
        "<results>/logs/limrank_judge_answers.log",
    benchmark:
        "<results>/benchmarks/limrank_judge_answers.tsv"
    conda:
        GENERATE
    threads: config["hardware"]["threads"]
    resources:
        mem_mb=memory(config["hardware"]["generate_mem_mb"]),
        gpu=gpus(config),
    params:
        stage="limrank.judge_answers",
        args=rag.judge_args(config),
        code=code_hash("limrank.judge_answers"),
    script:
        "../scripts/stage.py"


rule limrank_evaluate:
    input:
        **LIMRANK_CHAINS.evaluate_inputs(),
    output:
        tables=directory("<results>/limrank/tables"),
        details=directory("<results>/limrank/details"),
    log:
        "<results>/logs/limrank_evaluate.log",
    benchmark:
        "<results>/benchmarks/limrank_evaluate.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000, times=2),
        runtime=minutes(60, 60),
    params:
        stage="limrank.evaluate",
        args=limrank.evaluate_args(config) | LIMRANK_CHAINS.evaluate_args(),
        code=code_hash("limrank.evaluate"),
    script:
        "../scripts/stage.py"
