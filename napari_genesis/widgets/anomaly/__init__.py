"""The Anomaly dock."""
