"""What the commands here share: the configuration, trainings that are done once, and where results go."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from genesis3d.errors import GenesisError, RunError
from genesis3d.events import Failed
from genesis3d.training.rundir import RunDir
from genesis3d.workflows.pretrain_config import PretrainConfig

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "science" / "genesis-chest-ct.yaml"
DOCS = ROOT / "docs"


def training_scans(data: Path) -> tuple[str, ...]:
    """Return the scans of the training: the folder chest_ct and the DICOM series lidc-0001 under ``data``."""
    scans = (data / "chest_ct", data / "dicom" / "lidc-0001.zip")
    for scan in scans:
        if not scan.exists():
            raise RunError(f"{data}: expected chest_ct/ and dicom/lidc-0001.zip in it, found no {scan.name}")
    return tuple(str(scan.absolute()) for scan in scans)


def trained(run: Path, config: PretrainConfig | None) -> Path:
    """Return ``run``, pre-trained by ``config`` unless it is there; a run that was stopped goes on.

    Without a configuration the run is taken as it is.
    """
    from genesis3d.cli.progress import plain_line
    from genesis3d.workflows.pretrain import pretrain

    directory = RunDir(run)
    if config is None or directory.state() == "finished":
        return run
    resume = directory.begun()
    if resume:
        config = PretrainConfig.parse(directory.config(), run.name)
    for event in pretrain(config, run, resume=resume):
        if isinstance(event, Failed):
            raise RunError(event.message)
        line = plain_line(event)
        if line:
            print(line, flush=True)
    return run


def run_command(main: Callable[[], None]) -> None:
    """Run a command; an expected error is one sentence and exit status 2."""
    try:
        main()
    except GenesisError as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        raise SystemExit(2) from error
