from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field

from genesis3d.config import Config, override
from genesis3d.errors import ConfigError
from genesis3d.registry import Named, Registry, load_plugin

SHAPES: Registry[Named] = Registry("shape")


@SHAPES.register("ball")
class Ball(Named):
    radius: float = Field(5.0, gt=0, le=100, description="radius in mm")


class Scene(Config):
    shape: Annotated[Named, *SHAPES.field()] = Ball()
    count: int = Field(1, ge=1, le=9, description="how many")


def test_yaml_round_trip_keeps_the_named_part(tmp_path: Path) -> None:
    scene = Scene(shape=Ball(radius=2.5), count=3)
    file = tmp_path / "scene.yaml"
    file.write_text(scene.to_yaml(), encoding="utf-8")
    assert Scene.from_yaml(file) == scene
    assert scene.to_dict() == {"shape": {"name": "ball", "radius": 2.5}, "count": 3}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"count": 12}, ["count", "less than or equal to 9", "12"]),
        ({"colour": "red"}, ["colour", "not permitted"]),
        ({"shape": "cube"}, ["shape", "ball", "'cube'"]),
        ({"shape": {"name": "ball", "radius": -1}}, ["radius", "greater than 0", "-1"]),
        ({"shape": {"radius": 1}}, ["name"]),
        ({"shape": 7}, ["expected a name or a mapping", "7"]),
    ],
)
def test_a_wrong_value_is_one_sentence(values: dict[str, object], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        Scene.parse(values, "scene.yaml")
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in ["scene.yaml", *words]), message


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "\x00"])
def test_a_file_that_is_not_a_mapping_is_refused_by_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"broken\.yaml: expected a YAML"):
        Scene.from_yaml(file)


def test_frozen_and_replaced() -> None:
    scene = Scene()
    assert scene.replaced(count=2) == Scene(count=2)
    assert scene.count == 1
    with pytest.raises(ConfigError, match="count"):
        scene.replaced(count=0)


def test_override_reads_dotted_keys() -> None:
    values = Scene().to_dict() | {"list": [1, 2]}
    changed = override(values, ["shape.radius=7.5", "count=4", "list.1=9"])
    assert changed["shape"]["radius"] == 7.5
    assert changed["count"] == 4
    assert changed["list"] == [1, 9]
    assert values["count"] == 1


@pytest.mark.parametrize("setting", ["count", "=3", "count.deeper.x=3", "list.7=1"])
def test_override_refuses_what_it_cannot_place(setting: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        override({"count": 1, "list": [1]}, [setting])


def test_a_plugin_file_registers_and_errors_name_it(tmp_path: Path) -> None:
    good = tmp_path / "mine.py"
    good.write_text(
        "from genesis3d.registry import Named\n"
        "import sys\n"
        "SHAPES = sys.modules['test_config_shapes'].SHAPES\n"
        "@SHAPES.register('cube')\n"
        "class Cube(Named):\n"
        "    edge: float = 1.0\n",
        encoding="utf-8",
    )
    import sys
    import types

    sys.modules["test_config_shapes"] = types.SimpleNamespace(SHAPES=SHAPES)  # type: ignore[assignment]
    try:
        load_plugin(str(good))
        assert SHAPES.parse("cube").to_dict() == {"name": "cube", "edge": 1.0}
    finally:
        del sys.modules["test_config_shapes"]
        SHAPES._classes.pop("cube", None)
    bad = tmp_path / "bad.py"
    bad.write_text("1 / 0\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"bad\.py: ZeroDivisionError"):
        load_plugin(str(bad))
    with pytest.raises(ConfigError, match=r"none\.py"):
        load_plugin(str(tmp_path / "none.py"))


def test_a_name_is_registered_once() -> None:
    with pytest.raises(ConfigError, match="taken"):

        @SHAPES.register("ball")
        class Other(Named):
            pass
