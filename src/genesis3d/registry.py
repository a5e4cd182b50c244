"""Named configuration classes: how transforms, tasks and networks (and a user's own) are found by name."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BeforeValidator, PlainSerializer

from genesis3d.config import Config
from genesis3d.errors import ConfigError

__all__ = ["Named", "Registry", "load_plugin"]


class Named(Config):
    """A configuration that a registry knows by ``name``; written out, the name stands beside its fields."""

    name: ClassVar[str] = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields with ``name`` first."""
        return {"name": self.name} | self.model_dump(mode="json")


T = TypeVar("T", bound=Named)
C = TypeVar("C", bound=type[Named])


class Registry(Generic[T]):
    """Configuration classes of one ``kind`` by name; the listed ``modules`` are imported at first use."""

    def __init__(self, kind: str, modules: Sequence[str] = ()) -> None:
        self.kind = kind
        self._modules, self._homes = list(modules), list(modules)
        self._classes: dict[str, type[T]] = {}

    def register(self, name: str) -> Callable[[C], C]:
        """Class decorator: register a :class:`Named` configuration under ``name``; a taken name raises ConfigError."""

        def decorate(cls: C) -> C:
            known = self._classes.get(name)
            if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
                raise ConfigError(f"{self.kind} name {name!r} is taken by {known.__module__}.{known.__qualname__}")
            cls.name = name
            self._classes[name] = cls  # type: ignore[assignment]  # the registry's own bound is checked by parse()
            return cls

        return decorate

    def names(self) -> list[str]:
        """Return the registered names, in the order of the registry's own modules and then of registration."""
        self._load()
        return list(self._classes)

    def __iter__(self) -> Iterator[type[T]]:
        self._load()
        return iter(list(self._classes.values()))

    def get(self, name: str) -> type[T]:
        """Return the class called ``name``; raises ConfigError naming those that exist."""
        self._load()
        if name not in self._classes:
            raise ConfigError(f"{self.kind}: expected one of {', '.join(self._classes)}, got {name!r}")
        return self._classes[name]

    def parse(self, value: Any) -> T:
        """Return a configuration from itself, its name, or a mapping with ``name`` and fields; raises ConfigError."""
        if isinstance(value, Named):
            return value  # type: ignore[return-value]
        if isinstance(value, str):
            value = {"name": value}
        if not isinstance(value, dict) or "name" not in value:
            raise ConfigError(f"{self.kind}: expected a name or a mapping with 'name', got {value!r:.80}")
        fields = {key: item for key, item in value.items() if key != "name"}
        return self.get(value["name"]).parse(fields, f"{self.kind} {value['name']}")

    def field(self) -> tuple[Any, Any]:
        """Return the two annotations of a field holding any configuration of this registry.

        Use: ``network: Annotated[Named, *NETWORKS.field()]``.
        """
        return BeforeValidator(self.parse), PlainSerializer(lambda config: config.to_dict(), return_type=dict)

    def _load(self) -> None:
        if not self._modules:
            return
        while self._modules:
            importlib.import_module(self._modules.pop(0))
        # whoever imported one of them before must not decide on the order
        place = {module: i for i, module in enumerate(self._homes)}
        self._classes = dict(
            sorted(self._classes.items(), key=lambda item: place.get(item[1].__module__, len(place)))
        )  # fmt: skip


def load_plugin(path_or_module: str) -> None:
    """Import a user's Python file (``*.py``) or module so that its decorated classes register; raises ConfigError."""
    path = Path(path_or_module)
    try:
        if path.suffix != ".py":
            importlib.import_module(path_or_module)
            return
        spec = importlib.util.spec_from_file_location(f"genesis3d_plugin_{path.stem}", path)
        if spec is None or spec.loader is None or not path.is_file():
            raise ConfigError(f"plugin: expected a Python file or module, got {path_or_module!r}")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    except ConfigError:
        raise
    except Exception as error:  # a user's file may raise anything; the sentence names it
        raise ConfigError(f"plugin {path_or_module}: {type(error).__name__}: {error}") from error


def load_entry_points() -> None:
    """Import every module installed under the entry-point group ``genesis3d.plugins``."""
    for entry in entry_points(group="genesis3d.plugins"):
        load_plugin(entry.value)
