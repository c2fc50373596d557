# INTERS: task examples from raw data, instructions and test prompts, tuning with growing shares of the
# mixture, answers of the untuned and tuned models, tables. Inputs: fetched topics and task data, the
# collections squad and new_wiki with their BM25 runs, the base model. Outputs: <results>/inters/models/full
# (the tuned model that writes queries elsewhere), tables/, details/. Cost at demo on two cores: seconds for
# data and tables, three minutes of training, one to two minutes for each model's answers. Jobs that take all
# cores have a priority above that of two others together, here and in limrank.smk: those of one thread then fill
# the cores to the end.
import re

from searchtune.tasks import arguments as inters

INTERS_VARIANTS = inters.variants(config)
INTERS_MIXTURES = inters.mixtures(config)
INTERS_UNTUNED = inters.untuned(config)
# collection -> task whose templates serve
STRATEGY_SETS = config["inters"]["strategies"]["sets"]


wildcard_constraints:
    variant="|".join(map(re.escape, INTERS_VARIANTS)),
    mixture="|".join(map(re.escape, INTERS_MIXTURES)),
    untuned="|".join(map(re.escape, INTERS_UNTUNED)),
    system="base|full",


rule inters_examples:
    input:
        **inters.examples_inputs(config),
    output:
        examples=directory("<results>/inters/examples"),
    log:
        "<results>/logs/inters_examples.log",
    benchmark:
        "<results>/benchmarks/inters_examples.tsv"
    conda:
        "../../envs/data.yaml"
    resources:
        mem_mb=memory(1500),
        runtime=minutes(30, 120),
    params:
        stage="inters.examples",
        args=inters.examples_args(config),
        code=code_hash("inters.examples"),
    script:
        "../scripts/stage.py"


rule inters_render:
    input:
        unpack(lambda w: inters.full_mixture(config, w.mixture)),
        unpack(lambda w: inters.released_input(config, w.mixture)),
        examples="<results>/inters/examples",
        tokenizer=lambda w: f"<resources>/models/{INTERS_MIXTURES[w.mixture]['base']}",
        templates=lambda w: inters.template_files(config, w.mixture),
    output:
        train="<results>/inters/mixtures/{mixture}/train.jsonl",
        dev="<results>/inters/mixtures/{mixture}/dev.jsonl",
        prompts=directory("<results>/inters/mixtures/{mixture}/prompts"),
        statistics="<results>/inters/mixtures/{mixture}/statistics.tsv",
    log:
        "<results>/logs/inters_render.{mixture}.log",
    benchmark:
        "<results>/benchmarks/inters_render.{mixture}.tsv"
    conda:
        "../../envs/data.yaml"
    resources:
        mem_mb=memory(2000, times=5),
    params:
        stage="inters.render",
        args=lambda w: inters.render_args(config, w.mixture),
        code=code_hash("inters.render"),
    script:
        "../scripts/stage.py"


rule inters_tokenize:
    input:
        model=lambda w: f"<resources>/models/{INTERS_MIXTURES[w.mixture]['base']}",
        train="<results>/inters/mixtures/{mixture}/train.jsonl",
        dev="<results>/inters/mixtures/{mixture}/dev.jsonl",
    output:
        tokens=directory("<results>/inters/mixtures/{mixture}/tokens"),
    log:
        "<results>/logs/inters_tokenize.{mixture}.log",
    benchmark:
        "<results>/benchmarks/inters_tokenize.{mixture}.tsv"
    conda:
        "../../envs/train.yaml"
    resources:
        mem_mb=memory(2000, times=5),
    params:
        stage="train.tokenize",
        args=lambda w: inters.tokenize_args(config, w.mixture),
        code=code_hash("train.tokenize"),
    script:
        "../scripts/stage.py"


