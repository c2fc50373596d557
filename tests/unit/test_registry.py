"""The registry: the committed tables are sound, faults are refused by name, licensed files are asked for early."""

import sys
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import yaml

from searchtune.errors import ConfigError
from searchtune.files import sha256_file
from searchtune.registry import table
from searchtune.registry.table import (
    COLUMNS,
    ROOT,
    Registry,
    fetch_args,
    load_registry,
    missing_licensed,
    planned_args,
    read_rows,
)

SUM = "a" * 64


def row(**values):
    base = {
        "id": "x",
        "source": "pypi",
        "name": "pack",
        "version": "1.0",
        "archive": "pack-1.0.whl",
        "sha256": SUM,
        "bytes": "10",
        "file": "pack/data.json",
    }
    return {column: str((base | values).get(column, "")) for column in COLUMNS}


def write(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["\t".join(COLUMNS), *("\t".join(r[c] for c in COLUMNS) for r in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def registry(tmp_path, *rows):
    return Registry(read_rows(write(tmp_path / "t.tsv", *rows), "dataset"))


# --- the committed tables ---------------------------------------------------------------------------------


def test_committed_rows_are_complete():
    rows = load_registry().rows
    assert len(rows) > 100
    assert [r.id for r in rows.values() if not r.licence or not r.used_by] == []
    # whatever comes out of the benchmark package carries its mark, nothing else does
    assert {r.name for r in rows.values() if "bigbench" in r.canary} == {"bigbench"}
    assert [r.id for r in rows.values() if r.name == "bigbench" and r.canary != ("bigbench",)] == []


def test_package_files_have_full_pins():
    for unit in load_registry().artefacts.values():
        if unit.source == "pypi":
            assert all(len(p.sha256) == 64 and p.bytes > 0 and p.members for p in unit.parts), unit.id


def test_rows_of_one_archive_are_one_fetch_unit():
    unit = load_registry().artefact("bigbench-1.0.0")
    assert len(unit.parts) == 1 and unit.bytes == 358_249_635
    assert "bigbench/benchmark_tasks/squad_shifts/squaddev_v1.1.json" in unit.parts[0].members
    assert unit.canary == ("bigbench",)


def test_mini_rows_are_the_committed_files():
    unit = load_registry().artefact("mini")
    committed = {p.name: p for p in (ROOT / "workflow/mini/data").iterdir()}
    # a table's files may lie in a folder of their own once they are fetched
    assert sorted(p.archive.rsplit("/", 1)[1] for p in unit.parts) == sorted(committed)
    assert len({m for p in unit.parts for m in p.members}) == len(committed)
    for part in unit.parts:
        path = ROOT / part.archive
        assert (sha256_file(path), path.stat().st_size) == (part.sha256, part.bytes), path.name


def test_mini_rows_name_the_real_one():
    rows = load_registry().rows
    stands = {r.id: r.note.removeprefix("stands for ") for r in rows.values() if r.name == "mini"}
    assert stands["mini_amazon"] == "amazon"
    assert [name for name in stands.values() if name not in rows or rows[name].name == "mini"] == []


def raw_values(data):
    if isinstance(data, dict):
        for key, value in data.items():
            if key == "raw":
                yield from _texts(value)
            else:
                yield from raw_values(value)


def _texts(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


@pytest.mark.parametrize("name", sorted(p.relative_to(ROOT).as_posix() for p in (ROOT / "config").rglob("*.yaml")))
def test_every_raw_path_of_the_configuration_is_fetched(name):
    data = yaml.safe_load((ROOT / name).read_text(encoding="utf-8")) or {}
    lost = []
    for path in raw_values(data):
        unit, _, file = path.partition("/")
        members = [m for part in load_registry().artefact(unit).parts for m in part.members]
        if file and not any(fnmatchcase(file, m) or m.startswith(file.rstrip("/") + "/") for m in members):
            lost.append(path)
    assert lost == []


def test_only_light_modules_are_imported():
    import subprocess

    code = "import sys; sys.path.insert(0, 'workflow'); import searchtune.registry.table as t; t.load_registry(); "
    code += "print(sorted({m.split('.')[0] for m in sys.modules} & {'requests', 'pandas', 'numpy', 'yaml', 'csv'}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- faults -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"source": "pypy"}, r"t.tsv, line 2: unknown source 'pypy'; did you mean 'pypi'\?"),
        ({"sha256": "abc"}, "sha256 'abc' is not 64 hexadecimal digits"),
        ({"sha256": ""}, "source pypi needs archive and sha256"),
        ({"bytes": "many"}, "bytes 'many' is not a whole number"),
        ({"id": "a b"}, "id 'a b' may hold letters"),
        ({"verified": "yes"}, "verified 'yes' is none of raw, schema, none, nor empty"),
        ({"file": "../secret"}, "may lead out of its folder"),
        ({"file": "/etc/passwd"}, "may lead out of its folder"),
        ({"source": "hub", "version": "main"}, "version 'main' of a hub row is not a commit of 40"),
    ],
)
def test_faulty_row_is_refused(tmp_path, values, message):
    with pytest.raises(ConfigError, match=message):
        registry(tmp_path, row(**values))


@pytest.mark.parametrize(
    "address",
    [
        "https://me:sk-hidden-value@host/pack.zip",
        "https://sk-hidden-value@host/pack.zip",
        "https://host/pack.zip?access_token=sk-hidden-value",
        "https://host/pack.zip?x=1&X-Amz-Signature=sk-hidden-value",
    ],
)
@pytest.mark.parametrize("wrong", [{}, {"id": "a b"}])
def test_an_address_with_a_key_is_refused_and_not_shown(tmp_path, address, wrong):
    with pytest.raises(ConfigError, match="line 2: its address holds a user, a password or a key") as refused:
        registry(tmp_path, row(source="url", archive=address, **wrong))
    assert "sk-hidden-value" not in str(refused.value)


def test_an_address_may_have_a_plain_query_and_must_be_one(tmp_path):
    address = "https://host/record/pack.zip?download=1"
    assert fetched(registry(tmp_path, row(source="url", archive=address))) == [address]
    with pytest.raises(ConfigError, match="its address is not of the form https://host/path"):
        registry(tmp_path, row(source="url", archive="https://[host/pack.zip"))


def fetched(found):
    return [part.archive for unit in found.artefacts.values() for part in unit.parts]


def test_md5_and_unpinned_are_allowed(tmp_path):
    found = registry(
        tmp_path,
        row(id="a", source="url", archive="http://h/a.zip", sha256="md5:" + "0" * 32),
        row(id="b", source="hub", name="o/m", version="unpinned", archive="", sha256=""),
    )
    assert found.get("b").artefact == "o--m-unpinned"
    assert found.get("a").path == "pack-1.0/pack/data.json"


def test_duplicate_id_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="the id 'x' is given twice"):
        registry(tmp_path, row(), row(file="other"))


def test_disagreeing_sums_of_one_archive_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"'x' and 'y' give different sums or sizes of 'pack-1\.0\.whl'"):
        registry(tmp_path, row(), row(id="y", sha256="b" * 64))


