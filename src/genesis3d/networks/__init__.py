"""Networks by name: frozen configurations that know their size and build their torch module when asked.

A network maps ``(B, in_channels, D, H, W)`` to logits ``(B, out_channels, D, H, W)``; what the logits mean (an
activation) belongs to the task and stands in the model file.
"""

from genesis3d.networks.base import NETWORKS, Network

__all__ = ["NETWORKS", "Network"]
