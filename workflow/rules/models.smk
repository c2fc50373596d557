# Base models as folders of safetensors with their tokenizer, in resources/models/<id>: GGUF unpacked, encoder
# folders copied, tiny models built. Input: the fetched artefact that an entry of config/models.yaml names.
# Cost: half a minute and 2 GB for SmolLM2-135M from GGUF, seconds for the others.
from searchtune.training.arguments import model_args, model_artefacts


rule model:
    input:
        raw=lambda w: expand(
            "<resources>/raw/{artefact}", artefact=model_artefacts(config, w.model)
        ),
    output:
        model=directory("<resources>/models/{model}"),
    log:
        "<resources>/logs/model.{model}.log",
    benchmark:
        "<resources>/benchmarks/model.{model}.tsv"
    conda:
        "../../envs/train.yaml"
    threads: 1
    resources:
        mem_mb=4000,
    params:
        stage="models.prepare",
        args=lambda w: model_args(config, w.model),
        code=code_hash("models.prepare"),
    script:
        "../scripts/stage.py"
