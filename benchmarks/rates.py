"""How much of its work each step does a second, out of the provenance of a finished run: config/rates.tsv.

    python benchmarks/rates.py results/demo

The rates are those of the machine that made the run; `searchtune adapt` tells its cost by them.
"""

import sys
from pathlib import Path

from searchtune.commands.costs import COLUMNS, RATES, rates_of
from searchtune.files import write_tsv

if __name__ == "__main__":
    write_tsv(RATES, COLUMNS, rates_of(Path(sys.argv[1])))
    print(RATES.read_text(encoding="utf-8"), end="")
