"""The torch module of the classifier; below ``encoder.`` the names are those of the network it borrows from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from genesis3d.networks.classifier import Classifier

__all__ = ["ClassifierModule"]


class ClassifierModule(nn.Module):
    """The network of :class:`genesis3d.networks.classifier.Classifier`: logits (B, out) from (B, in, D, H, W)."""

    def __init__(self, config: Classifier) -> None:
        super().__init__()
        self.config = config
        body = config.body
        self.encoder = _encoder(body._module(), (*(level[0] for level in body.parts.decoder), *body.parts.head))
        features = body.bottleneck
        layers: list[nn.Module] = []
        if config.head == "mlp":
            layers += [nn.Linear(features, config.hidden), nn.ReLU(inplace=True)]
            features = config.hidden
        self.head = nn.Sequential(*layers, nn.Linear(features, config.out_channels))

    def encode(self, x: Tensor) -> list[Tensor]:
        """Return the features of the encoder's levels, the deepest last."""
        features: list[Tensor] = self.encoder.encode(x)  # type: ignore[operator]  # every body with parts has it
        return features

    def forward(self, x: Tensor) -> Tensor:
        """Return logits; raises ConfigError for sizes that are not multiples of the stride."""
        self.config.check(x.shape)
        logits: Tensor = self.head(self.encode(x)[-1].mean(dim=(2, 3, 4)))
        return logits


def _encoder(module: nn.Module, others: tuple[str, ...]) -> nn.Module:
    """Return ``module`` without its decoder and head, the modules that ``others`` begin with."""
    for name in {prefix.partition(".")[0] for prefix in others}:
        delattr(module, name)
    return module