rule inters_tune:
    input:
        unpack(lambda w: inters.paced_by(INTERS_VARIANTS[w.variant])),
        model=lambda w: f"<resources>/models/{INTERS_VARIANTS[w.variant]['base']}",
        tokens=lambda w: inters.mixture_file(INTERS_VARIANTS[w.variant], "tokens"),
    output:
        model=directory("<results>/inters/models/{variant}"),
    log:
        "<results>/logs/inters_tune.{variant}.log",
    benchmark:
        "<results>/benchmarks/inters_tune.{variant}.tsv"
    priority: 80
    conda:
        "../../envs/train.yaml"
    threads: config["hardware"]["threads"]
    resources:
        mem_mb=memory(config["hardware"]["mem_mb"]),
        gpu=gpus(config, config["inters"]["train"]["processes"]),
    params:
        stage="train.sft",
        args=lambda w: inters.train_args(config, INTERS_VARIANTS[w.variant]),
        code=code_hash("train.sft"),
    script:
        "../scripts/stage.py"


rule inters_predict_base:
    input:
        model=lambda w: f"<resources>/models/{INTERS_UNTUNED[w.untuned]}",
        prompts="<results>/inters/mixtures/full/prompts",
    output:
        predictions="<results>/inters/predictions/{untuned}.jsonl",
    log:
        "<results>/logs/inters_predict_base.{untuned}.log",
    benchmark:
        "<results>/benchmarks/inters_predict_base.{untuned}.tsv"
    priority: 90
    conda:
        GENERATE
    threads: config["hardware"]["threads"]
    resources:
        mem_mb=memory(config["hardware"]["mem_mb"]),
        gpu=gpus(config),
    params:
        stage="inters.predict",
        args=lambda w: inters.predict_args(
            config, INTERS_UNTUNED[w.untuned], [inters.ZERO_SHOT, inters.FEW_SHOT]
        ),
        code=code_hash("inters.predict"),
    script:
        "../scripts/stage.py"


rule inters_predict_tuned:
    input:
        unpack(lambda w: inters.own_prompts(config, INTERS_VARIANTS[w.variant])),
        model="<results>/inters/models/{variant}",
        prompts="<results>/inters/mixtures/full/prompts",
    output:
        predictions="<results>/inters/predictions/{variant}.jsonl",
    log:
        "<results>/logs/inters_predict_tuned.{variant}.log",
    benchmark:
        "<results>/benchmarks/inters_predict_tuned.{variant}.tsv"
    conda:
        GENERATE
    threads: config["hardware"]["generate_threads"]
    resources:
        mem_mb=memory(config["hardware"]["generate_mem_mb"]),
        gpu=gpus(config),
    params:
        stage="inters.predict",
        args=lambda w: inters.predict_args(
            config,
            INTERS_VARIANTS[w.variant]["base"],
            inters.prompt_sets(config, INTERS_VARIANTS[w.variant]),
        ),
        code=code_hash("inters.predict"),
    script:
        "../scripts/stage.py"


rule inters_strategies:
    input:
        model=lambda w: inters.strategy_model(config, w.system),
        collections=expand("<results>/collections/{name}", name=STRATEGY_SETS),
        runs=expand("<results>/runs/{name}/bm25.run.gz", name=STRATEGY_SETS),
        templates=expand(
            "workflow/prompts/inters/{task}.yaml",
            task=sorted(set(STRATEGY_SETS.values())),
        ),
    output:
        reranked=directory("<results>/inters/strategies/{system}"),
    log:
        "<results>/logs/inters_strategies.{system}.log",
    benchmark:
        "<results>/benchmarks/inters_strategies.{system}.tsv"
    conda:
        GENERATE
    threads: config["hardware"]["threads"]
    resources:
        mem_mb=memory(config["hardware"]["mem_mb"]),
        gpu=gpus(config),
    params:
        stage="rerank.strategies",
        args=lambda w: inters.strategy_args(config, w.system),
        code=code_hash("rerank.strategies"),
    script:
        "../scripts/stage.py"


rule inters_evaluate:
    input:
        **inters.evaluate_inputs(config),
    output:
        tables=directory("<results>/inters/tables"),
        details=directory("<results>/inters/details"),
    log:
        "<results>/logs/inters_evaluate.log",
    benchmark:
        "<results>/benchmarks/inters_evaluate.tsv"
    conda:
        "../../envs/retrieve.yaml"
    resources:
        mem_mb=memory(2000, times=0.2),
        runtime=minutes(60, 10),
    params:
        stage="inters.evaluate",
        args=inters.evaluate_args(config),
        code=code_hash("inters.evaluate"),
    script:
        "../scripts/stage.py"
