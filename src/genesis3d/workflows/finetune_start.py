"""What a fine-tuning begins with: settings that a model or a run decides, network and weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from genesis3d.data.labelled import fitting_patch
from genesis3d.errors import ConfigError, RunError
from genesis3d.networks.classifier import Classifier
from genesis3d.networks.model_file import read_card
from genesis3d.networks.transfer import single

if TYPE_CHECKING:
    from torch import nn

    from genesis3d.networks import Network
    from genesis3d.networks.transfer import Transferred
    from genesis3d.workflows.finetune_config import FinetuneConfig
    from genesis3d.workflows.finetune_learning import TargetCases

__all__ = ["as_the_model", "as_the_run", "built", "resolved", "unmirrored"]

_LEFT_RIGHT = 2  # the axis W of a canonical scan


def as_the_model(config: FinetuneConfig) -> FinetuneConfig:
    """Return ``config`` with what it leaves open as its model was trained: intensity, spacing, sub-volume.

    Raises
    ------
    ModelError
        When there is no such model.
    """
    if config.model is None:
        return config
    card = single(read_card(config.model), config.model)
    intensity = config.targets.intensity or card.intensity
    spacing = config.targets.spacing or card.working_spacing
    if config.classifies:  # the cases decide how large a sub-volume is, and boxes keep their voxels
        spacing = spacing if config.classified.box is None else None
        return config.replaced(classified=config.classified.replaced(intensity=intensity, spacing=spacing))
    data = config.data.replaced(intensity=intensity, spacing=spacing)
    return config.replaced(data=data, sampling=config.sampling.replaced(patch=config.sampling.patch or card.patch))


def as_the_run(config: FinetuneConfig, stored: FinetuneConfig) -> FinetuneConfig:
    """Return ``config`` for a run that was begun with ``stored``: what shapes its network stays.

    Raises
    ------
    RunError
        For another task.
    """
    if config.task.name != stored.task.name:
        raise RunError(f"task: expected {stored.task.name}, which the run was begun with, got {config.task.name}")
    data = config.data.replaced(
        classes=config.data.classes or stored.data.classes,
        intensity=stored.data.intensity,
        spacing=stored.data.spacing,
    )
    classified = config.classified.replaced(
        intensity=stored.classified.intensity, spacing=stored.classified.spacing, box=stored.classified.box
    )
    sampling = config.sampling.replaced(patch=config.sampling.patch or stored.sampling.patch)
    kept = {name: getattr(stored, name) for name in ("model", "parts", "initialisation", "network")}
    return config.replaced(data=data, classified=classified, sampling=sampling, **kept)


def resolved(config: FinetuneConfig, loaded: TargetCases, *, begun: bool) -> FinetuneConfig:
    """Return ``config`` with what the scans decide: classes, the network's channels, the sub-volume.

    Raises
    ------
    ConfigError
        For scans or labels that do not fit the network of a run that was ``begun``, or of the model.
    """
    channels, classes = loaded.volumes[0].channels, len(loaded.classes)
    if begun:
        network = config.network
        if (network.in_channels, network.out_channels) != (channels, classes):
            names = ", ".join(one.name for one in loaded.classes)
            raise ConfigError(
                f"labels: expected {network.out_channels} classes and {network.in_channels} channel(s), as the run was "
                f"begun with, got {classes} ({names}) and {channels}; begin a new run for other classes"
            )
    else:
        network = _network(config, channels, classes)
    patch = config.sampling.patch
    if patch is None:
        shape = np.median([volume.geometry.shape for volume in loaded.volumes], axis=0).tolist()
        spacing = np.median([volume.geometry.spacing for volume in loaded.volumes], axis=0).tolist()
        patch = fitting_patch(shape, spacing, config.sampling.voxels, network.stride)
    network.check((channels, *patch))
    changes = {"network": network, "sampling": config.sampling.replaced(patch=patch)}
    intensity = config.targets.intensity or loaded.intensity
    if config.classifies:
        return config.replaced(classified=config.classified.replaced(intensity=intensity), **changes)
    data = config.data.replaced(classes=config.data.classes or loaded.classes, intensity=intensity)
    return config.replaced(data=data, **changes)


def unmirrored(config: FinetuneConfig, loaded: TargetCases) -> tuple[FinetuneConfig, str]:
    """Return ``config`` without mirroring left and right where a class is named after a side, and a sentence then."""
    from genesis3d.workflows.segment_checks import sided

    axes = config.augmentation.flip_axes
    if _LEFT_RIGHT not in axes or not sided(loaded.classes):
        return config, ""
    kept = tuple(axis for axis in axes if axis != _LEFT_RIGHT)
    sentence = "left and right are not mirrored in training: a class is named after a side"
    return config.replaced(augmentation=config.augmentation.replaced(flip_axes=kept)), sentence


def built(config: FinetuneConfig, *, begun: bool) -> tuple[nn.Module, Transferred | None]:
    """Return the task with the weights it begins with, and what of them a model gave.

    Raises
    ------
    ModelError
        When the model's network is another.
    """
    task = config.task.build(config.network, config.seed)
    if begun:
        return task, None
    module: nn.Module = task.network  # type: ignore[assignment]  # a task's network
    if config.initialisation != "default":
        from genesis3d.networks.initialising import initialise

        initialise(module, config.initialisation, config.seed)
    if config.model is None:
        return task, None
    from genesis3d.networks.transfer import transfer

    classes = () if config.classifies else config.data.classes
    return task, transfer(config.model, config.network, module, config.parts, classes)


def _network(config: FinetuneConfig, channels: int, classes: int) -> Network:
    """Return the network that fits scans and classes: the model's, or that of the configuration."""
    given, ends = config.network, {"in_channels": channels, "out_channels": classes}
    body = given.body
    if config.model is not None:
        body = read_card(config.model).network.body
    if not config.classifies:
        return body.replaced(**ends)
    shell = given if isinstance(given, Classifier) else Classifier()
    return shell.replaced(encoder=body, **ends)
