"""What pre-training on 1,000 and 100,000 scans costs, computed from measured throughput into docs/cluster.md.

hours = scans x 32 x epochs / (sub-volumes per second of a process x processes x efficiency) / 3600

The throughput is that of benchmarks.train_step (CPU) and benchmarks.gpu (GPU), the efficiency that of
benchmarks.two_processes; run these first on the machine in question.

python -m benchmarks.cluster_cost
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from benchmarks.common import RESULTS

PAGE = Path(__file__).parent.parent / "docs" / "cluster.md"
BEGIN, END = "<!-- cost: begin (python -m benchmarks.cluster_cost) -->", "<!-- cost: end -->"
SCANS = (1_000, 100_000)
SUB_VOLUMES = 32  # of a scan in an epoch, as published
EPOCHS = (1, 100, 10_000)  # the last: where the published training ends if its patience of 50 epochs does not end it
VOXELS = 512 * 512 * 300  # of a chest CT, two bytes each


@dataclass(frozen=True)
class Machine:
    """``processes`` of a kind that makes ``rate`` sub-volumes per second each (None: not measured)."""

    name: str
    processes: int
    rate: float | None
    efficiency: float | None
    command: str

    def hours(self, scans: int, epochs: int) -> float | None:
        """Hours of training, or None where something was not measured."""
        efficiency = 1.0 if self.processes == 1 else self.efficiency
        if self.rate is None or efficiency is None:
            return None
        return scans * SUB_VOLUMES * epochs / (self.rate * self.processes * efficiency) / 3600


def value(results: Path, name: str, what: str) -> float | None:
    """One figure of a result file, None where it was not measured."""
    path = results / f"{name}.json"
    if not path.is_file():
        return None
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    return next((row["value"] for row in rows if row["what"] == what), None)


def machines(results: Path) -> list[Machine]:
    cpu = value(results, "train_step", "sub-volumes per second, ours")
    gpu = value(results, "gpu", "ours, sub-volumes per second")
    efficiency = value(results, "two_processes", "two processes / one")
    efficiency = None if efficiency is None else min(1.0, efficiency)
    step, cards = "python -m benchmarks.train_step", "python -m benchmarks.gpu"
    return [
        Machine("one CPU machine as below", 1, cpu, efficiency, step),
        Machine("64 such machines", 64, cpu, efficiency, f"{step}; python -m benchmarks.two_processes"),
        Machine("one GPU", 1, gpu, None, cards),
        Machine("8 GPUs, if none waited for another", 8, gpu, 1.0, cards),
    ]


def shown(hours: float | None) -> str:
    if hours is None:
        return "not measured"
    for limit, unit, name in ((48, 1, "hours"), (24 * 365, 24, "days")):
        if hours < limit:
            return f"{hours / unit:,.1f} {name}"
    return f"{hours / (24 * 365):,.1f} years"


def table(results: Path = RESULTS) -> list[str]:
    """Lines of the page between the marks."""
    known = machines(results)
    epochs = [f"{count:,} epoch{'s' if count > 1 else ''}" for count in EPOCHS]
    lines = [f"| scans | machine | sub-volumes/s | {' | '.join(epochs)} |", "|---" * (3 + len(epochs)) + "|"]
    for scans in SCANS:
        for machine in known:
            rate = "not measured" if machine.rate is None else f"{machine.rate:.3g} each"
            cells = " | ".join(shown(machine.hours(scans, count)) for count in EPOCHS)
            lines.append(f"| {scans:,} | {machine.name} | {rate} | {cells} |")
    few, many = (f"{scans * VOXELS * 2 / 1e12:.2f} TB" for scans in SCANS)
    lines += [
        "",
        f"An epoch is {SUB_VOLUMES} sub-volumes a scan: {SCANS[0] * SUB_VOLUMES:,} and {SCANS[1] * SUB_VOLUMES:,}. "
        f"Before compression such archives are {few} and {many} (chest CTs of 512 x 512 x 300 voxels, two bytes each).",
    ]
    efficiency = value(results, "two_processes", "two processes / one")
    measured = "not measured" if efficiency is None else f"{efficiency:.2f}"
    lines += [
        "",
        f"Two processes of one machine make {measured} times the sub-volumes of one process with the same threads "
        "(`python -m benchmarks.two_processes`); 64 machines are reckoned with that, without the network "
        "between them.",
    ]
    lines += ["", f"Machine: {described(results)}. Commands: {', '.join(f'`{m.command}`' for m in known[::2])}."]
    return lines


def described(results: Path) -> str:
    path = results / "train_step.json"
    if not path.is_file():
        return "not measured"
    result = json.loads(path.read_text(encoding="utf-8"))
    return f"{result['machine']['processor']}, {result['name'].partition('(')[2].rstrip(')')}"


def page(text: str, results: Path = RESULTS) -> str:
    """``text`` with a fresh table between its marks."""
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    return "\n".join([before + BEGIN, "", *table(results), "", END + after])


def main() -> None:
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print("\n".join(table()))


if __name__ == "__main__":
    main()
