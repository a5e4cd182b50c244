"""A model's card as rows of text: what the command line prints and the docks show."""

from __future__ import annotations

from genesis3d.networks.card import ModelCard

__all__ = ["card_rows", "figure_lines", "network_line", "scans_line"]

YARDSTICKS = ("official", "gentle")  # chains that every run is measured under
MEANINGS = {
    "ratio": "error over that of the best constant per sub-volume: below 1 is better, 0 is perfect",
    "mse_network": "mean squared error of the restoration, of intensities in [0, 1]",
    "mse_input": "the same of the transformed input as it is",
    "mse_constant": "the same of the best constant per sub-volume",
    "mse_median": "the same of a 3x3x3 median of the input",
    "dice": "mean Dice of the structures on held-out sub-volumes: 1 is perfect",
    "average_precision": "mean precision of the opacity's probability over its levels: 1 is perfect",
    "mae": "mean absolute error of the restored lung, of intensities in [0, 1]",
    "accuracy": "share of held-out sub-volumes whose class is right",
    "loss": "training loss on held-out sub-volumes",
    "psnr": "peak signal-to-noise ratio in dB: higher is better",
    "psnr_network": "peak signal-to-noise ratio of the restoration in dB: higher is better",
    "ssim": "structural similarity: 1 is equal",
    "ssim_network": "structural similarity of the restoration: 1 is equal",
}


def network_line(card: ModelCard) -> str:
    """Return the network in a line: ``unet3d, width 16, 4.8 M parameters, 1 channel to 1``."""
    network = card.network
    fields = network.body.to_dict()
    what = network.name if network.body is network else f"{network.name} with the encoder of {network.body.name}"
    telling = ("decoder", "norm") if network.dense else ("norm",)
    shape = [f"{name} {fields[name]}" for name in ("width", "depth") if name in fields]
    kinds = [f"{fields[name]} {name}" for name in telling if fields.get(name, "none") != "none"]
    size = f"{network.parameters() / 1e6:.1f} M parameters"
    channels = f"{network.in_channels} channel{'' if network.in_channels == 1 else 's'} to {network.out_channels}"
    return ", ".join([what, *shape, size, *(kind.replace("_", " ") for kind in kinds), channels])


def scans_line(card: ModelCard) -> str:
    """Return what scans it knows: ``CT, -1000 to 1000 HU · 0.70 x 0.70 x 2.50 mm``."""
    parts = [", ".join(part for part in (", ".join(card.modalities), _intensity(card)) if part)]
    if card.spacing is not None:
        parts.append(_times(card.spacing, ".2f") + " mm")
    return " · ".join(parts)


def figure_lines(card: ModelCard) -> list[str]:
    """Return its figures, the most telling first, each with what it means; of the yardstick chains the ratio alone."""
    figures = dict(card.metrics)
    step = figures.pop("measured_at_step", None)
    named = [f"{name} {_number(figures.pop(name))}: {text}" for name, text in MEANINGS.items() if name in figures]
    for chain in YARDSTICKS:
        ratio = figures.pop(f"{chain}_ratio", None)
        if ratio is not None:
            named.append(f"ratio {_number(ratio)} under the {chain} chain of transformations")
        for name in MEANINGS:
            figures.pop(f"{chain}_{name}", None)
    named += [f"{name} {_number(value)}" for name, value in sorted(figures.items())]
    return named if step is None else [*named, f"measured at step {step:,.0f}"]


def card_rows(card: ModelCard) -> list[tuple[str, str]]:
    """Return (label, text) of everything a user should know before using the model; what is not said is left out."""
    steps = "" if card.step is None else f"{card.step:,} steps"
    rows = [
        ("Title", card.title),
        ("About", card.description),
        ("Limits", card.limits or "not said; research software, not for clinical use"),
        ("Network", network_line(card)),
        ("Modality", ", ".join(card.modalities) or "not said"),
        ("Intensity", _intensity(card)),
        ("Spacing", "not said" if card.spacing is None else f"{_times(card.spacing, '.2f')} mm (x by y by z)"),
        ("Patch", "" if card.patch is None else f"{_times(card.patch)} voxels (x by y by z)"),
        ("Task", ", ".join(part for part in (str(card.task.get("name", "")), card.activation, steps) if part)),
        ("Data", "\n".join([*(source.text() for source in card.attribution), *_counts(card)])),
        ("Licence", card.licence or "not said"),
        ("Figures", "\n".join(figure_lines(card))),
        ("Calibrated", _calibrated(card)),
        ("Trained by", card.trained_by),
        ("Began with", "\n".join(card.parents)),
        ("Imported", _imported(card)),
        ("Made", ", ".join([card.created[:10], *(f"{name} {version}" for name, version in card.versions.items())])),
    ]
    return [(label, text) for label, text in rows if text]


def _imported(card: ModelCard) -> str:
    """Return where weights of another project come from, as their importer wrote it down."""
    told = card.training.get("imported")
    if not isinstance(told, dict):
        return ""
    parts = [told.get("family"), told.get("source"), f"{told.get('statistics', '')} statistics"]
    return ", ".join(str(part) for part in parts if part)


def _calibrated(card: ModelCard) -> str:
    """Return which recipes' scores were measured on how many healthy scans."""
    counts = {recipe: len(values.get("healthy_scans", ())) for recipe, values in card.calibration.items()}
    return ", ".join(f"{name} on {n} healthy scan{'' if n == 1 else 's'}" for name, n in counts.items())


def _intensity(card: ModelCard) -> str:
    values = card.intensity.to_dict()
    name = card.intensity.name
    if not {"low", "high"} <= set(values):
        return name
    span = f"{values['low']:g} to {values['high']:g}"
    return f"{span} HU" if name == "ct" else f"{name} {span}"


def _counts(card: ModelCard) -> list[str]:
    parts = []
    for name, word in (("cases", "case"), ("training", "for training"), ("held_out", "held out")):
        value = card.data.get(name)
        count = len(value) if isinstance(value, list | tuple) else value
        if isinstance(count, int):
            parts.append(f"{count} {word}{'s' if name == 'cases' and count != 1 else ''}")
    voxels = card.data.get("voxels")
    if isinstance(voxels, int | float):
        parts.append(f"{voxels / 1e6:.1f} M voxels")
    return [", ".join(parts)] if parts else []


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1e4 else f"{value:.0f}"


def _times(values: tuple[float, ...], form: str = "") -> str:
    return " x ".join(format(value, form) for value in reversed(values))
