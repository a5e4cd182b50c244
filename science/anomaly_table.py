"""Measure anomaly maps: docs/anomaly-table.md and science/results/anomaly/*.json by one command.

python science/anomaly_table.py DATA --model MODEL [--model M ...] --held-out MODEL [--held-out M ...]
    [--recipe R ...] [--method opacity] [--work DIR] [--device cpu] [--only covid] [--quick]

DATA holds open/ and internal/.  MODEL scores what no model was trained on; the models of --held-out, trained and
calibrated without lidc-0001, lidc-0002 and popi-00, score these, as they are and with opacities inserted.  A command
that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from anomaly_page import anomaly_page
from anomaly_sets import ScanSet, plain_rows, scan_sets
from common import DOCS, ROOT, run_command

from genesis3d.errors import RunError
from genesis3d.events import Failed
from genesis3d.files import write_atomic
from genesis3d.networks.model_file import read_model
from genesis3d.workflows.evaluate_anomaly import EvaluateAnomalyConfig, evaluate_anomaly
from genesis3d.workflows.evaluate_table import as_json

RESULTS = ROOT / "science" / "results" / "anomaly"


def measured(scans: ScanSet, given: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the rows of one set: every recipe on the lesions of patients, elsewhere the baseline and --method."""
    models = given.held_out if scans.held_out and given.held_out else given.model
    recipes = given.recipe if scans.name == "covid" or not given.method else [given.method]
    config = EvaluateAnomalyConfig.parse(
        {"scans": scans.scans, "lesions": scans.lesions, "lungs": scans.lungs, "excluded": scans.excluded,
         "models": models, "recipes": recipes, "settings": {"device": given.device},
         "out_dir": str(given.work / "measured" / scans.name)}
    )  # fmt: skip
    print(f"{scans.name}: {', '.join(models) or 'no model'}", flush=True)
    rows: list[dict[str, Any]] = []
    for event in evaluate_anomaly(config):
        if isinstance(event, Failed):
            raise RunError(event.message)
        if event.kind == "warned":
            print(f"  {event.message}", flush=True)
        elif event.kind == "stepped":
            print(f"  {event.step} of {event.total} maps", flush=True)
        elif event.kind == "finished":
            rows = [{k: math.nan if v is None else v for k, v in row.items()} for row in event.result["rows"]]
    if scans.name in ("covid", "others"):
        rows += list(plain_rows(config))
    return rows


def titles(paths: list[str]) -> list[str]:
    """Return what the models are called."""
    return [read_model(path).card.title for path in paths]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with open/ and internal/")
    parser.add_argument("--model", action="append", default=[], help="model file; may be repeated")
    parser.add_argument("--held-out", action="append", default=[], help="models trained without the healthy scans")
    parser.add_argument("--recipe", action="append", default=[], help="recipes; default: each model's usual one")
    parser.add_argument("--method", default="", help="the default method, whose figures meet the targets or not")
    parser.add_argument("--work", type=Path, default=Path("anomaly-table"), help="folder for what is made on the way")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", action="append", default=[], help="sets to measure: covid, healthy, others, ...")
    parser.add_argument("--quick", action="store_true", help="one scan of each kind, to try the command")
    parser.add_argument("--docs", type=Path, default=DOCS, help="folder for anomaly-table.md")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the figures as JSON")
    given = parser.parse_args()
    given.results.mkdir(parents=True, exist_ok=True)
    tables: dict[str, list[dict[str, Any]]] = {}
    for name, made in scan_sets(given.data, given.work, given.quick).items():
        if given.only and name not in given.only:
            continue
        scans = made()
        tables[scans.name] = measured(scans, given)
        facts = {"models": titles(given.held_out if scans.held_out and given.held_out else given.model)}
        write_atomic(given.results / f"{scans.name}.json", as_json(facts | {"rows": tables[scans.name]}))
    names = titles(given.model), titles(given.held_out)
    page = anomaly_page(tables, given.method or "opacity", names[0], names[1])
    write_atomic(given.docs / "anomaly-table.md", page.encode())
    print(given.docs / "anomaly-table.md")


if __name__ == "__main__":
    run_command(main)
