"""Weights of others: read without running anything, matched by name and shape, written back key for key.

Published 3D networks live in (x, y, z), ours in (z, y, x): the last three axes of every 5-D weight are turned around on
the way in and on the way out.
"""
