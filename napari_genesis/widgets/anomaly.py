"""The Anomaly map dock."""
