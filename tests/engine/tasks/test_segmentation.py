from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch
from torch import nn

from genesis3d.errors import ConfigError
from genesis3d.labels import IGNORE
from genesis3d.networks.unet3d import UNet3d
from genesis3d.tasks.segmentation import Segmentation
from genesis3d.tasks.segmentation_module import dice_of_sums


class Fixed(nn.Module):
    """Gives the logits it holds, whatever it sees."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.logits


def run(logits: torch.Tensor, target: torch.Tensor, **settings: object) -> tuple[dict[str, torch.Tensor], nn.Parameter]:
    module = Segmentation.parse(settings).build(Fixed(logits))
    result = module(torch.zeros(len(logits), 1, *logits.shape[2:]), target)
    result["loss"].backward()
    return result, module.network.logits


def row(*classes: int) -> torch.Tensor:
    """A target of one sub-volume, one voxel after the other."""
    return torch.tensor(classes, dtype=torch.uint8).reshape(1, 1, 1, 1, -1)


def odds(*foreground: float) -> torch.Tensor:
    """Logits of two classes with these probabilities of the second one."""
    p = torch.tensor(foreground)
    return torch.stack([(1 - p).log(), p.log()]).reshape(1, 2, 1, 1, -1)


def test_both_terms_by_hand_with_an_unlabelled_voxel() -> None:
    logits, target = odds(0.9, 0.2, 0.4, 0.99), row(1, 0, 1, IGNORE)
    dice = 1 - (2 * (0.9 + 0.4) + 1e-5) / ((0.9 + 0.2 + 0.4) + 2 + 1e-5)
    entropy = -(math.log(0.9) + math.log(0.8) + math.log(0.4)) / 3
    assert float(run(logits, target)[0]["loss"].detach()) == pytest.approx(dice + entropy, rel=1e-5)
    weighted = run(logits, target, dice=0.5, cross_entropy=2.0)[0]["loss"]
    assert float(weighted.detach()) == pytest.approx(0.5 * dice + 2 * entropy, rel=1e-5)
    back = 1 - (2 * 0.8 + 1e-5) / ((0.1 + 0.8 + 0.6) + 1 + 1e-5)
    both = run(logits, target, cross_entropy=0, background=True)[0]["loss"]
    assert float(both.detach()) == pytest.approx((dice + back) / 2, rel=1e-5)


@pytest.mark.parametrize("settings", [{}, {"batch_dice": False}, {"class_weights": "inverse", "label_smoothing": 0.1}])
def test_an_unlabelled_voxel_changes_nothing_and_gets_no_gradient(settings: dict[str, object]) -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(2, 3, 2, 3, 4, generator=generator)
    target = torch.randint(0, 3, (2, 1, 2, 3, 4), generator=generator).to(torch.uint8)
    target[0, :, 1] = IGNORE
    target[1, :, :, 2] = IGNORE
    other = torch.where((target == IGNORE), logits * 7 - 3, logits)
    first, weights = run(logits, target, **settings)
    second, _ = run(other, target, **settings)
    assert torch.equal(first["loss"], second["loss"])
    assert all(torch.equal(first[name], second[name]) for name in ("dice", "intersection", "predicted", "reference"))
    outside = (target == IGNORE).expand_as(logits)
    assert weights.grad is not None
    assert not weights.grad[outside].any()
    assert weights.grad[~outside].all()


def test_what_is_cut_away_and_what_is_unlabelled_give_the_same_loss() -> None:
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(2, 4, 6, 4, 4, generator=generator)
    target = torch.randint(0, 4, (2, 1, 6, 4, 4), generator=generator)
    hidden = target.clone()
    hidden[:, :, 4:] = IGNORE
    whole = run(logits, hidden, class_weights="inverse")[0]
    cut = run(logits[:, :, :4].clone(), target[:, :, :4].clone(), class_weights="inverse")[0]
    torch.testing.assert_close(whole["loss"], cut["loss"])
    assert torch.equal(whole["reference"], cut["reference"])


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("settings", [{}, {"batch_dice": False}, {"class_weights": "inverse"}, {"dice": 0.0}])
def test_a_batch_without_labels_has_no_loss_and_finite_gradients(settings: dict[str, object], classes: int) -> None:
    network = UNet3d(width=2, out_channels=classes)
    module = Segmentation.parse(settings).build(network)
    target = torch.full((2, 1, 8, 8, 16), IGNORE, dtype=torch.uint8)
    result = module(torch.rand(2, 1, 8, 8, 16), target)
    result["loss"].backward()
    assert float(result["loss"].detach()) == 0
    assert all(p.grad is not None and not p.grad.any() for p in module.parameters())
    assert int(result["reference"].sum()) == 0
    assert float(result["dice"]) == 1
    assert module.vitals(result["output"], target) == {"output_std": 0.0, "target_std": 0.0}


def test_the_batch_dice_takes_the_batch_as_one_volume() -> None:
    logits = torch.cat([odds(0.9, 0.1), odds(0.2, 0.3)])
    target = torch.cat([row(1, 0), row(0, 0)])
    together = 1 - (2 * 0.9 + 1e-5) / (1.5 + 1 + 1e-5)
    apart = (1 - (1.8 + 1e-5) / (2.0 + 1e-5) + 1 - 1e-5 / (0.5 + 1e-5)) / 2
    assert float(run(logits, target, cross_entropy=0)[0]["loss"].detach()) == pytest.approx(together, rel=1e-5)
    alone = run(logits, target, cross_entropy=0, batch_dice=False)[0]["loss"]
    assert float(alone.detach()) == pytest.approx(apart, rel=1e-5)


def test_inverse_weights_let_every_class_count_alike() -> None:
    logits, target = odds(0.9, 0.2, 0.2, 0.3), row(1, 0, 0, 0)
    expected = (-math.log(0.9) - (2 * math.log(0.8) + math.log(0.7)) / 3) / 2
    found = run(logits, target, dice=0, class_weights="inverse")[0]["loss"]
    assert float(found.detach()) == pytest.approx(expected, rel=1e-5)
    only = run(odds(0.2, 0.3), row(0, IGNORE), dice=0, class_weights="inverse")[0]["loss"]
    assert float(only.detach()) == pytest.approx(-math.log(0.8), rel=1e-5)


def test_smoothing_is_that_of_torch() -> None:
    logits, target = torch.randn(1, 3, 1, 2, 4, generator=torch.Generator().manual_seed(3)), row(0, 1, 2, 2, 1, 0, 0, 0)
    expected = nn.functional.cross_entropy(logits, target.reshape(1, 1, 2, 4).long(), label_smoothing=0.2)
    found = run(logits, target.reshape(1, 1, 1, 2, 4), dice=0, label_smoothing=0.2)[0]["loss"]
    torch.testing.assert_close(found, expected)


def test_the_dice_of_many_batches_follows_from_their_sums() -> None:
    logits, target = odds(0.9, 0.8, 0.2, 0.9), row(1, 0, 1, IGNORE)
    first = run(logits, target)[0]
    assert first["intersection"].tolist() == [0, 1]
    assert first["predicted"].tolist() == [1, 2]
    assert first["reference"].tolist() == [1, 2]
    assert float(first["dice"]) == pytest.approx(2 * 1 / 4)
    second = run(odds(0.6, 0.7), row(1, 1))[0]
    sums = [first[name] + second[name] for name in ("intersection", "predicted", "reference")]
    assert float(dice_of_sums(*sums)) == pytest.approx(2 * 3 / 8)
    assert float(run(odds(0.1, 0.2), row(0, 0))[0]["dice"]) == 1
    assert float(run(odds(0.6, 0.2), row(0, 0))[0]["dice"]) == 0


def test_a_class_that_neither_names_is_left_out_of_the_mean() -> None:
    k = torch.tensor
    assert float(dice_of_sums(k([9, 2, 0, 0]), k([9, 3, 0, 1]), k([9, 3, 0, 0]))) == pytest.approx((4 / 6 + 0) / 2)


def test_the_loss_is_in_32_bits_under_autocast() -> None:
    module = Segmentation().build(UNet3d(width=4, out_channels=3))
    target = torch.randint(0, 3, (2, 1, 8, 16, 16), generator=torch.Generator().manual_seed(4))
    x = torch.rand(2, 1, 8, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        assert module.network(x).dtype == torch.bfloat16
        result = module(x, target)
    assert result["loss"].dtype == result["output"].dtype == torch.float32
    result["loss"].backward()
    assert all(torch.isfinite(p.grad).all() for p in module.parameters() if p.grad is not None)


def test_what_does_not_fit_is_refused_in_one_sentence() -> None:
    with pytest.raises(ConfigError, match="at least 2 output channels, one a class, got 1"):
        Segmentation().build(UNet3d(width=2))
    with pytest.raises(ConfigError, match="a weight above 0 for dice or cross_entropy"):
        Segmentation.parse({"dice": 0, "cross_entropy": 0})
    module = Segmentation().build(UNet3d(width=2, out_channels=2))
    x = torch.rand(1, 1, 8, 8, 16)
    with pytest.raises(ConfigError, match="class indices from 0 to 1 or 255, got 2"):
        module(x, torch.full((1, 1, 8, 8, 16), 2))
    with pytest.raises(ConfigError, match=r"a target of shape \(1, 1, 8, 8, 16\), got \(1, 8, 8, 16\)"):
        module(x, torch.zeros(1, 8, 8, 16, dtype=torch.uint8))


def test_a_dead_output_is_told_from_one_that_hardly_knows_a_rare_class() -> None:
    from genesis3d.training.collapse import Collapsed, CollapseGuard

    target = torch.zeros(1, 1, 4, 8, 8, dtype=torch.uint8)
    target[..., 2:4] = 1
    module = Segmentation().build(UNet3d(width=2, out_channels=2))
    faint = torch.full((1, 2, 4, 8, 8), 0.01)
    faint[:, 1, :, :4] += 0.002
    guard = CollapseGuard()
    for step in range(200):
        guard.check(step, {"loss": 50.0 if step else 1.0, "gradient_norm": 1.0} | module.vitals(faint, target))
    assert guard.flat_steps == guard.lost_steps == guard.exploded_steps == 0
    same = {"loss": 1.0, "gradient_norm": 1.0} | module.vitals(torch.full((1, 2, 4, 8, 8), 0.5), target)
    for step in range(59):
        guard.check(step, same)
    with pytest.raises(Collapsed, match="the output has been constant"):
        guard.check(59, same)


def test_naming_the_tasks_loads_neither_torch_nor_monai() -> None:
    code = (
        "import sys; from genesis3d.tasks import TASKS; TASKS.parse('segmentation'); TASKS.parse('classification');"
        "from genesis3d.networks import NETWORKS; NETWORKS.parse('classifier').parameters()\n"
        "print([name for name in ('torch', 'monai') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
