"""Tasks by name: what is trained, as a loss around a network."""

from genesis3d.tasks.base import TASKS, Task

__all__ = ["TASKS", "Task"]
