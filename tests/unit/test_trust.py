"""Nothing that is fetched is executed or unpickled: what the code may not call, and what it must say where it loads."""

import ast
import re

import pytest
import yaml
from helpers import ROOT

FILES = sorted(
    path
    for folder in ("workflow", "benchmarks", "envs")
    for path in (ROOT / folder).rglob("*.py")
    if "__pycache__" not in path.parts
)
PACKAGE = [path for path in FILES if "workflow" in path.relative_to(ROOT).parts[:1]]
# modules that run, or unpickle, what they read
BANNED_MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle"}
BANNED_CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "yaml.unsafe_load", "yaml.full_load",
                "load_dataset", "datasets.load_dataset", "torch.hub.load", "runpy.run_path", "runpy.run_module"}  # fmt: skip
SAFE_LOADERS = "getattr(yaml, 'CSafeLoader', yaml.SafeLoader)"
MODEL_CLASSES = re.compile(r"^(AutoModel\w*|BertModel|T5\w+)$")


def calls(path):
    """Yield (dotted name, call) of every call in a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def keywords(call):
    return {word.arg: ast.unparse(word.value) for word in call.keywords}


def ids(path):
    return path.relative_to(ROOT).as_posix()


def banned(path):
    """Return what a file does that runs or unpickles what it reads."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        found += [name for name in names if name.split(".")[0] in BANNED_MODULES]
    for name, call in calls(path):
        words = keywords(call)
        if name in BANNED_CALLS:
            found.append(name)
        if name == "torch.load" and words.get("weights_only") != "True":
            found.append("torch.load without weights_only=True")
        if name.endswith(("np.load", "numpy.load")) and words.get("allow_pickle", "False") != "False":
            found.append("numpy.load of pickles")
        if words.get("trust_remote_code", "False") != "False":
            found.append(f"trust_remote_code={words['trust_remote_code']}")
        if words.get("shell", "False") != "False":
            found.append("a shell")
        if name == "yaml.load" and words.get("Loader") != SAFE_LOADERS:
            found.append("yaml.load without the safe loader")
        if name.endswith(".extractall") or name.endswith("unpack_archive"):
            found.append(f"{name}: members of an archive are checked one by one (registry/unpack.py)")
    return found


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_no_file_runs_or_unpickles_what_it_reads(path):
    assert banned(path) == []


def test_the_check_itself_sees_each_way(tmp_path):
    ways = ["import pickle", "from dill import loads", "eval('1')", "torch.load(p)", "torch.load(p, weights_only=False)",
            "np.load(p, allow_pickle=True)", "AutoModel.from_pretrained(p, trust_remote_code=True)", "os.system('ls')",
            "subprocess.run('ls', shell=True)", "yaml.load(t, Loader=yaml.Loader)", "yaml.unsafe_load(t)",
            "tar.extractall(p)", "load_dataset('x')"]  # fmt: skip
    for way in ways:
        (tmp_path / "x.py").write_text(way)
        assert len(banned(tmp_path / "x.py")) == 1, way


@pytest.mark.parametrize("path", PACKAGE, ids=ids)
def test_weights_are_read_as_safetensors_and_no_code_comes_with_a_model(path):
    for name, call in calls(path):
        owner, _, method = name.rpartition(".")
        if method != "from_pretrained" or owner in ("PeftModel",):
            continue
        words = keywords(call)
        assert words.get("trust_remote_code") == "False", f"{path}: {ast.unparse(call)}"
        if MODEL_CLASSES.match(owner) and "gguf_file" not in words:
            assert words.get("use_safetensors") == "True", f"{path}: {ast.unparse(call)}"


def test_no_model_of_any_configuration_asks_for_code_of_its_own():
    for path in (ROOT / "config").rglob("*.yaml"):
        assert "trust_remote_code: true" not in path.read_text().lower(), path


@pytest.mark.parametrize("path", sorted((ROOT / "envs").glob("*.yaml")) + sorted((ROOT / "config").rglob("*.yaml")), ids=ids)  # fmt: skip
def test_every_yaml_file_is_read_by_the_safe_loader(path):
    yaml.safe_load(path.read_text(encoding="utf-8"))


def test_a_yaml_file_that_asks_for_an_object_is_refused(tmp_path):
    from searchtune.config.load import read_yaml
    from searchtune.errors import ConfigError

    (tmp_path / "x.yaml").write_text("scale: !!python/object/apply:os.system ['touch evil']\n")
    with pytest.raises(ConfigError, match="could not determine a constructor"):
        read_yaml(tmp_path / "x.yaml", "x.yaml")


# --- pickles ----------------------------------------------------------------------------------------------


