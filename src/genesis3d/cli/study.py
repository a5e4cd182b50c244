"""The command study: what pre-training, labels and seeds make of a target, on the user's own data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genesis3d.cli.options import Json, Set
from genesis3d.cli.showing import settings


def add_to(app: typer.Typer) -> None:
    """Register this group's command on ``app``."""
    app.command("study")(study_command)


def study_command(
    config: Annotated[Path, typer.Argument(help="YAML file of the study (docs/study.md)")],
    out_dir: Annotated[Path, typer.Option("--out-dir", help="folder of the study; begun there, it goes on")],
    jobs: Annotated[int, typer.Option(min=1, max=64, help="processes that train at the same time")] = 1,
    report: Annotated[bool, typer.Option("--report", help="train nothing, write the report of what is there")] = False,
    set_: Set = None,
    json: Json = False,
) -> None:
    """Train each arm on few labels, several times, test on held-out scans; report differences with their intervals."""
    from genesis3d.cli.signals import stopped_by_signals
    from genesis3d.workflows.study import StudyConfig, study

    made = StudyConfig.parse(settings(config, {}, set_), str(config))
    with stopped_by_signals() as control:
        for event in study(made, out_dir, control, jobs=jobs, train=not report):
            if json:
                print(event.to_json(), flush=True)
            elif event.kind == "stepped":
                dice = event.metrics.get("dice")
                print(
                    f"training {event.step} of {event.total}" + (f": Dice {dice:.3f}" if dice is not None else ""),
                    flush=True,
                )
            elif event.kind == "warned":
                print(f"warning: {event.message}", flush=True)
            elif event.kind == "saved":
                print(event.path)
            elif event.kind == "finished":
                print(
                    "\n".join(
                        [
                            *(["stopped; the same command goes on"] if event.cancelled else []),
                            *event.result.get("findings", []),
                        ]
                    )
                )
