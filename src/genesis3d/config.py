"""The object is its configuration: frozen models that forbid what they do not know, read from and written to YAML."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from genesis3d.errors import ConfigError

__all__ = ["Config", "explain", "override"]


class Config(BaseModel):
    """Base of every configuration: frozen, ``extra="forbid"``, each field declared once with range and unit."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    @classmethod
    def parse(cls, values: Mapping[str, Any], where: str = "configuration") -> Self:
        """Validate plain ``values``.

        Raises
        ------
        ConfigError
            One sentence naming ``where``, the field, what was expected and what came.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise ConfigError(f"{where}: {explain(error)}") from error

    @classmethod
    def from_yaml(cls, path: str | Path) -> Self:
        """Read a configuration from a YAML (or JSON) file; raises ConfigError naming the file."""
        import yaml

        try:
            values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigError(f"{path}: expected a YAML file, got {' '.join(str(error).split())}") from error
        if not isinstance(values, dict):
            raise ConfigError(f"{path}: expected a YAML mapping of settings, got {type(values).__name__}")
        return cls.parse(values, str(path))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values that :meth:`parse` turns back into an equal configuration."""
        return self.model_dump(mode="json")

    def to_yaml(self) -> str:
        """Return the configuration as YAML text that :meth:`from_yaml` reads back."""
        import yaml

        return str(yaml.safe_dump(self.to_dict(), sort_keys=False, width=110))

    def replaced(self, **changes: Any) -> Self:
        """Return a validated copy with ``changes``; raises ConfigError."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return self.parse(values | changes, type(self).__name__)


def explain(error: ValidationError) -> str:
    """Return a pydantic error as one sentence: field, what was expected, what came (at most three problems)."""
    parts = []
    for problem in error.errors(include_url=False)[:3]:
        field = ".".join(str(step) for step in problem["loc"]) or "value"
        got = "" if problem["type"] in ("missing", "extra_forbidden") else f", got {problem['input']!r:.80}"
        parts.append(f"{field}: {problem['msg'].removeprefix('Value error, ')}{got}")
    return "; ".join(parts)


def override(values: Mapping[str, Any], settings: list[str]) -> dict[str, Any]:
    """Return ``values`` with each ``"dotted.key=value"`` of ``settings`` put in, values read as YAML.

    A number in the dotted key indexes a list.  Raises ConfigError for a setting without ``=`` or a path through a
    plain value.
    """
    import copy

    import yaml

    result: dict[str, Any] = copy.deepcopy(dict(values))
    for setting in settings:
        dotted, equals, text = setting.partition("=")
        if not equals or not dotted:
            raise ConfigError(f"--set: expected KEY=VALUE, got {setting!r}")
        *parents, last = dotted.split(".")
        node: Any = result
        for step in parents:
            node = _child(node, step, setting)
        value = yaml.safe_load(text)
        if isinstance(node, list) and last.isdigit() and int(last) < len(node):
            node[int(last)] = value
        elif isinstance(node, dict):
            node[last] = value
        else:
            raise ConfigError(f"--set: {last!r} in {setting!r} is not inside a group of settings")
    return result


def _child(node: Any, step: str, setting: str) -> Any:
    if isinstance(node, dict):
        return node.setdefault(step, {})
    if isinstance(node, list) and step.isdigit() and int(step) < len(node):
        return node[int(step)]
    raise ConfigError(f"--set: {step!r} in {setting!r} is not inside a group of settings")
