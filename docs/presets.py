"""Writes docs/presets.md from the code: ``python docs/presets.py``; ``--check`` only says whether it is up to date."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from genesis3d.transforms import CHAIN_PRESETS, Chain
from genesis3d.workflows.pretrain_config import NETWORK_SIZES, PRETRAIN_PRESETS, SCHEMES

PAGE = Path(__file__).with_suffix(".md")
# Said in their own table, or not a preset's to say.
ELSEWHERE = ("schema_version", "cases", "chain")
HEAD = """# Presets and schemes

Made by `python docs/presets.py` from the values in the code; a test fails when this page is older than they are.

Every preset is one value of `PretrainConfig` (`genesis3d.workflows.pretrain_config.PRETRAIN_PRESETS`), taken by
`genesis3d pretrain --preset NAME`; every row is a setting for `--set`. What each means, with its range, is said by
`PretrainConfig` itself and by the forms of the Pre-train dock. More in [pre-training](pretraining.md) and
[transformations](transforms.md).
"""
NOTES = """
- `opacity` takes no chain: what it puts into lungs is said by the settings `opacity`, and in
  [pre-training](pretraining.md#against-opacity).
- `official-pytorch` and `official-keras` are the published trainings, `paper` what the paper says (section 3.3) and,
  where it is silent (momentum, patience, batch), what the code does. An epoch is 14,240 / 6 = 2,373 steps; the held-out
  loss is measured after each.
- The published Keras training lowers the batch by 2 when memory ends; here the batch stays and is computed in parts.
- Keras averages the statistics of batch normalisation along the way; here they are measured before each measurement.
- All published trainings run at a learning rate of 1.0, at which users have seen the output become a constant; here
  that is noticed and recovered from (`recovery`).
"""


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings by their dotted names."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return "x".join(map(str, value)) or "none"
    if isinstance(value, float):
        return f"{value:g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def presets() -> tuple[str, str]:
    """Return the table of settings in which presets differ, and that of the others."""
    columns = {name: flat(preset.to_dict()) for name, preset in PRETRAIN_PRESETS.items()}
    names = dict.fromkeys(setting for column in columns.values() for setting in column)
    names = {name: None for name in names if name.partition(".")[0] not in ELSEWHERE}
    chains = {name: preset.chain for name, preset in PRETRAIN_PRESETS.items()}
    differing = [["chain", *(chain_name(chain) for chain in chains.values())]]
    common = []
    for setting in names:
        cells = [shown(column[setting]) if setting in column else "" for column in columns.values()]
        if len(set(cells)) > 1:
            differing.append([f"`{setting}`", *cells])
        else:
            common.append([f"`{setting}`", cells[0]])
    parameters = [f"{preset.network.parameters():,}" for preset in PRETRAIN_PRESETS.values()]
    differing.append(["parameters of the network", *parameters])
    return table(["setting", *(f"`{name}`" for name in columns)], differing), table(["setting", "value"], common)


def chain_name(chain: Chain) -> str:
    return next((f"`{name}`" for name, preset in CHAIN_PRESETS.items() if preset == chain), "its own")


def chains() -> str:
    """Return the table of chains: for each transformation its chance and the settings that are not its usual ones."""
    rows = []
    for name, chain in CHAIN_PRESETS.items():
        steps = [" or ".join(map(described, step.options, step_chances(step))) for step in chain.steps if step.enabled]
        rows.append([f"`{name}`", "; ".join(steps)])
    return table(["chain", "transformations, one after another, each with its chance"], rows)


def step_chances(step: Any) -> list[float]:
    return [step.p * share for share in step.shares]


def described(transform: Any, chance: float) -> str:
    usual = type(transform)().to_dict()
    changed = [f"{key} {shown(value)}" for key, value in transform.to_dict().items() if value != usual[key]]
    return f"{transform.name} {chance:.2g}" + (f" ({', '.join(changed)})" if changed else "")


def schemes() -> str:
    return table(["scheme", "chain"], [[f"`{scheme}`", f"`{chain}`"] for scheme, chain in SCHEMES.items()])


def networks() -> str:
    rows = [
        [size, str(network.width), network.decoder, f"{network.parameters():,}"]
        for size, network in NETWORK_SIZES.items()
    ]
    return table(["size", "width", "decoder", "parameters"], rows)


def page() -> str:
    differing, common = presets()
    return (
        f"{HEAD}\n## Where presets differ\n\n{differing}{NOTES}\n## What they share\n\n{common}"
        "\n## Schemes of the paper (section 4.1)\n\n`genesis3d pretrain --scheme NAME`; in the Pre-train dock these "
        f"are chains of the list.\n`combined` is the default chain; for the published chances take `--chain official` "
        f"or `--chain paper`.\n\n{schemes()}\n## Chains\n\n{chains()}"
        f"\n## Networks of the Pre-train dock\n\n{networks()}"
    )


def main() -> int:
    if "--check" in sys.argv[1:]:
        current = PAGE.exists() and PAGE.read_text(encoding="utf-8") == page()
        print(f"{PAGE.name} is {'up to date' if current else 'older than the code: run python docs/presets.py'}")
        return 0 if current else 1
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
