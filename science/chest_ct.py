"""Pre-train genesis-chest-ct, export it with its card, draw its curves and its gallery, and write its page.

python science/chest_ct.py DATA [--run-dir DIR] [--width 32] [--export-only]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import CONFIG, DOCS, ROOT, run_command, trained, training_scans

from genesis3d.errors import ModelError
from genesis3d.networks.card import DataSource, ModelCard
from genesis3d.networks.describe import scans_line
from genesis3d.networks.model_file import LoadedModel, read_model, write_model
from genesis3d.workflows.curves import write_curves
from genesis3d.workflows.gallery import GalleryConfig, gallery
from genesis3d.workflows.pretrain_config import PretrainConfig

if TYPE_CHECKING:
    import torch

NAME = "genesis-chest-ct"
MOST_BYTES = 6_000_000
AS_ROUNDED = 2e-3  # mean difference in [0, 1] that half precision may make

TCIA = "The Cancer Imaging Archive"
COLLECTION = "https://www.cancerimagingarchive.net/collection"
SOURCES = (
    DataSource(name="LIDC-IDRI-0001, LIDC-IDRI-0002", licence="CC BY 3.0", by=f"LIDC-IDRI, {TCIA}",
               url=f"{COLLECTION}/lidc-idri/", scans=2),
    DataSource(name="CPTAC-LSCC", licence="CC BY", by=f"CPTAC, {TCIA}", url=f"{COLLECTION}/cptac-lscc/", scans=1),
    DataSource(name="POPI model", licence="freely available, to be incorporated into other work",
               by="Centre Leon Berard and CREATIS, Lyon", scans=1),
    DataSource(name="CMB-CRC", licence="CC BY", by=f"Cancer Moonshot Biobank, {TCIA}", url=f"{COLLECTION}/cmb-crc/",
               scans=1),
    DataSource(name="RIDER Pilot", licence="CC BY", by=f"RIDER, {TCIA}", url=f"{COLLECTION}/rider-pilot/", scans=1),
    DataSource(name="Lung-Fused-CT-Pathology", licence="CC BY", by=TCIA,
               url=f"{COLLECTION}/lung-fused-ct-pathology/", scans=1),
    DataSource(name="ACRIN-FLT-Breast", licence="CC BY", by=f"ACRIN, {TCIA}", url=f"{COLLECTION}/acrin-flt-breast/",
               scans=1),
    DataSource(name="CPTAC-PDA", licence="CC BY", by=f"CPTAC, {TCIA}", url=f"{COLLECTION}/cptac-pda/", scans=1),
)  # fmt: skip
LICENCE = (
    "Weights: CC BY 4.0, to be attributed with the data sets named (CC BY, the LIDC-IDRI scans CC BY 3.0; the POPI "
    "model is free to incorporate). Code: Apache-2.0."
)
DESCRIPTION = (
    "A 3D U-Net of width {width} pre-trained by restoration (Models Genesis) on sub-volumes of chest CTs: it restores "
    "sub-volumes that were shuffled, changed in intensity, or partly hidden. A start for fine-tuning and for the "
    "anomaly map."
)
LIMITS = (
    "Nine public scans only: trained on eight, its weights chosen by the ninth (lidc-0002). It knows chest CT in "
    "Hounsfield units only, restores smoothly rather than exactly, and has been validated for no task. Not for "
    "clinical use."
)


def card_fields(width: int) -> dict[str, Any]:
    """Return what the card says beyond what the training wrote into it."""
    return {
        "title": NAME if width == 12 else f"{NAME}-width-{width}",
        "description": DESCRIPTION.format(width=width),
        "limits": LIMITS,
        "modality": "CT",
        "trained_by": "the napari-genesis developers",
        "attribution": SOURCES,
        "licence": LICENCE,
    }


def export(run: Path, out: Path) -> ModelCard:
    """Write the best model of ``run`` in half precision with its full card, and check what was written."""
    model = read_model(run)
    width = int(getattr(model.card.network, "width", 0))
    card = model.card.replaced(**card_fields(width)).anonymous()
    write_model(out, model.module, card, dtype="float16")
    size = out.stat().st_size
    if width == 12 and size > MOST_BYTES:
        raise ModelError(f"{out.name}: expected at most {MOST_BYTES} bytes to ship, got {size}")
    apart = _difference(model, read_model(out))
    if apart > AS_ROUNDED:
        raise ModelError(f"{out.name}: expected half precision to change the output little, got {apart:.4f} on average")
    print(f"{out.name}: step {card.step}, {size / 1e6:.2f} MB, half precision changes the output by {apart:.1e}")
    return card


def draw_gallery(scan: Path, model: Path, label: str, out: Path) -> None:
    """Draw what the model learnt, as ``genesis3d gallery`` does, on a scan that it was not trained on."""
    config = GalleryConfig(scan=str(scan), models=(f"{label}={model}",), out=str(out), at=(60, 100, 80), seed=2)
    for _event in gallery(config):
        pass


def page(card: ModelCard, size: int, curves: str, restored: str) -> str:
    """Return the model's page in Markdown."""
    network, figures, width = card.network, card.metrics, getattr(card.network, "width", 0)
    lines = [
        f"# {card.title}",
        "",
        card.description,
        "",
        f"**Limits.** {card.limits}",
        "",
        "| | |",
        "|---|---|",
        f"| network | {network.name}, width {width}, {network.parameters() / 1e6:.2f} million "
        f"parameters, {size / 1e6:.1f} MB in half precision |",
        f"| sub-volume | {' x '.join(str(n) for n in reversed(card.patch or ()))} voxels at the scans' own spacing |",
        f"| scans | {scans_line(card)} |",
        f"| best weights | of step {card.step} of {card.training.get('steps')}, by the held-out scan |",
        *(
            f"| error over the best constant's, {label} | {figures[name]:.3f} |"
            for name, label in (("ratio", "own chain"), ("official_ratio", "official chain"),
                                ("gentle_ratio", "gentle chain")) if name in figures
        ),
        f"| licence | {card.licence} |",
        "",
        f"![curves]({curves})",
        "",
        "What it makes of a sub-volume of lidc-0002, which it was not trained on (see [the gallery](gallery.md)):",
        "",
        f"![gallery]({restored})",
        "",
        "## Data",
        "",
        *(f"- {source.text()}" for source in card.attribution),
        "",
        "## Made by",
        "",
        "```",
        "python science/chest_ct.py DATA               # this model, from science/genesis-chest-ct.yaml",
        "python science/chest_ct.py DATA --width 32    # the full-size network from the same file, kept apart",
        "```",
        "",
        "DATA holds `chest_ct/*.nii.gz` and `dicom/lidc-0001.zip`. What each training scheme restores: "
        "[the twelve outcomes](twelve-outcomes.md).",
        "",
        "| network | file | error over the best constant's |",
        "|---|---|---|",
        f"| width {width} | {'ships' if width == 12 else 'kept apart'} | {figures.get('ratio', float('nan')):.3f} |",
        *(["| width 32 (16.3 million parameters) | not measured: needs a GPU | not measured |"] if width == 12 else []),
        "",
    ]  # fmt: skip
    return "\n".join(lines)


