"""Cases, sub-volume sampling and phantoms."""
