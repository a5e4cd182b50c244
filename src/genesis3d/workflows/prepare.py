"""Preparation: an archive of scans in, a store to train from out, and a report of what was left out and why.

>>> for event in prepare(PrepareConfig(cases=("scans",), out="archive.zarr")):
...     print(event.to_json())
"""

from __future__ import annotations

import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from genesis3d.data.cases import find_cases
from genesis3d.data.channels import Group, grouped
from genesis3d.data.preparation import Outcome, PreparationSettings, cause, without_paths
from genesis3d.data.shards import ATTRIBUTE
from genesis3d.data.storage import LocalStorage, Storage, storage_at
from genesis3d.data.store import SCHEMA, StoredCase, StoreHeader, read_header, read_records, write_index
from genesis3d.data.summary import summary
from genesis3d.errors import ConfigError, RunError, ScanError
from genesis3d.events import Control, Event, Finished, Saved, Started, Stepped, Warned, keep_running
from genesis3d.workflows.prepare_workers import prepare_all

__all__ = ["PrepareConfig", "prepare"]

OFTEN = 0.2  # seconds between two events of progress
SAID = 3  # times that one kind of warning is said; report.json has them all


class PrepareConfig(PreparationSettings):
    """A preparation; the settings that decide the content are those of the base class."""

    cases: tuple[str, ...] = Field((), description="scans, DICOM folders, zips, or folders of these")
    out: str = Field("", description="folder or URL (s3://bucket/store) of the store: new, or one to go on with")
    jobs: int | None = Field(None, ge=1, le=1024, description="processes; empty: one less than there are cores")

    @field_validator("cases", mode="before")
    @classmethod
    def _as_tuple(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    def content(self) -> dict[str, Any]:
        """Return the settings that decide what is stored, as plain values."""
        return {name: value for name, value in self.to_dict().items() if name in PreparationSettings.model_fields}

    def workers(self) -> int:
        """Return the number of processes; a store in this process's memory knows one."""
        if self.out.startswith("memory://"):
            return 1
        return self.jobs or max(1, (os.cpu_count() or 2) - 1)


@dataclass
class _State:
    """What is known while the work goes on: cases in the store, cases left out, and how many still wait."""

    records: dict[str, StoredCase]
    left_out: list[dict[str, str]]
    total: int
    waiting: int
    said: Counter[str] = field(default_factory=Counter)
    fatal: str = ""


def prepare(config: PrepareConfig, control: Control = keep_running) -> Iterator[Event]:
    """Put every case of ``config.cases`` into the store ``config.out``; a case that is there already is skipped.

    Told to stop, the cases in flight are finished and kept.  Killed at any moment, the same call goes on: a case is in
    the store whole or not at all.

    Raises
    ------
    ConfigError
        For a store that was made by other settings, or a place that is something else.
    ScanError
        When there is no case, or none could be prepared.
    RunError
        When another process works on the store, or it cannot be written (a full disk).
    """
    if not config.out:
        raise ConfigError("out: expected the folder or URL of a store, got none")
    storage = storage_at(config.out)
    with ExitStack() as held:
        try:
            header = _opened(storage, config, held)
            yield from _work(config, storage, header, control)
        except OSError as error:
            raise RunError(f"{config.out}: expected to write the store there, but {cause(error)}") from error


def _opened(storage: Storage, config: PrepareConfig, held: ExitStack) -> StoreHeader:
    """Make the store or take the one that is there, alone."""
    header = read_header(storage)
    wanted = StoreHeader(schema_version=SCHEMA, settings=config.content())
    if header is not None and header.settings != wanted.settings:
        raise ConfigError(_difference(config.out, header.settings, wanted.settings))
    if header is None and [name for name in storage.children() if name != "lock"]:
        raise ConfigError(f"{config.out}: expected a new or empty folder or a store, got a folder with other files")
    if isinstance(storage, LocalStorage):
        storage.root.mkdir(parents=True, exist_ok=True)
        from genesis3d.training.lock import DirectoryLock

        try:
            held.enter_context(DirectoryLock(storage.root))
        except RunError as error:
            raise RunError(f"{config.out}: expected a store nobody writes, but another process prepares it") from error
    if header is None:
        group = {"zarr_format": 3, "node_type": "group", "attributes": {ATTRIBUTE: wanted.to_dict()}}
        storage.write("zarr.json", json.dumps(group, indent=1).encode())
    return wanted


def _difference(out: str, old: dict[str, Any], new: dict[str, Any]) -> str:
    name = next(key for key in {**old, **new} if old.get(key) != new.get(key))
    return f"{out}: expected {name} {old.get(name)!r}, by which this store was made, got {new.get(name)!r}"


def _work(config: PrepareConfig, storage: Storage, header: StoreHeader, control: Control) -> Iterator[Event]:
    groups, passed_over = _groups(config)
    records = read_records(storage)
    todo = [group for group in groups if group.key not in records]
    jobs = config.workers()
    state = _State(records, passed_over, len(groups), len(todo))
    detail = {"name": f"{jobs} at a time", "already_there": len(groups) - len(todo), "jobs": jobs}
    yield Started(what="prepare", total=len(groups), unit="case", detail=detail)
    yield from (Warned(message=f"left out: {entry['reason']}") for entry in passed_over)
    storage.remove("index.jsonl")
    began = time.monotonic()
    outcomes = prepare_all(todo, PreparationSettings.parse(config.content(), "prepare"), config.out, jobs, control)
    yield from _followed(outcomes, state)
    yield from _closed(storage, header, state, time.monotonic() - began)


def _groups(config: PrepareConfig) -> tuple[list[Group], list[dict[str, str]]]:
    """Return the cases, and what is passed over with the reason; full paths stay out of it."""
    if not config.cases:
        raise ConfigError("cases: expected at least one scan, got none")
    found = find_cases(config.cases)
    groups, incomplete = grouped(found, config.channels)
    said = []
    for sentence in (*found.skipped, *incomplete):
        for root in sorted(config.cases, key=len, reverse=True):
            sentence = re.sub(rf"{re.escape(root)}[^:;,]*", lambda found: Path(found.group()).name, sentence)
        said.append(without_paths(sentence))
    if not groups:
        raise ScanError(f"expected at least one case; {'; '.join(said[:3]) or 'none was found'}")
    return groups, [{"name": sentence.partition(":")[0], "reason": sentence} for sentence in said]


def _followed(outcomes: Iterator[Outcome | None], state: _State) -> Iterator[Event]:
    """Take the outcomes in, yielding progress and what is said of each case."""
    began, told = time.monotonic(), 0.0
    before, todo = state.total - state.waiting, state.waiting
    for outcome in outcomes:
        if outcome is None:
            continue
        if outcome.fatal:
            state.fatal = f"expected to write case {outcome.name}, but {outcome.problem}"
            continue
        state.waiting -= 1
        yield from _noted(outcome, state)
        now, done = time.monotonic(), todo - state.waiting
        if now - told > OFTEN or not state.waiting:
            told, rate = now, done / max(now - began, 1e-6)
            metrics = {"taken": float(len(state.records)), "left_out": float(len(state.left_out))}
            left = state.waiting / rate
            yield Stepped(step=before + done, total=state.total, metrics=metrics, rate=rate, seconds_left=left)


def _noted(outcome: Outcome, state: _State) -> Iterator[Event]:
    if outcome.record is None:
        state.left_out.append({"name": outcome.name, "reason": outcome.problem})
        yield Warned(message=f"{outcome.name} is left out: {outcome.problem}")
        return
    state.records[outcome.record.key] = outcome.record
    for sentence in outcome.record.warnings:
        kind = re.sub(r"[-\d.]+", "#", sentence)
        state.said[kind] += 1
        if state.said[kind] <= SAID:
            yield Warned(message=f"{outcome.name}: {sentence}")


def _closed(storage: Storage, header: StoreHeader, state: _State, seconds: float) -> Iterator[Event]:
    """Write index and report, also of a store that was stopped or ran out of room; end the work."""
    if state.fatal:
        raise RunError(
            f"{storage.url}: {state.fatal}; the {len(state.records)} finished cases are kept, and the same command "
            "goes on once that is mended"
        )
    if not state.records and not state.waiting:
        first = state.left_out[0]
        raise ScanError(f"expected at least one case that can be prepared; {first['name']}: {first['reason']}")
    cases = sorted(state.records.values(), key=lambda case: (case.name, case.key))
    found = write_index(storage, header, cases)
    report = summary(cases, state.left_out, state.waiting) | {"fingerprint": found, "seconds": round(seconds, 1)}
    storage.write("report.json", json.dumps(report | {"settings": header.settings}, indent=1).encode())
    yield Saved(path=storage.url, what="store")
    yield Finished(cancelled=state.waiting > 0, result=report)
