"""How long the command line and the imports take to start: whole processes, median of seven.

python -m benchmarks.start
"""

from __future__ import annotations

import subprocess
import sys
import time

from benchmarks.common import Row, median, parser, write


def seconds(command: list[str]) -> float:
    times = []
    for _ in range(8):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return median(times[1:])


def main() -> None:
    options = parser(__doc__ or "", "start").parse_args()
    python = sys.executable
    bare = seconds([python, "-c", "pass"])
    helped = seconds([python, "-m", "genesis3d", "--help"])
    rows = [
        Row("bare Python", bare, "s"),
        Row("genesis3d --help", helped, "s", "< 0.5 s", helped < 0.5),
        Row("import napari_genesis", seconds([python, "-c", "import napari_genesis"]), "s"),
        Row("import genesis3d", seconds([python, "-c", "import genesis3d"]), "s"),
    ]
    write(options.out, "Start", "python -m benchmarks.start", rows)


if __name__ == "__main__":
    main()