def _difference(model: LoadedModel, other: LoadedModel) -> float:
    """Return the mean difference of two models' outputs for one smooth input, in [0, 1]."""
    import torch

    x = torch.linspace(0, 1, 32)[:, None, None] * torch.linspace(0, 1, 32)[None, :, None]
    x = (x * torch.linspace(1, 0, 32)).reshape(1, 1, 32, 32, 32)
    with torch.inference_mode():
        outputs: list[torch.Tensor] = [each.module(x) for each in (model, other)]
    return float((outputs[0] - outputs[1]).abs().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with chest_ct/ and dicom/lidc-0001.zip")
    parser.add_argument("--run-dir", type=Path, help="the training; default runs/NAME")
    parser.add_argument("--out", type=Path, help="model file; default: where models ship, of width 32 beside the run")
    parser.add_argument("--docs", type=Path, default=DOCS, help="folder of the page, with images/ in it")
    parser.add_argument("--width", type=int, default=12, help="channels of the first convolution; 32 is full size")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda:N")
    parser.add_argument("--threads", type=int, help="processor threads; default: as the configuration says")
    parser.add_argument("--export-only", action="store_true", help="take the run as it is, however far it has come")
    given = parser.parse_args()
    name = NAME if given.width == 12 else f"{NAME}-width-{given.width}"
    run = given.run_dir or ROOT / "runs" / name
    shipped = ROOT / "src" / "genesis3d" / "models" / f"{NAME}.safetensors"
    out = given.out or (shipped if given.width == 12 else run.parent / f"{name}.safetensors")
    config = None
    if not given.export_only:
        base = PretrainConfig.from_yaml(CONFIG)
        network = base.network.replaced(width=given.width)
        config = base.replaced(
            cases=training_scans(given.data), network=network, device=given.device,
            threads=given.threads or base.threads, licence=LICENCE,
        )  # fmt: skip
    trained(run, config)
    card = export(run, out)
    curves, restored = (given.docs / "images" / f"{name}-{what}.png" for what in ("curves", "gallery"))
    write_curves([run], curves)
    draw_gallery(given.data / "chest_ct" / "lidc-0002.nii.gz", out, name, restored)
    written = given.docs / f"{name}.md"
    text = page(card, out.stat().st_size, f"images/{curves.name}", f"images/{restored.name}")
    written.write_text(text, encoding="utf-8")
    for path in (out, curves, restored, written):
        print(path)


if __name__ == "__main__":
    run_command(main)
