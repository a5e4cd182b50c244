"""Commands of the group gallery: what models learnt as a picture with figures, and the curves of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genesis3d.cli.showing import settings, show

SCAN = Annotated[str, typer.Argument(help="DICOM folder, zip, NIfTI, NRRD or MetaImage file.")]
MODEL = Annotated[
    list[str] | None, typer.Option("--model", help="Run, model file or library name, or LABEL=MODEL; may be repeated.")
]
OUT = Annotated[str | None, typer.Option("--out", help="Picture to write: .png, .pdf or .svg.")]
TABLE = Annotated[
    list[str] | None, typer.Option("--table", help="Table to write: .csv, .json or .md; may be repeated.")
]
OUTCOMES = Annotated[
    str | None, typer.Option(help="Outcomes, by commas, e.g. identity,shuffling+outpainting; without: all twelve.")
]
CHAIN = Annotated[str | None, typer.Option(help="Preset of a chain to draw from, instead of the outcomes.")]
AT = Annotated[str | None, typer.Option(help="Voxel D,H,W in the middle of the sub-volume shown; without: drawn.")]
WINDOWS = Annotated[int | None, typer.Option(help="Sub-volumes behind the figures; the first is shown.")]
SEED = Annotated[int | None, typer.Option(help="Seed of places and transformations.")]
DEVICE = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, ...")]
CONFIG = Annotated[Path | None, typer.Option("--config", help="YAML file of settings; options given here win.")]
SET = Annotated[list[str] | None, typer.Option("--set", help="One setting as KEY=VALUE; may be repeated.")]
JSON = Annotated[bool, typer.Option("--json", help="Print each event as one line of JSON.")]


def add_to(app: typer.Typer) -> None:
    """Register this group's commands on ``app``."""
    app.command("gallery")(gallery_command)
    app.command("curves")(curves_command)


def gallery_command(
    scan: SCAN,
    model: MODEL = None,
    out: OUT = None,
    table: TABLE = None,
    outcomes: OUTCOMES = None,
    chain: CHAIN = None,
    at: AT = None,
    windows: WINDOWS = None,
    seed: SEED = None,
    device: DEVICE = None,
    config: CONFIG = None,
    set_: SET = None,
    json: JSON = False,
) -> None:
    """Show what models make of transformed sub-volumes of SCAN: the twelve outcomes of Models Genesis, with figures."""
    from genesis3d.workflows.gallery import GalleryConfig, gallery
    from genesis3d.workflows.gallery_table import as_text

    given = {
        "scan": scan, "models": model, "out": out, "tables": table, "chain": chain, "windows": windows, "seed": seed,
        "device": device, "outcomes": outcomes.split(",") if outcomes else None, "at": at.split(",") if at else None,
    }  # fmt: skip
    result = show(gallery(GalleryConfig.parse(settings(config, given, set_), "gallery")), json)
    if result and not json:
        print("\n\n".join(as_text(result["table"], measure) for measure in ("ratio", "psnr", "ssim")))


def curves_command(
    runs: Annotated[list[str], typer.Argument(help="Run directories.")],
    out: Annotated[str, typer.Option("--out", help="Picture to write: .png, .pdf or .svg.")],
) -> None:
    """Draw the curves of trainings: loss, and error on held-out sub-volumes over that of the best constant."""
    from genesis3d.workflows.curves import write_curves

    print(write_curves(runs, out))
