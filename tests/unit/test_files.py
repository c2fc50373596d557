"""Atomic writes, deterministic bytes, tables."""

import gzip
import os

import pytest

from searchtune import files
from searchtune.errors import DataError


def test_gzip_bytes_do_not_depend_on_time_or_name(tmp_path):
    files.write_jsonl(tmp_path / "a.jsonl.gz", [{"x": "é"}])
    files.write_jsonl(tmp_path / "b.jsonl.gz", [{"x": "é"}])
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()
    assert gzip.decompress((tmp_path / "a.jsonl.gz").read_bytes()).decode() == '{"x": "é"}\n'


def test_failed_write_leaves_the_old_file_and_no_rest(tmp_path):
    target = tmp_path / "table.tsv"
    target.write_text("old")

    def broken_rows():
        yield {"a": 1}
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        files.write_tsv(target, ["a"], broken_rows())
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["table.tsv"]


def test_full_disk_is_an_error_and_leaves_no_half_file(tmp_path, monkeypatch):
    def no_space(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="No space left"):
        files.write_text(tmp_path / "x.txt", "text")
    assert os.listdir(tmp_path) == []


def test_write_to_a_really_full_device():
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full on this system")
    with pytest.raises(OSError, match="No space left"), open("/dev/full", "w") as handle:
        handle.write("x" * 100_000)
        handle.flush()


def test_truncated_gzip_is_refused_by_name(tmp_path):
    path = tmp_path / "run.gz"
    files.write_text(path, "line\n" * 1000)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="run.gz cannot be read"):
        files.read_text(path)


def test_broken_jsonl_names_file_and_line(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n{"a": \n')
    with pytest.raises(DataError, match=r"rows.jsonl, line 2"):
        files.read_jsonl(path)


def test_tsv_round_trip_and_unknown_column(tmp_path):
    path = tmp_path / "t.tsv"
    files.write_tsv(path, ["a", "b"], [{"a": 0.123456789, "b": None}, {"a": True, "b": "two\twords"}])
    assert files.read_tsv(path) == [{"a": "0.123457", "b": ""}, {"a": "true", "b": "two words"}]
    with pytest.raises(DataError, match=r"\['c'\]"):
        files.write_tsv(path, ["a", "b"], [{"c": 1}])


def test_tree_hash_sees_names_and_content(tmp_path):
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "a").write_text("1")
    one = files.sha256_tree(folder)
    (folder / "a").rename(folder / "b")
    assert files.sha256_tree(folder) != one
