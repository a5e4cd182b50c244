"""The Scan dock."""
