"""Training tasks: a loss, its heads and its own extra weights."""
