"""What a run of a study hands to finetune: preset, study, arm and run put together, all arms alike."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genesis3d.data.targets import LabelledCases
    from genesis3d.workflows.finetune import FinetuneConfig
    from genesis3d.workflows.study_config import ArmSettings, StudyConfig
    from genesis3d.workflows.study_plan import Run

__all__ = ["agrees", "identity", "put", "run_settings", "shared_settings"]

# Saves of a run in the middle, so that a killed study goes on there; short runs never save.
SAVE_SECONDS = 60.0
NEVER = 10**9


def put(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``values`` with ``changes``: nested mappings, or dotted keys (``optimiser.lr: 0.001``).

    A mapping with a ``name`` (a network, a task) replaces the one that was there whole.
    """
    result = dict(values)
    for key, value in changes.items():
        first, _, rest = str(key).partition(".")
        before = result.get(first)
        inner = {rest: value} if rest else value
        if isinstance(before, Mapping) and isinstance(inner, Mapping) and (rest or "name" not in inner):
            result[first] = put(before, inner)
        else:
            result[first] = {rest: value} if rest else value
    return result


def shared_settings(config: StudyConfig) -> dict[str, Any]:
    """Return network and sub-volume of the first arm that begins with a model: what the others take, to be alike.

    Raises
    ------
    ConfigError
        When no arm begins with a model and no network is set.
    """
    from genesis3d.networks.model_file import model_path, read_card

    model = next((arm.model for arm in config.arms.values() if arm.model), None)
    if model is None:
        return {}
    card = read_card(model_path(model))
    found: dict[str, Any] = {"network": card.network.body.to_dict()}
    return found | ({"sampling": {"patch": list(card.patch)}} if card.patch is not None else {})


def run_settings(config: StudyConfig, run: Run, rate: float | None, cases: LabelledCases) -> FinetuneConfig:
    """Return the settings of one training; raises ConfigError naming what does not fit."""
    from genesis3d.workflows.finetune import FinetuneConfig, finetune_preset

    arm = config.arms[run.arm]
    values = put(finetune_preset(config.preset).to_dict(), {"precision": "32"} | shared_settings(config))
    values = put(put(values, config.settings), arm.settings)
    values = put(values, _of_arm(arm)) | {"steps": run.steps, "minutes": None, "seed": run.seed}
    if rate is not None:
        values = put(values, {"optimiser.lr": rate})
    names = [cases.cases[index].name for index in run.held_out]
    split = {"hold_out": 0, "names": names, "folds": None, "file": None, "fraction": 1.0, "count": None}
    values["data"] = put(config.target.to_dict(), {"split": split})
    every = config.measure_every or run.steps
    values["keep"] = {
        "seconds": SAVE_SECONDS, "every": every, "checkpoints": 0 if config.measure_every is None else 1,
        "samples_every": NEVER, "samples": 1,
    }  # fmt: skip
    if not run.held_out:
        values = put(values, {"validation": {"every": run.steps, "patience": None}})
    return FinetuneConfig.parse(values, f"arm {run.arm}")


def identity(config: StudyConfig, run: Run, settings: FinetuneConfig, cases: LabelledCases) -> dict[str, Any]:
    """Return, as plain values, everything that decides a run's result but the machine and where files lie."""
    values = settings.to_dict()
    for name in ("data", "model", "device", "threads", "keep"):
        del values[name]
    target = config.target.to_dict()
    target = {name: target[name] for name in ("classes", "unlabelled", "ignore", "intensity", "spacing", "channels")}
    named = {
        side: [[cases.cases[i].name, list(cases.volumes[i].data.shape)] for i in getattr(run, side)]
        for side in ("training", "held_out", "test")
    }
    found = {
        "run": run.key, "finetune": values, "target": target, "model": _weights(settings.model), "cases": named,
        "classes": [one.to_dict() for one in cases.classes], "corruption": run.corruption, "tested": config.tested,
        "segment": config.segment, "distances": config.distances, "measure_every": config.measure_every,
    }  # fmt: skip
    plain: dict[str, Any] = json.loads(json.dumps(found))
    return plain


def agrees(stored: Any, now: Any) -> bool:
    """Whether two identities are of one run: equal wherever both say something.

    A setting that came with a later version is no reason to do finished runs again.
    """
    if isinstance(stored, Mapping) and isinstance(now, Mapping):
        return all(agrees(stored[key], now[key]) for key in stored.keys() & now.keys())
    return bool(stored == now)


def _of_arm(arm: ArmSettings) -> dict[str, Any]:
    found: dict[str, Any] = {"model": arm.model}
    if arm.model is not None:
        found["parts"] = arm.parts
    if arm.initialisation is not None:
        found["initialisation"] = arm.initialisation
    return found


def _weights(model: str | None) -> str:
    from genesis3d.networks.model_file import model_path

    if model is None:
        return ""
    path = model_path(model)
    return _sha256(path, path.stat().st_size, path.stat().st_mtime_ns)


@lru_cache(maxsize=64)
def _sha256(path: Path, _size: int, _changed: int) -> str:
    return sha256(path.read_bytes()).hexdigest()
