"""A results folder for tests of the report: made-up tables, with figures and provenance as the workflow leaves them."""

import shutil
from pathlib import Path

from helpers import ROOT

from searchtune.files import write_json
from searchtune.reporting.catalogue import PAPERS
from searchtune.stage import Job

RESULTS = ROOT / "tests/fixtures/reporting/results/demo"
ITEMS = ROOT / "config/expected/items.tsv"
PIXEL = '<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"></svg>'
CONFIG = {"canary_data": "train_locally", "fidelity": "corrected", "faults": [], "models": {}}


def make_step(path: Path, stage: str, inputs: list[Path], **more: list[str]) -> None:
    """Make the output of a step with its provenance file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.mkdir()
    record = {
        "output": {"name": "o", "path": str(path), "sha256": "ab" * 32, "fingerprint": {}},
        "recipe": {
            "stage": stage,
            "code": "c" * 16,
            "key": path.name,
            "params": {},
            "inputs": [{"name": "i", "path": str(p), "sha256": "cd" * 32} for p in inputs],
        },
        "execution": {"ended": "now", "wall_s": 2.0, "max_rss_mib": 300, "versions": {"torch": "2.13.0"}},
        **{"licences": [], "canary": []} | more,
    }
    write_json(path.with_name(path.name + ".prov.json"), record)


def make_results() -> None:
    """Make results/demo in the working directory."""
    shutil.copytree(RESULTS, "results/demo")
    for paper, stem in (("inters", "categories"), ("udapdr", "quality_amazon"), ("limrank", "rerank_depth_20")):
        folder = Path(f"results/demo/{paper}")
        make_step(folder / "models/tuned", "train.sft", [Path("resources/raw/x.json")], canary=["bigbench"])
        make_step(folder / "tables", f"{paper}.evaluate", [folder / "models/tuned"], licences=["Apache-2.0 & <own>"])
        make_step(folder / "figures", "report.figures", [folder / "tables"])
        (folder / "figures" / f"{stem}.svg").write_text(PIXEL)


def report_job(**params: object) -> Job:
    """Return the job of the report on results/demo, with some parameters of the test's own."""
    papers = params.get("papers", list(PAPERS))
    inputs = {kind: [Path(f"results/demo/{p}/{kind}") for p in papers] for kind in ("tables", "figures")}
    values = {"scale": "demo", "seeds": [13], "papers": papers, "results": "results/demo", "config": CONFIG}
    return Job("report.html", inputs | {"inventory": ITEMS}, {"report": Path("report.html")}, values | params)
