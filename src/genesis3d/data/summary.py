"""What a store holds, in figures: the report of a preparation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from genesis3d.data.store import StoredCase

__all__ = ["summary", "summary_lines"]


def summary(cases: Sequence[StoredCase], left_out: Sequence[dict[str, str]], waiting: int) -> dict[str, Any]:
    """Return plain values: cases taken, left out and why, waiting; spacing, shape, intensity and sizes of those taken.

    Spacing and shape are [least, median, largest] along D, H, W; ``bytes`` is the size in the store, ``bytes_raw``
    that of the voxels in 16 bits.
    """
    voxels = [int(np.prod(case.shape)) * case.channels for case in cases]
    return {
        "cases": len(cases),
        "left_out": list(left_out),
        "waiting": waiting,
        "modalities": dict(sorted(Counter(case.modality or "unknown" for case in cases).items())),
        "channels": sorted({case.channels for case in cases}),
        "shape": _spread([case.shape for case in cases]),
        "spacing": _spread([case.spacing for case in cases]),
        "source_spacing": _spread([case.source_spacing for case in cases]),
        "mean": _spread([(case.mean,) for case in cases]),
        "std": _spread([(case.std,) for case in cases]),
        "voxels": sum(voxels),
        "bytes": sum(case.nbytes for case in cases),
        "bytes_raw": 2 * sum(voxels),
        "warnings": [f"{case.name}: {sentence}" for case in cases for sentence in case.warnings],
    }


def _spread(values: Sequence[Sequence[float]]) -> list[list[float]]:
    """Return [least, median, largest] for each component of ``values``."""
    if not values:
        return []
    array = np.asarray(values, dtype=np.float64)
    return [[round(float(f(column)), 4) for f in (np.min, np.median, np.max)] for column in array.T]


def summary_lines(report: dict[str, Any]) -> list[str]:
    """Return a report for people, sizes and spacings as z, y, x."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in report["modalities"].items())
    lines = [f"{report['cases']} cases in the store ({kinds or 'none'}), {len(report['left_out'])} left out"]
    if report["cases"]:
        spacing, shape = (" x ".join(_range(*axis) for axis in report[name]) for name in ("spacing", "shape"))
        share = report["bytes_raw"] / max(report["bytes"], 1)
        lines += [
            f"voxels       {report['voxels'] / 1e6:.1f} million, {shape} (z, y, x)",
            f"spacing      {spacing} mm",
            f"intensities  mean {_range(*report['mean'][0])}, deviation {_range(*report['std'][0])} in [0, 1]",
            f"size         {report['bytes'] / 2**20:.1f} MiB, {share:.2f} times smaller than the voxels",
            f"fingerprint  {report['fingerprint']}",
        ]
    lines += [f"left out     {entry['name']}: {_reason(entry)}" for entry in report["left_out"][:20]]
    if len(report["left_out"]) > 20:
        lines.append(f"             and {len(report['left_out']) - 20} more: see report.json")
    return lines


def _range(low: float, middle: float, high: float) -> str:
    return f"{middle:g}" if low == high else f"{low:g}..{middle:g}..{high:g}"


def _reason(entry: dict[str, str]) -> str:
    return entry["reason"].removeprefix(f"{entry['name']}:").strip()
