"""``genesis3d models``: the models that ship and the user's own, by name."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from genesis3d.events import Event
    from genesis3d.networks.library import LibraryModel

Name = Annotated[str, typer.Argument(metavar="NAME", help="name of a model of the library, run or model file")]
CardOption = Annotated[Path | None, typer.Option("--card", help="YAML file of what people say on its card")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace what is there")]
Json = Annotated[bool, typer.Option("--json", help="print JSON")]
Scans = Annotated[
    list[str] | None, typer.Option("--scans", help="scan to measure running batch-norm statistics on; may be repeated")
]


def add_to(app: typer.Typer) -> None:
    """Register this group's commands on ``app``."""
    group = typer.Typer(no_args_is_help=True, help="The model library: list, show, import, export, ensemble, remove.")
    group.command("list")(list_command)
    group.command("show")(show_command)
    group.command("import")(import_command)
    group.command("export")(export_command)
    group.command("ensemble")(ensemble_command)
    group.command("remove")(remove_command)
    app.add_typer(group, name="models")


def list_command(as_json: Json = False) -> None:
    """List the models: those that ship, then your own."""
    from genesis3d.networks.library import Library

    library = Library()
    models = library.models()
    if as_json:
        print(json.dumps([_entry(model) for model in models], indent=2))
        return
    rows = [["NAME", "FROM", "NETWORK", "KNOWS", "TITLE"], *(_row(model) for model in models)]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows if models else []:
        print("  ".join([*(cell.ljust(width) for cell, width in zip(row[:4], widths, strict=True)), row[4]]).rstrip())
    if not models:
        print("no models yet: genesis3d models import FILE_OR_RUN --name NAME")
    print(f"your models lie in {library.folder}", file=sys.stderr)


def show_command(model: Name, as_json: Json = False) -> None:
    """Show a model's card: network, scans, data, licence, figures, limits."""
    from genesis3d.networks.describe import card_rows
    from genesis3d.networks.model_file import model_path, read_card

    path = model_path(model)
    card = read_card(path)
    if as_json:
        print(json.dumps(card.to_dict(), indent=2))
        return
    rows = [*card_rows(card), ("File", f"{path} ({path.stat().st_size / 2**20:.1f} MiB)")]
    for label, text in rows:
        print(_block(label, text))


def import_command(
    file: Annotated[str, typer.Argument(help="model file, run directory, or another project's weights")],
    name: Annotated[str, typer.Option("--name", help="what to call it: letters, digits, dots, dashes")],
    batch_norm: Annotated[
        str, typer.Option(help="of other projects' weights: batch, running, or auto (running with --scans)")
    ] = "auto",
    scans: Scans = None,
    in_channels: Annotated[int | None, typer.Option(help="channels of your scans, where they differ")] = None,
    source: Annotated[str, typer.Option(help="where the file comes from")] = "",
    licence: Annotated[str, typer.Option(help="terms of the weights")] = "",
    card: CardOption = None,
    overwrite: Overwrite = False,
) -> None:
    """Put a model, a run's best or another project's weights into the library under a name."""
    from genesis3d.workflows.models import ImportConfig, import_model

    given: dict[str, Any] = {
        "file": file,
        "name": name,
        "batch_norm": batch_norm,
        "scans": tuple(scans or ()),
        "source": source,
    }
    given |= {"in_channels": in_channels, "licence": licence, "overwrite": overwrite, "card": _text(card)}
    result = _follow(import_model(ImportConfig.parse(given, "models import")))
    report, licence = result.get("report", ""), result.get("licence", "")
    if report:
        print(report)
    if licence and licence not in report:
        print(f"licence: {licence}")


def export_command(
    model: Name,
    out: Annotated[str, typer.Argument(help="file to write: .safetensors, .pt, .h5 or .onnx")],
    kind: Annotated[str | None, typer.Option(help="safetensors, pytorch, keras or onnx; else by the suffix")] = None,
    half: Annotated[bool, typer.Option("--half", help="weights in half precision (safetensors)")] = False,
    anonymous: Annotated[
        bool, typer.Option("--anonymous/--with-keys", help="leave the keys of the training's cases out of the card")
    ] = True,
    card: CardOption = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a model into a file to share, in this project's format or another's."""
    from genesis3d.workflows.models import ExportConfig, export_model

    given: dict[str, Any] = {"model": model, "out": out, "kind": kind, "half": half, "anonymous": anonymous}
    given |= {"overwrite": overwrite, "card": _text(card)}
    result = _follow(export_model(ExportConfig.parse(given, "models export")))
    if result.get("licence"):
        print(f"licence: {result['licence']}")


def ensemble_command(
    models: Annotated[list[str], typer.Argument(metavar="NAME...", help="two or more models of one kind")],
    out: Annotated[str, typer.Option("--out", help="file to write (.safetensors)")],
    half: Annotated[bool, typer.Option("--half", help="weights in half precision")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Write several models as one, whose answer is the mean of theirs."""
    from genesis3d.workflows.ensembling import EnsembleConfig, ensemble_models

    given = {"models": tuple(models), "out": out, "half": half, "overwrite": overwrite}
    result = _follow(ensemble_models(EnsembleConfig.parse(given, "models ensemble")))
    if result.get("licence"):
        print(f"licence: {result['licence']}")


def remove_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="name of a model of yours in the library")],
) -> None:
    """Delete a model of yours from the library; one that ships stays."""
    from genesis3d.networks.library import Library

    Library().remove(name)
    print(f"removed {name}")


def _follow(events: Iterator[Event]) -> dict[str, Any]:
    """Print what an import or export says and return its result."""
    from genesis3d.events import Finished, Saved, Warned

    for event in events:
        if isinstance(event, Saved):
            print(f"saved {event.path}")
        elif isinstance(event, Warned):
            print(f"warning: {event.message}", file=sys.stderr)
        elif isinstance(event, Finished):
            return event.result
    return {}


def _entry(model: LibraryModel) -> dict[str, Any]:
    card = None if model.card is None else model.card.to_dict()
    return {
        "name": model.name,
        "path": str(model.path),
        "shipped": model.shipped,
        "problem": model.problem,
        "card": card,
    }


def _row(model: LibraryModel) -> list[str]:
    from genesis3d.networks.describe import scans_line

    origin = "shipped" if model.shipped else "yours"
    if model.card is None:
        return [model.name, origin, "-", "-", f"cannot be used: {model.problem}"]
    network = f"{model.card.network.name}, {model.card.network.parameters() / 1e6:.1f} M"
    return [model.name, origin, network, scans_line(model.card).replace(" · ", ", "), model.card.title]


def _block(label: str, text: str) -> str:
    import textwrap

    lines = [part for line in text.splitlines() for part in textwrap.wrap(line, 96) or [""]]
    return "\n".join(f"{label if i == 0 else '':<11} {line}" for i, line in enumerate(lines))


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
