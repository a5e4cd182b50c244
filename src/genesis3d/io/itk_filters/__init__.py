"""Filters on volumes (Volume in, Volume out), one file each, by SimpleITK."""
