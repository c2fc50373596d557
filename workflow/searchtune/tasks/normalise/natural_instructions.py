"""Natural Instructions (Mishra et al. 2022) as packaged: a task's definition and an input to its output.

Schema: bigbench/benchmark_tasks/natural_instructions/subtask<number>_<name>/task.json of the package (name,
task_prefix: definition, things to avoid, emphasis and prompt in one text; examples: input, target as a list of right
outputs). What a control trains on; which subtasks may is decided in config/inters_pairs.py.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from searchtune.errors import DataError
from searchtune.files import read_json
from searchtune.tasks.example import Example, n_words
from searchtune.tasks.normalise.tables import Record


def general_instructions(paths: Sequence[Path], dataset: str, max_words: int) -> Iterator[Example]:
    """Definition and input to the first output, the others as references; data set ``ni_059`` is subtask 059.

    Inputs of more than ``max_words`` words are left out. The article is the input: only the training part is used.
    Raises DataError for the file of another subtask, a missing field, or an example without a right output.
    """
    for path in paths:
        task = _task(path, dataset)
        definition = task.text("task_prefix")
        for number, row in enumerate(task.children("examples", 1), 1):
            given = row.text("input")
            outputs = [text for text in dict.fromkeys(row.texts("target", 1)) if text]
            if not outputs:
                raise row.fault("target", "is empty")
            if n_words(given) <= max_words:
                yield Example(
                    f"general_instructions/{dataset}/{number}",
                    "general_instructions",
                    dataset,
                    f"natural instructions {given}",
                    {"definition": definition, "input": given},
                    outputs[0],
                    references=tuple(outputs[1:]),
                )


def _task(path: Path, dataset: str) -> Record:
    """Return the file's object; DataError unless it is the subtask that ``dataset`` names.

    A path that names another subtask would put, say, question generation into the control in silence.
    """
    value = read_json(path)
    if not isinstance(value, dict):
        raise DataError(f"{path}: expected a JSON object, found {type(value).__name__}; is this a task.json?")
    task, subtask = Record(str(path), value), f"subtask{dataset.removeprefix('ni_')}_"
    if not task.text("name").startswith(subtask):
        raise task.fault("name", f"is {task.text('name')!r}, expected {subtask}... for the data set {dataset!r}")
    return task
