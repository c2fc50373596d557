"""The house: rooms import one way only, functions stay short, every module says what it is for."""

import ast
import re

import pytest
from helpers import ROOT

PACKAGE = ROOT / "workflow/searchtune"
# a room may import those before it; single files are named by their stem
ORDER = (
    *(
        "errors",
        "demand",
        "locks",
        "devices",
        "files",
        "lean",
        "machine",
        "redaction",
        "sealed",
        "stage",
        "config",
        "registry",
        "collections",
        "prompts",
        "llm",
        "retrieval",
        "reranking",
    ),
    *(
        "synthesis",
        "evaluation",
        "tasks",
        "training",
        "reporting",
        "audited",
        "plan",
        "report_path",
        "release",
        "commands",
        "cli",
    ),
)
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
IMPORT = re.compile(r"^[ \t]*(?:from|import) searchtune\.(\w+)", re.M)
LONGEST = 60


def room_of(path):
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_module_imports_only_rooms_above_it(path):
    room = room_of(path)
    below = {name for name in IMPORT.findall(path.read_text()) if ORDER.index(name) > ORDER.index(room)}
    assert not below, f"{path}: {room} must not import {below}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_functions_are_short_and_modules_explain_themselves(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), f"{path} has no docstring"
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = {node.name: lines for node in functions if (lines := node.end_lineno - node.lineno + 1) > LONGEST}
    assert not long, f"{path}: {long} lines, at most {LONGEST}"
    # functions inside functions are read where they stand
    inner = {id(node) for f in functions for node in ast.walk(f) if node is not f}
    silent = [f.name for f in functions if f.name[0] != "_" and id(f) not in inner and not ast.get_docstring(f)]
    assert not silent, f"{path}: no docstring on {silent}"


def test_paths_out_of_the_package_are_resolved_first():
    """Snakemake puts the package on the path as workflow/rules/../searchtune, where three parents up is another place."""
    for path in (ROOT / "workflow/searchtune").rglob("*.py"):
        assert not re.search(r"Path\(__file__\)\.parents\[[3-9]\]", path.read_text(encoding="utf-8")), path
