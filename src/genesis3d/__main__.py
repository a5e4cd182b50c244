"""``python -m genesis3d`` is the command ``genesis3d``."""

from genesis3d.cli import main

main()
