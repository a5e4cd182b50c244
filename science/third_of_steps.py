"""Of a study with an arm of fewer steps: its Dice against that of another arm then, and at its end.

python science/third_of_steps.py STUDY --arm opacity-third --reference scratch

STUDY is the folder of a study that keeps curves.  Differences are paired by number of labels, seed and test case; the
95 % interval draws seeds and test cases with replacement, the numbers of labels of a seed and case together.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from common import ROOT, run_command

from genesis3d.files import write_atomic

DRAWS = 4000
Key = tuple[int, int, str]


def dice_of(tests: dict[str, Any]) -> dict[str, float]:
    """Return the Dice of each test case, the mean over its classes."""
    return {case: float(np.mean([one["dice"] or 0 for one in classes.values()])) for case, classes in tests.items()}


def runs_of(folder: Path, arm: str, step: int | None = None) -> dict[Key, float]:
    """Return the Dice by labels, seed and case, at the end or after ``step``."""
    found: dict[Key, float] = {}
    for path in sorted((folder / "runs" / arm).glob("*.json")):
        run = json.loads(path.read_text(encoding="utf-8"))
        tests = run["test"] if step is None else run["curve"][str(step)]
        found |= {(run["count"], run["seed"], case): value for case, value in dice_of(tests).items()}
    return found


def compared(ours: dict[Key, float], theirs: dict[Key, float], seed: int = 0) -> dict[str, float]:
    """Return the mean difference and its interval."""
    by_place = defaultdict(list)
    for key in ours.keys() & theirs.keys():
        by_place[key[1:]].append(ours[key] - theirs[key])
    seeds, cases = (sorted({place[k] for place in by_place}) for k in (0, 1))
    table = np.full((len(seeds), len(cases)), np.nan)
    for (one, case), values in by_place.items():
        table[seeds.index(one), cases.index(case)] = np.mean(values)
    rng = np.random.default_rng(seed)
    draws = [
        np.nanmean(table[np.ix_(*(rng.integers(0, n, n) for n in table.shape))]) for _ in range(DRAWS)
    ]  # fmt: skip
    low, high = np.percentile(draws, [2.5, 97.5])
    return {"difference": float(np.nanmean(table)), "low": float(low), "high": float(high), "seeds": len(seeds)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--arm", default="opacity-third")
    parser.add_argument("--reference", default="scratch")
    parser.add_argument("--step", type=int, default=25)
    given = parser.parse_args()
    ours = runs_of(given.study, given.arm)
    result = {
        "arm": given.arm, "reference": given.reference, "step": given.step,
        "at its end": compared(ours, runs_of(given.study, given.reference)),
        "at the same step": compared(ours, runs_of(given.study, given.reference, given.step)),
    }  # fmt: skip
    out = ROOT / "science" / "results" / "studies" / f"{given.study.name}-third.json"
    write_atomic(out, (json.dumps(result, indent=1) + "\n").encode())
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    run_command(main)
