"""Events for people: a progress bar on a terminal, lines elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from genesis3d.events import Event, Failed, Finished, Sampled, Saved, Started, Stepped, Validated, Warned

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["ProgressBar", "plain_line"]

# Between two plain lines of steps: where there is no terminal, a log should stay short.
_EVERY = 50


def plain_line(event: Event) -> str:
    """Return one line for ``event``, empty for what a log need not hold."""
    match event:
        case Started():
            return _started(event)
        case Stepped() if event.step % _EVERY == 0 or event.step == event.total:
            return f"step {event.step} of {event.total or '?'}: {_numbers(event.metrics)}"
        case Validated():
            return _validated(event)
        case Saved(what="best") | Sampled() | Stepped():
            return ""
        case Saved():
            return f"saved {event.path}"
        case Warned():
            return f"warning: {event.message}"
        case Finished():
            return _finished(event)
        case Failed():
            return ""  # said on stderr


class ProgressBar:
    """A bar with step, loss, rate and time left; other events stand above it.  A context manager."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}"),
            TimeElapsedColumn(),
            console=Console(),
        )
        self._task: Any = None

    def __enter__(self) -> ProgressBar:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def show(self, event: Event) -> None:
        """Draw one event."""
        if isinstance(event, Started):
            self._task = self._bar.add_task(event.what, total=event.total, text="")
        if isinstance(event, Stepped):
            text = f"loss {event.metrics.get('loss', float('nan')):.4f}  {event.rate or 0:.2f} {'steps'}/s  "
            self._bar.update(self._task, completed=event.step, total=event.total, text=text + _time(event.seconds_left))
            return
        line = plain_line(event)
        if line:
            self._bar.console.print(line, markup=False, highlight=False)


def _started(event: Started) -> str:
    detail = event.detail
    line = f"{event.what} on {event.device} ({detail.get('name', '')}), {event.precision} bits"
    if event.precision == "bf16":
        line = f"{event.what} on {event.device} ({detail.get('name', '')}), bfloat16"
    return line + (f", resumed after step {detail['resumed_from']}" if detail.get("resumed_from") else "")


def _validated(event: Validated) -> str:
    figures = event.metrics
    said = [f"error {figures['ratio']:.3f} times that of the best constant"] if "ratio" in figures else []
    said += [f"{figures[f'{name}_ratio']:.3f} under the {name} chain" for name in ("official", "gentle")
             if f"{name}_ratio" in figures]  # fmt: skip
    text = ", ".join(said) or _numbers(figures)
    return f"step {event.step}, held out: {text}{' (best so far)' if event.best else ''}"


def _finished(event: Finished) -> str:
    model = event.result.get("model")
    return ("stopped, everything saved" if event.cancelled else "finished") + (f": {model}" if model else "")


def _numbers(metrics: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "time left: measuring"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d} left"
