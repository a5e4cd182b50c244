"""Shared parts of the docks and the docks themselves, one file each."""