class Bomb:
    """A pickle that leaves a file behind when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def pickled_folder(folder, trap):
    """Write a folder that looks like a model, with weights in pickled form only."""
    import torch

    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "bert", "hidden_size": 8}')
    (folder / "tokenizer.json").write_text("{}")
    torch.save({"weight": Bomb(trap)}, folder / "pytorch_model.bin")
    return folder


@pytest.mark.slow
def test_pickled_weights_are_refused_by_name_wherever_a_model_is_read(tmp_path):
    from searchtune.errors import ModelError
    from searchtune.llm.engine import open_engine
    from searchtune.reranking.cross_encoder import CrossEncoder
    from searchtune.retrieval.dense import DenseEncoder
    from searchtune.retrieval.late_interaction import LateInteractionModel
    from searchtune.training.colbert_checkpoint import convert

    trap = tmp_path / "sprung"
    folder = pickled_folder(tmp_path / "model", trap)
    ways = {
        "engine": lambda: open_engine(folder, "transformers"),
        "vllm": lambda: open_engine(folder, "vllm"),
        "late interaction": lambda: LateInteractionModel.load(folder),
        "cross-encoder": lambda: CrossEncoder.load(folder, 64),
        "dense": lambda: DenseEncoder(folder),
        "colbert": lambda: convert(folder, tmp_path),
    }
    for name, way in ways.items():
        with pytest.raises(ModelError) as refused:
            way()
        assert str(folder) in str(refused.value), name
    assert not trap.exists()


@pytest.mark.slow
def test_a_pickled_adapter_is_refused(tmp_path):
    from searchtune.errors import ModelError
    from searchtune.llm.engine import open_engine

    folder, adapter = tmp_path / "model", tmp_path / "adapter"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json"):
        (folder / name).write_text("{}")
    (folder / "model.safetensors").write_bytes(b"")
    adapter.mkdir()
    (adapter / "adapter_model.bin").write_bytes(b"")
    with pytest.raises(ModelError, match=r"holds pickled weights only \(adapter_model.bin\)"):
        open_engine(folder, "transformers", adapter=adapter)


@pytest.mark.slow
def test_a_state_of_training_that_is_no_plain_data_is_not_read(tmp_path):
    """resume.py reads what this project wrote itself; even there nothing but tensors and plain values is read."""
    import torch

    trap = tmp_path / "sprung"
    torch.save({"key": Bomb(trap)}, tmp_path / "state.pt")
    with pytest.raises(Exception, match="[Ww]eights.only|Unsupported"):
        torch.load(tmp_path / "state.pt", weights_only=True)
    assert not trap.exists()


# --- templates --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["{passage.__class__}", "{0}", "{{7*7}}", "{% set x = 1 %}", "%(passage)s", "${HOME}",
                                  "{passage!r}", "{passage:>99}", "`id`"])  # fmt: skip
def test_a_prompt_is_filled_and_not_evaluated(text):
    from searchtune.prompts.templates import render

    assert render("{passage}", {"passage": text}) == text
    assert render(text, {"passage": "SECRET"}) == text


# --- the pins ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted((ROOT / "envs").glob("*.txt")), ids=ids)
def test_every_pin_is_exact(path):
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    assert lines
    loose = [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+(\[[a-z,]+\])?==[0-9][A-Za-z0-9.+!]*", line)]
    assert not loose
    names = [re.split(r"[=\[]", line)[0].lower().replace("_", "-") for line in lines]
    assert len(names) == len(set(names)), "a package is pinned twice"


def test_every_row_of_the_registry_that_is_fetched_is_pinned_by_a_sum_or_a_commit():
    from searchtune.registry.table import UNPINNED, load_registry

    loose = []
    for row in load_registry(ROOT).rows.values():
        if row.source in ("pypi", "url", "local") and row.version != UNPINNED:
            loose += [] if row.sha256 else [row.id]
        if row.source == "hub" and row.version != UNPINNED:
            loose += [] if re.fullmatch(r"[0-9a-f]{40}", row.version) else [row.id]
    assert not loose  # rows without a pin are refused when they are fetched (test_fetch.py)


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
def test_yaml_that_nests_without_end_is_refused_before_the_compiled_loader_follows_it(tmp_path, opening):
    """50,000 levels end the process itself: found by a million inputs of the fuzzing."""
    from searchtune.config.load import read_yaml
    from searchtune.errors import ConfigError

    (tmp_path / "x.yaml").write_text(opening * 50_000)
    with pytest.raises(ConfigError, match="x.yaml is not valid YAML: it nests deeper than 50 levels"):
        read_yaml(tmp_path / "x.yaml", "x.yaml")
