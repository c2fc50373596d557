"""What each job of finished runs took, with its work as told beforehand: config/costs.tsv.

    python benchmarks/costs.py ci-1=/path/to/results/ci demo-1=/path/to/results/demo ci-0= ...

A run of the table that is not named stays, one that is named is put in anew, one without a path is taken out.
``searchtune plan`` is fitted on these rows, and prints what scales that were left out tell of its error.
"""

import sys
from pathlib import Path

from searchtune.commands.planning.costs import left_out, typical
from searchtune.commands.planning.history import COLUMNS, COSTS, history_of, past_of
from searchtune.files import write_tsv

if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    runs = {name: path for name, _, path in (given.partition("=") for given in sys.argv[1:])}
    past = [row for row in past_of() if row.run not in runs]
    past += [row for name, path in runs.items() if path for row in history_of(Path(path), name)]
    write_tsv(COSTS, COLUMNS, [row.row() for row in past])
    for left in left_out(past):
        print(
            f"{left.scale}\t{len(left.told)} jobs\ttaken {left.taken_s:.0f} s\tpredicted {left.predicted_s:.0f} s\t"
            f"ratio {left.ratio:.2f}\thalf of the jobs within {typical(left.factors):.2f}, "
            f"nine of ten within {typical(left.factors, 0.9):.2f}"
        )
