"""Data sets that describe themselves: the Medical Segmentation Decathlon's dataset.json, and nnU-Net's raw folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesis3d.errors import ConfigError
from genesis3d.labels import LabelClass, named

if TYPE_CHECKING:
    from genesis3d.data.targets import TargetData
    from genesis3d.data.targets_found import Found

__all__ = ["described"]

MODALITIES = {"CT": "CT", "MR": "MR", "MRI": "MR", "T1": "MR", "T2": "MR", "FLAIR": "MR", "PET": "PT"}


def described(path: Path, data: TargetData) -> Found | None:
    """Return the labelled cases of the data set at ``path`` with names of its classes; None for a plain folder.

    Parameters
    ----------
    path : a dataset.json, or the folder that holds it
    data : label suffix, channels and patients are taken from it

    Raises
    ------
    ConfigError
        When the file is not there or describes no training cases.
    """
    file = path / "dataset.json" if path.is_dir() else path
    if not file.is_file():
        if path.is_dir():
            return None
        raise ConfigError(f"{path}: expected a dataset.json or a folder, found nothing there")
    content = _content(file)
    found = _nnunet(file, content, data) if "channel_names" in content else _decathlon(file, content, data)
    known, ignore = _classes(file, content.get("labels", {}))
    found.known = known
    found.ignore = ignore
    return found


def _content(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ConfigError(f"{file}: expected JSON, got {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{file}: expected a description of a data set, got {type(content).__name__}")
    return content


def _nnunet(file: Path, content: dict[str, Any], data: TargetData) -> Found:
    """nnU-Net v2: imagesTr/CASE_0000.ext, one file a channel, labelsTr/CASE.ext."""
    from genesis3d.data.targets_found import found_in

    names = content["channel_names"]
    channels = tuple(f"_{int(number):04d}" for number in names)
    images, labels = _folder(file, "imagesTr"), _folder(file, "labelsTr")
    found = found_in((images,), (labels,), data.replaced(channels=channels))
    found.modality = _modality(names)
    return found


def _decathlon(file: Path, content: dict[str, Any], data: TargetData) -> Found:
    """Decathlon: a list of image and label under training; several modalities are components of one file."""
    from dataclasses import replace

    from genesis3d.data.targets_found import Found, found_in

    training = content.get("training")
    if not isinstance(training, list) or not training:
        raise ConfigError(f"{file}: expected training cases (Decathlon) or channel_names (nnU-Net), got neither")
    if not all(isinstance(pair, dict) and {"image", "label"} <= pair.keys() for pair in training):
        raise ConfigError(f"{file}: expected an image and a label for each training case")
    images = [str(file.parent / str(pair["image"])) for pair in training]
    labels = [str(file.parent / str(pair["label"])) for pair in training]
    modality = content.get("modality", {})
    found = found_in(images, labels, data)
    components = max(1, len(modality)) if isinstance(modality, dict) else 1
    described = Found((replace(target, components=components) for target in found), found.skipped)
    described.modality = _modality(modality)
    return described


def _folder(file: Path, name: str) -> str:
    folder = file.parent / name
    if not folder.is_dir():
        raise ConfigError(f"{file}: expected a folder {name} beside it, found none")
    return str(folder)


def _modality(names: Any) -> str | None:
    """Return the one modality that all channels have by the data set's word, as DICOM calls it; else None."""
    values = names.values() if isinstance(names, dict) else []
    found = {MODALITIES.get(str(name).strip().upper()) for name in values}
    return found.pop() if len(found) == 1 else None


def _classes(file: Path, labels: Any) -> tuple[tuple[LabelClass, ...], int | None]:
    """Return the classes and the value of unlabelled voxels: Decathlon names values, nnU-Net gives names values."""
    if not isinstance(labels, dict):
        raise ConfigError(f"{file}: expected labels as names and values, got {type(labels).__name__}")
    known: list[LabelClass] = []
    ignore = None
    for key, value in labels.items():
        name, number = (str(value), key) if str(key).isdigit() else (str(key), value)
        if isinstance(number, list):
            raise ConfigError(f"{file}: expected one value a class, got regions ({name} is {number})")
        if not str(number).isdigit():
            raise ConfigError(f"{file}: expected whole numbers as label values, got {number!r} for {name}")
        if name.lower() == "ignore":
            ignore = int(number)
        else:
            known.append(named(int(number), name))
    return tuple(known), ignore
