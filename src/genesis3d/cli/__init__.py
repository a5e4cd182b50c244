"""The command line: one verb a workflow, each file of this package a group of verbs.

The only place in the engine that prints.  Each module of :data:`GROUPS` has ``add_to(app)``, which registers its
commands and imports the engine's heavy parts only when a command runs.
"""

from __future__ import annotations

import importlib
import sys

import typer

from genesis3d.errors import GenesisError

GROUPS = (
    "scans", "prepare", "pretrain", "finetune", "segment", "evaluate", "study", "gallery", "models", "anomaly",
    "anomaly_more", "calibrate",
)  # fmt: skip


def build_app() -> typer.Typer:
    """Return the application with every group's commands."""
    app = typer.Typer(
        name="genesis3d",
        help="Self-supervised 3D learning on CT and MR. Research software: not for clinical use.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    for group in GROUPS:
        importlib.import_module(f"genesis3d.cli.{group}").add_to(app)
    return app


def main() -> None:
    """Run the command line; an expected error is one sentence on stderr and exit status 2."""
    try:
        build_app()()
    except GenesisError as error:
        print(f"genesis3d: {error}", file=sys.stderr)
        raise SystemExit(2) from error
