"""The options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["ConfigFile", "Device", "Json", "Precision", "Scan", "Set"]

Scan = Annotated[str, typer.Argument(help="DICOM folder, zip, NIfTI, NRRD or MetaImage file")]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda:N or mps")]
Precision = Annotated[str | None, typer.Option(help="auto, 32 or bf16 (restore and anomaly: also 16)")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="YAML or JSON file of settings; options here win")]
Set = Annotated[list[str] | None, typer.Option("--set", help="one setting, KEY=VALUE; may be repeated")]
Json = Annotated[bool, typer.Option("--json", help="print events as JSON lines")]
