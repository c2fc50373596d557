# INTERS: task examples from raw data, instructions and test prompts, tuning with growing shares of the
# mixture, answers of the untuned and tuned models, tables. Inputs: fetched topics and task data, the
# collections squad and new_wiki with their BM25 runs, the base model. Outputs: <results>/inters/models/full
# (the tuned model that writes queries elsewhere), tables/, details/. Cost at demo on two cores: seconds for
# data and tables, four minutes of training, one to two minutes for each model's answers.
from searchtune.tasks import arguments as inters

INTERS_VARIANTS = list(inters.variants(config))
# collection -> task whose templates serve
STRATEGY_SETS = config["inters"]["strategies"]["sets"]


wildcard_constraints:
    variant="|".join(INTERS_VARIANTS),
    system="base|full",


rule inters_examples:
    input:
        raw=expand("<resources>/raw/{artefact}", artefact=inters.raw_artefacts(config)),
        collections=expand(
            "<results>/collections/{name}", name=inters.used_collections(config)
        ),
        runs=expand(
            "<results>/runs/{name}/bm25.run.gz", name=inters.ranked_collections(config)
        ),
    output:
        examples=directory("<results>/inters/examples"),
    log:
        "<results>/logs/inters_examples.log",
    benchmark:
        "<results>/benchmarks/inters_examples.tsv"
    conda:
        "../../envs/data.yaml"
    params:
        stage="inters.examples",
        args=inters.examples_args(config),
        code=code_hash("inters.examples"),
    script:
        "../scripts/stage.py"


rule inters_render:
    input:
        examples="<results>/inters/examples",
        tokenizer=f"<resources>/models/{config['inters']['base']}",
        templates=expand(
            "workflow/prompts/inters/{task}.yaml", task=inters.tasks(config)
        ),
        # the released templates, where they are chosen
        **inters.released_input(config),
    output:
        train="<results>/inters/instructions/train.jsonl",
        dev="<results>/inters/instructions/dev.jsonl",
        prompts=directory("<results>/inters/prompts"),
        statistics="<results>/inters/instructions/statistics.tsv",
    log:
        "<results>/logs/inters_render.log",
    benchmark:
        "<results>/benchmarks/inters_render.tsv"
    conda:
        "../../envs/data.yaml"
    params:
        stage="inters.render",
        args=inters.render_args(config),
        code=code_hash("inters.render"),
    script:
        "../scripts/stage.py"


rule inters_tune:
    input:
        model=f"<resources>/models/{config['inters']['base']}",
        train="<results>/inters/instructions/train.jsonl",
        dev="<results>/inters/instructions/dev.jsonl",
    output:
        model=directory("<results>/inters/models/{variant}"),
    log:
        "<results>/logs/inters_tune.{variant}.log",
    benchmark:
        "<results>/benchmarks/inters_tune.{variant}.tsv"
    conda:
        "../../envs/train.yaml"
    threads: config["hardware"]["threads"]
    resources:
        mem_mb=config["hardware"]["mem_mb"],
    params:
        stage="train.sft",
        args=lambda w: inters.train_args(config, w.variant),
        code=code_hash("train.sft"),
    script:
        "../scripts/stage.py"


rule inters_predict_base:
    input:
        model=f"<resources>/models/{config['inters']['base']}",
        prompts="<results>/inters/prompts",
    output:
        predictions="<results>/inters/predictions/base.jsonl",
    log:
        "<results>/logs/inters_predict_base.log",
    benchmark:
        "<results>/benchmarks/inters_predict_base.tsv"
    conda:
        "../../envs/generate-cpu.yaml"
    threads: config["hardware"]["threads"]
    resources:
        mem_mb=config["hardware"]["mem_mb"],
    params:
        stage="inters.predict",
        args=inters.predict_args(config, ["zero_shot", "few_shot"]),
        code=code_hash("inters.predict"),
    script:
        "../scripts/stage.py"


rule inters_predict_tuned:
    input:
        model="<results>/inters/models/{variant}",
        prompts="<results>/inters/prompts",
    output:
        predictions="<results>/inters/predictions/{variant}.jsonl",
    log:
        "<results>/logs/inters_predict_tuned.{variant}.log",
    benchmark:
        "<results>/benchmarks/inters_predict_tuned.{variant}.tsv"
    conda:
        "../../envs/generate-cpu.yaml"
    threads: config["hardware"]["threads"]
    resources:
        mem_mb=config["hardware"]["mem_mb"],
    params:
        stage="inters.predict",
        args=inters.predict_args(config, ["zero_shot"]),
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
        "../../envs/generate-cpu.yaml"
    threads: config["hardware"]["threads"]
    resources:
        mem_mb=config["hardware"]["mem_mb"],
    params:
        stage="rerank.strategies",
        args=lambda w: inters.strategy_args(config, w.system),
        code=code_hash("rerank.strategies"),
    script:
        "../scripts/stage.py"


rule inters_evaluate:
    input:
        examples="<results>/inters/examples",
        prompts="<results>/inters/prompts",
        predictions=expand(
            "<results>/inters/predictions/{name}.jsonl",
            name=["base", *INTERS_VARIANTS],
        ),
        models=expand("<results>/inters/models/{name}", name=INTERS_VARIANTS),
        collections=expand(
            "<results>/collections/{name}", name=inters.used_collections(config)
        ),
        strategies=expand(
            "<results>/inters/strategies/{name}", name=inters.strategy_systems(config)
        ),
        strategy_sets=expand("<results>/collections/{name}", name=STRATEGY_SETS),
        runs=expand("<results>/runs/{name}/bm25.run.gz", name=STRATEGY_SETS),
    output:
        tables=directory("<results>/inters/tables"),
        details=directory("<results>/inters/details"),
    log:
        "<results>/logs/inters_evaluate.log",
    benchmark:
        "<results>/benchmarks/inters_evaluate.tsv"
    conda:
        "../../envs/retrieve.yaml"
    params:
        stage="inters.evaluate",
        args=inters.evaluate_args(config),
        code=code_hash("inters.evaluate"),
    script:
        "../scripts/stage.py"
