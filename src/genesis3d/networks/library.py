"""The model library: model files by name, those that ship with the project and the user's own in one folder.

A model is found by its name wherever a MODEL is asked for.  Listing reads headers alone; torch is loaded only when a
file enters the library, to see that its weights fill its network.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from genesis3d.errors import ModelError
from genesis3d.files import home
from genesis3d.networks.card import ModelCard
from genesis3d.networks.mismatch import mismatches
from genesis3d.networks.model_file import copy_model, read_card

__all__ = ["SHIPPED", "SUFFIX", "Library", "LibraryModel", "is_name", "mismatches"]

SHIPPED = Path(__file__).resolve().parents[1] / "models"
SUFFIX = ".safetensors"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")  # no file of Windows may be called so


def is_name(text: str) -> bool:
    """Whether ``text`` can be the name of a model: letters, digits, dots, dashes; no part of a path."""
    whole = _NAME.fullmatch(text) and not text.lower().endswith(SUFFIX) and not text.endswith(".")
    return bool(whole) and not _DEVICES.fullmatch(text)


@dataclass(frozen=True)
class LibraryModel:
    """One model of the library.

    Attributes
    ----------
    name, path : how it is called, and its file
    card : what it says about itself; None when the file cannot be read, and then ``problem`` says why
    shipped : whether it came with the project
    """

    name: str
    path: Path
    card: ModelCard | None
    shipped: bool
    problem: str = ""


class Library:
    """The models in ``folder`` (default: ``models`` in the user's data folder) and those that ship.

    A model of the user's that is called like one that ships hides it.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = home() / "models" if folder is None else Path(folder)

    def models(self) -> list[LibraryModel]:
        """Return all models, the shipped ones first; an unreadable file is listed with its problem."""
        return [_model(*item) for item in self.files()]

    def files(self) -> list[tuple[str, Path, bool]]:
        """Return (name, file, whether it ships) of all models, the shipped ones first, without opening a file."""
        own = _files(self.folder)
        shipped = [(name, path, True) for name, path in _files(SHIPPED).items() if name not in own]
        return shipped + [(name, path, False) for name, path in own.items()]

    def names(self) -> list[str]:
        """Return the names, the shipped ones first, without opening a file."""
        return [name for name, _path, _shipped in self.files()]

    def find(self, name: str) -> Path:
        """Return the file of the model called ``name``; raises ModelError naming those that exist."""
        path = (_files(SHIPPED) | _files(self.folder)).get(name)
        if path is None:
            raise ModelError(f"model {name!r}: expected {self.choices()}, got no name of one")
        return path

    def choices(self) -> str:
        """Return the names for a sentence."""
        names = self.names()
        return f"a model of the library ({', '.join(names)})" if names else "a model of the library, which is empty"

    def place(self, name: str, overwrite: bool = False) -> Path:
        """Return the file that a new model called ``name`` is to be written to; its folder exists then.

        Raises
        ------
        ModelError
            For a name that is none, that is taken (unless ``overwrite``) or belongs to a model that ships, and when
            the folder cannot be made.
        """
        if not is_name(name):
            raise ModelError(f"name: expected up to 80 letters, digits, dots, dashes or underscores, got {name!r}")
        taken = {known.lower() for known in _files(self.folder)}  # some disks take both cases for one
        if name.lower() in {known.lower() for known in _files(SHIPPED)}:
            raise ModelError(f"model {name!r}: expected another name, this one ships with the project")
        if name.lower() in taken and not overwrite:
            raise ModelError(f"model {name!r}: is in the library already; give another name or overwrite it")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ModelError(f"{self.folder}: the library cannot be made: {error.strerror or error}") from error
        return self.folder / f"{name}{SUFFIX}"

    def add(self, path: str | Path, name: str, overwrite: bool = False, card: ModelCard | None = None) -> LibraryModel:
        """Copy a model file, or a run's best, into the library, its weights checked; ``card`` replaces its own.

        Raises
        ------
        ModelError
            As :meth:`place`, and for a file that is no whole model of this project.
        """
        target = self.place(name, overwrite)
        copy_model(path, target, card)
        return _model(name, target, False)

    def remove(self, name: str) -> None:
        """Delete a model of the user's; raises ModelError for one that ships, is not there or cannot be deleted."""
        path = _files(self.folder).get(name)
        if path is None and name in _files(SHIPPED):
            raise ModelError(f"model {name!r}: ships with the project and is never removed")
        if path is None:
            path = self.find(name)
        try:
            path.unlink()
        except OSError as error:
            raise ModelError(f"{path}: cannot be removed: {error.strerror or error}") from error


def _files(folder: Path) -> dict[str, Path]:
    """Return the model files of ``folder`` by name, sorted; hidden files (parts of a write) are none."""
    try:
        found = [path for path in folder.iterdir() if path.name.endswith(SUFFIX) and not path.name.startswith(".")]
    except OSError:
        return {}
    return {path.name.removesuffix(SUFFIX): path for path in sorted(found, key=lambda path: path.name.lower())}


def _model(name: str, path: Path, shipped: bool) -> LibraryModel:
    try:
        return LibraryModel(name, path, read_card(path), shipped)
    except ModelError as error:
        return LibraryModel(name, path, None, shipped, str(error))
