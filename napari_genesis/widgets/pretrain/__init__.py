"""The Pre-train dock."""
