"""Names and colours of labels in the headers of NRRD and MetaImage files, under the keys that 3D Slicer uses.

Keys: Segment0_Name, Segment0_LabelValue, Segment0_Color (red, green and blue from 0 to 1), as in a .seg.nrrd.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from genesis3d.labels import LARGEST, LabelClass, named

__all__ = ["read_classes", "segment_keys"]

KEY = re.compile(r"^Segment(\d+)_(Name|LabelValue|Color)\s*:?=\s*(.*?)\s*$")
LONGEST = 1 << 20
KEYED = (".nrrd", ".nhdr", ".mha", ".mhd")


def segment_keys(classes: Sequence[LabelClass]) -> dict[str, str]:
    """Return the keys and values that describe ``classes``, but the background."""
    keys: dict[str, str] = {}
    for index, one in enumerate(c for c in classes if c.value != 0):
        keys[f"Segment{index}_ID"] = f"Segment_{index + 1}"
        keys[f"Segment{index}_Name"] = " ".join(one.name.split())
        keys[f"Segment{index}_LabelValue"] = str(one.value)
        keys[f"Segment{index}_Layer"] = "0"
        if one.colour is not None:
            parts = (int(one.colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
            keys[f"Segment{index}_Color"] = " ".join(f"{part:.6g}" for part in parts)
    return keys


def read_classes(path: Path) -> tuple[LabelClass, ...]:
    """Return the classes that the header of ``path`` names, by value; none where it has no such keys, or is gone."""
    if not path.name.lower().endswith(KEYED):
        return ()
    try:
        with path.open("rb") as file:
            head = file.read(LONGEST)
    except OSError:
        return ()
    # the header ends with an empty line (NRRD), or at the voxels (MetaImage)
    head = head.replace(b"\r\n", b"\n").partition(b"\n\n")[0].partition(b"ElementDataFile")[0]
    segments: dict[str, dict[str, str]] = defaultdict(dict)
    for line in head.decode("utf-8", "replace").splitlines():
        match = KEY.match(line)
        if match:
            segments[match[1]][match[2]] = match[3]
    found: dict[int, LabelClass] = {}
    for keys in segments.values():
        value = keys.get("LabelValue", "")
        if value.isdigit() and 0 < int(value) <= LARGEST:
            found[int(value)] = named(int(value), keys.get("Name", ""), _colour(keys.get("Color", "")))
    return tuple(found[value] for value in sorted(found))


def _colour(text: str) -> str | None:
    try:
        parts = [float(word) for word in text.split()]
    except ValueError:
        return None
    if len(parts) != 3 or not all(0 <= part <= 1 for part in parts):
        return None
    return "#" + "".join(f"{round(255 * part):02x}" for part in parts)
