"""Scans made of numbers."""
