"""One iterator of events per workflow: the API that CLI and docks share."""
