"""Anomaly maps: recipes that score a scan, their calibration on healthy scans, and the figures of a map."""