def test_mixed_sources_in_one_folder_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"share the folder 'pack-1\.0' but not their source"):
        registry(tmp_path, row(), row(id="y", source="url"))


def test_unknown_id_names_the_nearest():
    with pytest.raises(ConfigError, match=r"unknown id 'nq_swaped'; did you mean 'nq_swapped'\?"):
        load_registry().get("nq_swaped")
    with pytest.raises(ConfigError, match=r"'bigbench-1.0.1' below resources/raw; did you mean 'bigbench-1.0.0'\?"):
        fetch_args("bigbench-1.0.1")


def test_wrong_header_is_refused(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_text("id\tsource\nx\tpypi\n")
    with pytest.raises(ConfigError, match="columns are id, source; expected id, source, name"):
        read_rows(path, "dataset")


# --- licensed files ---------------------------------------------------------------------------------------


@pytest.fixture
def licensed(tmp_path):
    write(
        tmp_path / table.TABLES["dataset"],
        row(),
        row(id="lic", source="licensed", name="big", version="1", archive="", sha256="", file="c.csv", note="Sign it."),
    )
    write(tmp_path / table.TABLES["model"])
    return tmp_path


def test_missing_licensed_says_what_to_put_where(licensed):
    text = missing_licensed(["x", "lic"], licensed)
    assert "lic: Sign it. Then put c.csv into resources/raw/big-1/." in text
    assert missing_licensed(["big-1"], licensed) == text  # by the name of the folder, too
    assert missing_licensed(["x"], licensed) == ""


def test_licensed_file_that_is_there_is_accepted(licensed):
    folder = licensed / "resources/raw/big-1"
    folder.mkdir(parents=True)
    assert "c.csv" in missing_licensed(["lic"], licensed)  # an empty folder is not enough
    (folder / "c.csv").write_text("1")
    assert missing_licensed(["lic"], licensed) == ""


def test_plan_ends_where_a_licensed_file_is_missing(licensed, capsys):
    with pytest.raises(ConfigError, match="lic: Sign it"):
        planned_args("big-1", dry=False, root=licensed)
    assert planned_args("big-1", dry=True, root=licensed)["source"] == "licensed"
    assert "Then put c.csv into resources/raw/big-1/." in capsys.readouterr().err
    assert planned_args("pack-1.0", dry=False, root=licensed) == fetch_args("pack-1.0", licensed)


def test_fetch_args_are_plain_data(licensed):
    assert fetch_args("pack-1.0", Path(licensed)) == {
        "artefact": "pack-1.0",
        "kind": "dataset",
        "source": "pypi",
        "name": "pack",
        "version": "1.0",
        "parts": [{"archive": "pack-1.0.whl", "sha256": SUM, "bytes": 10, "members": ["pack/data.json"]}],
        "licences": [],
        "canary": [],
    }
