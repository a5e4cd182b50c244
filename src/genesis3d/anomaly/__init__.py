"""Anomaly maps: recipes that turn a scan, its lungs and a model into a score, higher where something is amiss."""
