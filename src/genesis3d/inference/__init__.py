"""Windows over whole volumes, restoration and maps."""
