"""The report of a study: one page with tables and curves, and the same as JSON and CSV."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesis3d.evaluation.statistics import summary
from genesis3d.networks.card import library_versions
from genesis3d.workflows.evaluate_table import as_csv, as_json, as_markdown
from genesis3d.workflows.study_compare import Comparison, compare
from genesis3d.workflows.study_findings import chance, findings, interval_text, labels_text, number
from genesis3d.workflows.study_picture import convergence_plot, corruption_plot, labels_plot
from genesis3d.workflows.study_results import MEAN, Cell, Results

if TYPE_CHECKING:
    from genesis3d.evaluation.statistics import Interval
    from genesis3d.workflows.study_config import StudyConfig

__all__ = ["report_files"]

READING = """\
Dice is the mean over classes, then over test cases, of whole scans; a structure absent from both prediction and
reference counts nowhere. A run is one seed: other labels drawn, other new weights, other sub-volumes; of several folds
the mean. *n* is the number of runs, the spread its standard deviation. Differences are paired by seed and test case;
their 95 % interval is a bootstrap that draws seeds and test cases with replacement. *p* is that of the independent
two-sample t-test over runs, as in the papers. Intervals are not corrected for their number.
Every arm sees the same labels, the same test and the same number of steps unless its line says otherwise."""


def report_files(config: StudyConfig, results: Results) -> tuple[dict[str, bytes], list[str]]:
    """Return the content of each file of the report by its name, and what the study says in sentences."""
    pictures = {"labels.png": labels_plot(results)}
    if len(results.steps) > 1:
        pictures["convergence.png"] = convergence_plot(results)
    if len(results.corruptions) > 1:
        pictures["corruption.png"] = corruption_plot(results)
    found = compare(results, config.reference_arm, config.tolerance)
    said = findings(results, found)
    files = {
        "report.md": _page(config, results, found, said, list(pictures)).encode(),
        "report.json": as_json(_figures(config, results, found, said)),
        "runs.csv": as_csv(_run_rows(results)),
    }
    return files | pictures, said


def _page(
    config: StudyConfig, results: Results, found: Comparison, said: Sequence[str], pictures: Sequence[str]
) -> str:
    parts = [f"# {config.title or 'Study'}", _setting(config, results), "## What it says"]
    parts.append("\n".join(f"- {sentence}" for sentence in said))
    parts += [f"![{name.removesuffix('.png')}]({name})" for name in pictures]
    parts += ["## Dice by number of labels", _dice_table(results)]
    parts += _difference_sections(results, found)
    parts += _saving_sections(config, found)
    if len(results.classes) > 1:
        parts += ["## By class", _class_table(results)]
    parts += ["## Learning rates", _rate_table(results), "## How to read it", READING]
    return "\n\n".join(parts) + "\n"


def _setting(config: StudyConfig, results: Results) -> str:
    lines = [
        f"{len(results.runs)} of {results.planned} runs are in: {_many(len(results.arms), 'arm')}, "
        f"{', '.join(map(str, results.counts))} labels, {_many(len(results.seeds), 'seed')}; "
        f"tested on {_many(len(results.cases), 'case')}"
        + (f" in {results.folds} folds" if results.folds > 1 else "")
        + f"; {config.steps} steps a training."
    ]
    lines += [f"- **{name}**: {_arm(config, name)}" for name in config.arms]
    if results.failed:
        lines.append(
            f"\n{len(results.failed)} runs failed: " + "; ".join(f"{k}: {why}" for k, why in results.failed[:5])
        )
    return "\n".join(lines)


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _arm(config: StudyConfig, name: str) -> str:
    arm = config.arms[name]
    start = f"{Path(arm.model).name} ({arm.parts.replace('_', ' and ')})" if arm.model else "random weights"
    facts = [start, *([f"initialisation {arm.initialisation}"] if arm.initialisation else [])]
    facts += [f"{arm.steps} steps"] if arm.steps else []
    facts += [f"{key}: {_plain(value)}" for key, value in arm.settings.items()]
    return ", ".join(facts) + (" (the reference)" if name == config.reference_arm else "")


def _plain(value: Any) -> str:
    """Return a setting as a reader would say it: ``schedule frozen, first head``."""
    return ", ".join(f"{key} {one}" for key, one in value.items()) if isinstance(value, dict) else str(value)


def _dice_table(results: Results) -> str:
    header = ["labels", *(["corruption (mm)"] if len(results.corruptions) > 1 else []), *results.arms]
    lines = []
    for corruption in results.corruptions:
        for count in results.counts:
            first = [str(count), *([f"{corruption:+g}"] if len(results.corruptions) > 1 else [])]
            lines.append([*first, *(_mean_text(results, Cell(arm, count, corruption)) for arm in results.arms)])
    return as_markdown(header, lines)


def _class_table(results: Results) -> str:
    clean = min(results.corruptions, key=abs)
    lines = [
        [label, str(count), *(_mean_text(results, Cell(arm, count, clean), label) for arm in results.arms)]
        for label in results.classes
        for count in results.counts
    ]
    return as_markdown(["class", "labels", *results.arms], lines)


def _mean_text(results: Results, cell: Cell, label: str = MEAN) -> str:
    found = summary(results.run_means(cell, label=label))
    return "-" if not found.n else f"{number(found.mean)} ± {number(found.sd)} (n {found.n})"


def _difference_sections(results: Results, found: Comparison) -> list[str]:
    parts = []
    if found.same:
        spoiled = ["corruption (mm)"] if len(results.corruptions) > 1 else []
        header = ["arm", "labels", *spoiled, f"Dice minus {found.reference}'s, 95 % interval", "p", "seeds"]
        lines = [
            [d.arm, str(d.count), *([f"{d.corruption:+g}"] if spoiled else []), interval_text(d.interval, sign=True),
             chance(d.p), str(d.runs)]
            for d in found.same
        ]  # fmt: skip
        parts += [f"## Against {found.reference}, with the same labels", as_markdown(header, lines)]
    clean = [d for d in found.fewer if d.corruption == min(results.corruptions, key=abs)]
    if clean:
        header = ["arm", "labels", f"labels of {found.reference}", "difference in Dice, 95 % interval", "p"]
        lines = [
            [d.arm, str(d.count), str(d.reference_count), interval_text(d.interval, sign=True), chance(d.p)]
            for d in clean
        ]
        parts += [f"## Against {found.reference} with more labels", as_markdown(header, lines)]
    return parts


def _saving_sections(config: StudyConfig, found: Comparison) -> list[str]:
    parts = []
    if found.labels:
        header = ["arm", "labels", f"labels that {found.reference} needs for the same Dice, 95 % interval", "saved"]
        lines = [[one.arm, str(one.count), labels_text(one), _percent(one.saved)] for one in found.labels]
        parts += ["## Labels saved", as_markdown(header, lines)]
    if found.steps:
        header = ["arm", "labels", "Dice to reach", "its steps", f"steps of {found.reference}",
                  "steps saved, 95 % interval"]  # fmt: skip
        lines = [
            [one.arm, str(one.count), number(one.target), interval_text(one.arm_steps, digits=0),
             interval_text(one.reference_steps, digits=0), interval_text(one.saved, digits=0, sign=True)]
            for one in found.steps
        ]  # fmt: skip
        said = f"Steps until the Dice is within {config.tolerance:g} of where {found.reference} ends."
        parts += ["## Steps saved", said, as_markdown(header, lines)]
    return parts


def _percent(share: Interval) -> str:
    return f"{100 * share.estimate:.0f} % [{100 * share.low:.0f}, {100 * share.high:.0f}]"


def _rate_table(results: Results) -> str:
    lines = [
        [
            arm,
            str(count),
            ", ".join(f"{rate:g}" for rate in results.rates(Cell(arm, count, results.corruptions[0]))) or "-",
        ]
        for arm in results.arms
        for count in results.counts
    ]
    chosen = f"Chosen by {len(results.trials)} trials on validation cases.\n\n" if results.trials else ""
    return chosen + as_markdown(["arm", "labels", "peak rates used"], lines)


def _figures(config: StudyConfig, results: Results, found: Comparison, said: Sequence[str]) -> dict[str, Any]:
    cells = [Cell(arm, n, c) for c in results.corruptions for arm in results.arms for n in results.counts]
    return {
        "title": config.title,
        "runs": len(results.runs),
        "planned": results.planned,
        "failed": dict(results.failed),
        "reference": found.reference,
        "findings": list(said),
        "dice": [_cell(results, cell) for cell in cells],
        "differences": [one.to_dict() for one in found.same],
        "against_more_labels": [one.to_dict() for one in found.fewer],
        "labels_saved": [one.to_dict() for one in found.labels],
        "steps_saved": [one.to_dict() for one in found.steps],
        "versions": library_versions(),
    }


def _cell(results: Results, cell: Cell) -> dict[str, Any]:
    by_class = {label: summary(results.run_means(cell, label=label)).to_dict() for label in results.classes}
    curve = {str(step): summary(results.run_means(cell, step)).to_dict() for step in results.steps}
    return {
        "arm": cell.arm, "labels": cell.count, "corruption_mm": cell.corruption, "rates": results.rates(cell),
        "runs": results.run_means(cell), **summary(results.run_means(cell)).to_dict(), "classes": by_class,
        "curve": curve,
    }  # fmt: skip


def _run_rows(results: Results) -> list[dict[str, Any]]:
    rows = []
    for run in (*results.trials, *results.runs):
        tests = {int(step): test for step, test in run["curve"].items()} | {int(run["steps"]): run["test"]}
        about = {name: run[name] for name in ("arm", "count", "corruption", "fold", "seed", "rate", "trial")}
        rows += [
            about | {"step": step, "case": case, "class": label} | figures
            for step, test in sorted(tests.items())
            for case, classes in test.items()
            for label, figures in classes.items()
        ]
    return rows
