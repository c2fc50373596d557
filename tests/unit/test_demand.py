"""What a job asks for follows the size of its inputs and its attempt."""

import json
from types import SimpleNamespace

import pytest

from searchtune.demand import LONGEST, gpus, late, megabytes, memory, minutes, vectors_mb


@pytest.fixture
def inputs(tmp_path):
    """Two inputs of 3 MiB in all: a file, and a folder with files in it."""
    (tmp_path / "file").write_bytes(b"x" * 2**20)
    (tmp_path / "folder/deeper").mkdir(parents=True)
    (tmp_path / "folder/deeper/a").write_bytes(b"x" * 2**20)
    (tmp_path / "folder/b").write_bytes(b"x" * 2**20)
    return [str(tmp_path / "file"), str(tmp_path / "folder")]


def test_size_counts_what_is_inside_folders(inputs):
    # a folder's own entry is some bytes more
    assert megabytes(inputs) == 3


def test_memory_is_the_least_until_inputs_are_large_and_doubles_with_a_retry(inputs):
    assert [memory(4)(None, inputs, attempt) for attempt in (1, 2, 3)] == [6, 12, 24]
    assert [memory(100)(None, inputs, attempt) for attempt in (1, 2)] == [100, 200]
    assert memory(1, times=10)(None, inputs, 1) == 30


def test_time_grows_with_inputs_and_attempts(inputs):
    # 3 MiB at 1024 minutes a GiB
    assert [minutes(30, 1024)(None, inputs, attempt) for attempt in (1, 2)] == [33, 66]
    assert minutes(30, 0)(None, [], 1) == 30


def test_no_corpus_asks_for_more_time_than_a_partition_has(inputs):
    # 3 MiB at a million minutes a GiB are 2929 minutes
    assert minutes(0, 10**6)(None, inputs, 1) == LONGEST
    assert [minutes(1000, 0)(None, [], attempt) for attempt in (1, 2)] == [1000, LONGEST]


def test_what_is_not_there_yet_is_asked_again_later(tmp_path):
    with pytest.raises(FileNotFoundError):
        memory(100)(None, [str(tmp_path / "none")], 1)
    with pytest.raises(FileNotFoundError, match="none'$"):
        late(100, 128)(None, SimpleNamespace(collection=str(tmp_path / "none")), 1)


def test_gpus_are_asked_for_where_the_configuration_has_them():
    assert gpus({"hardware": {"gpus": 0, "tensor_parallel": 1}}, 8) == 0
    assert gpus({"hardware": {"gpus": 1, "tensor_parallel": 1}}) == 1
    assert gpus({"hardware": {"gpus": 1, "tensor_parallel": 2}}) == 2
    assert gpus({"hardware": {"gpus": 1, "tensor_parallel": 2}}, 8) == 8


def test_late_interaction_asks_for_the_vectors_of_what_it_reads(tmp_path):
    # 750 for the model; 256,000 tokens of 3 KB are 750 MiB, and of five letters, thrice, 3; cut to 128,000 of them, 375
    assert vectors_mb(256_000, 8192, 128) == 1503 and vectors_mb(256_000, 1280, 100) == 1128
    # of a corpus ten times as large a tenth is held, but the whole text
    assert vectors_mb(2_560_000, 81_920, 128) == 1500 + 36
    assert vectors_mb(256_000, None, 128) == 1503 and vectors_mb(10**9, None, 100) > 3700
    (tmp_path / "corpus.jsonl").write_bytes(b"x" * 5 * 256_000)
    (tmp_path / "manifest.json").write_text(json.dumps({"available_passages": 9**9, "counts": {"passages": 10_000}}))
    given = SimpleNamespace(collection=str(tmp_path))
    assert [late(100, 128)(None, given, attempt) for attempt in (1, 2)] == [1368, 2736]
    assert late(2500, 128)(None, given, 1) == 2500 and late(2500, 128).least == 2500
    (tmp_path / "manifest.json").write_text("{}")
    assert late(100, 128)(None, given, 1) == 1503
