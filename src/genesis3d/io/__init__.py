"""Scans in and out of files: the only user of SimpleITK and pydicom."""
