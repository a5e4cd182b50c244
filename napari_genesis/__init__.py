"""The napari plugin of napari-genesis; importing it imports nothing."""

__version__ = "0.1.0"
