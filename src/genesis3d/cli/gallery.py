"""Commands of the group gallery: what models learnt as a picture with figures, and the curves of runs."""

from __future__ import annotations

from typing import Annotated

import typer

from genesis3d.cli.options import ConfigFile, Device, Json, Scan, Set
from genesis3d.cli.showing import settings, show

MODEL = Annotated[
    list[str] | None, typer.Option("--model", help="run, model file or library name, or LABEL=MODEL; may be repeated")
]
OUT = Annotated[str | None, typer.Option("--out", help="picture to write: .png, .pdf or .svg")]
TABLE = Annotated[list[str] | None, typer.Option("--table", help="table to write: .csv, .json or .md; may be repeated")]
OUTCOMES = Annotated[
    str | None, typer.Option(help="outcomes, by commas, e.g. identity,shuffling+outpainting; without: all twelve")
]
CHAIN = Annotated[str | None, typer.Option(help="preset of a chain to draw from, instead of the outcomes")]
AT = Annotated[str | None, typer.Option(help="voxel D,H,W in the middle of the sub-volume shown; without: drawn")]
WINDOWS = Annotated[int | None, typer.Option(help="sub-volumes behind the figures; the first is shown")]
SEED = Annotated[int | None, typer.Option(help="seed of places and transformations")]


def add_to(app: typer.Typer) -> None:
    """Register this group's commands on ``app``."""
    app.command("gallery")(gallery_command)
    app.command("curves")(curves_command)


def gallery_command(
    scan: Scan,
    model: MODEL = None,
    out: OUT = None,
    table: TABLE = None,
    outcomes: OUTCOMES = None,
    chain: CHAIN = None,
    at: AT = None,
    windows: WINDOWS = None,
    seed: SEED = None,
    device: Device = None,
    config: ConfigFile = None,
    set_: Set = None,
    json: Json = False,
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
    runs: Annotated[list[str], typer.Argument(help="run directories")],
    out: Annotated[str, typer.Option("--out", help="picture to write: .png, .pdf or .svg")],
) -> None:
    """Draw the curves of trainings: loss, and error on held-out sub-volumes over that of the best constant."""
    from genesis3d.workflows.curves import write_curves

    print(write_curves(runs, out))
