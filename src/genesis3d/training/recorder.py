"""Events go into the run directory before anybody sees them, and every exception becomes one."""

from __future__ import annotations

import errno
import traceback
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from genesis3d.errors import GenesisError
from genesis3d.events import Event, Failed, Finished, Stepped, Validated, Warned
from genesis3d.training.memory import out_of_memory
from genesis3d.training.rundir import RunDir
from genesis3d.training.validation import prefixed

__all__ = ["failure", "follow", "record", "record_failure"]


def record(run: RunDir, events: Iterator[Event], hidden: Iterable[str] = ()) -> Iterator[Event]:
    """Yield ``events``, each after it was written to ``run``; end with Failed instead of raising.

    Paths in ``hidden`` are cut to their last part in warnings and errors: full paths stand in config.json alone.
    Closing the iterator leaves the run ``stopped``, with its last saved state.
    """
    hidden = list(hidden)
    try:
        for event in events:
            if isinstance(event, Warned):
                event = Warned(message=_without_folders(event.message, hidden))
            _write(run, event)
            yield event
    except Exception as error:
        failed = failure(error, hidden)
        record_failure(run, failed)
        yield failed
    except BaseException:
        with suppress(OSError):
            run.set_status("stopped")
        raise
    finally:
        if isinstance(events, Generator):
            events.close()


def record_failure(run: RunDir, failed: Failed) -> None:
    """Write how the run ended, as far as the disk lets it."""
    # The disk may be full; whoever follows the run then sees a process that is gone.
    with suppress(OSError):
        run.append(failed)
    with suppress(OSError):
        run.set_status("failed", message=failed.message)


def follow(events: Iterator[Event], hidden: Iterable[str] = ()) -> Iterator[Event]:
    """Work through ``events`` in silence, as the further processes of a training do; yield but a failure."""
    try:
        for _ in events:
            pass
    except Exception as error:
        yield failure(error, hidden)


def _write(run: RunDir, event: Event) -> None:
    run.append(event)
    if isinstance(event, Stepped):
        rate = {} if event.rate is None else {"steps_per_second": event.rate}
        run.metrics.append(event.step, event.metrics | rate)
    elif isinstance(event, Validated):
        run.metrics.append(event.step, prefixed(event.metrics, "validation_"))
    elif isinstance(event, Finished):
        run.order("run")
        run.set_status("stopped" if event.cancelled else "finished", phase="", durable=True)


def failure(error: Exception, hidden: Iterable[str] = ()) -> Failed:
    """Return the event of an exception: one sentence, and a trace only for what nobody expected."""
    message, expected = _sentence(error)
    trace = "" if expected else "".join(traceback.format_exception(error))
    message, trace = (_without_folders(text, hidden) for text in (message, trace))
    return Failed(message=message, expected=expected, trace=trace)


def _without_folders(text: str, paths: Iterable[str]) -> str:
    for path in sorted(paths, key=len, reverse=True):
        text = text.replace(path, Path(path).name)
    return text


def _sentence(error: Exception) -> tuple[str, bool]:
    text = " ".join(str(error).split())
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            "the disk of the run directory is full: expected room for a checkpoint (the last saved one is kept)",
            True,
        )
    if isinstance(error, GenesisError):
        return text, True
    if isinstance(error, OSError):
        where = Path(error.filename).name if isinstance(error.filename, str) else "a file of the run"
        return f"{where}: expected to read or write it, got: {error.strerror or text}", True
    if out_of_memory(error):
        return "expected the training to fit in memory: take a smaller batch, width or sub-volume, or fewer scans", True
    return f"{type(error).__name__}: {text}", False
