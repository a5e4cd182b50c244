"""How good a result is: figures against a reference, and what differences between methods mean."""

from genesis3d.evaluation.classification import classification_figures
from genesis3d.evaluation.segmentation import segmentation_figures
from genesis3d.evaluation.statistics import paired_bootstrap, summary, t_test

__all__ = ["classification_figures", "paired_bootstrap", "segmentation_figures", "summary", "t_test"]
