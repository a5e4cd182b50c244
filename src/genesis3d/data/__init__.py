"""Cases (scans on disk or in memory), the sub-volumes drawn from them, and scans made of numbers."""
