# The compiled core: the lanes, the ingest thread and the read side.

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any, TypeAlias, final

__all__ = [
    "Column",
    "Ingest",
    "PointStream",
    "QueryError",
    "RejectedError",
    "RunReader",
    "SpoolError",
    "StoreError",
    "TrainingMonitorError",
    "TrainingMonitorWarning",
    "__version__",
    "append_alert",
    "append_event",
    "backup_database",
    "belongings",
    "build_profile",
    "claim_run",
    "close_producer",
    "disable",
    "file_system",
    "find_database",
    "health",
    "is_run",
    "log",
    "open_producer",
    "producers",
    "query",
    "redact",
    "redactions",
    "remove_run",
    "set_monitor_command",
    "should_stop",
    "spawn_detached",
    "spawn_monitor",
    "sqlite_version",
    "stop_reason",
    "sweep_removed",
    "to_json",
]

__version__: str
build_profile: str
sqlite_version: str

class TrainingMonitorError(Exception): ...
class StoreError(TrainingMonitorError): ...
class SpoolError(TrainingMonitorError): ...
class RejectedError(TrainingMonitorError, ValueError): ...
class QueryError(TrainingMonitorError, ValueError): ...
class TrainingMonitorWarning(UserWarning): ...

# The write side. The producer is a global of the process; `log` finds it with one load.
def log(metrics: Mapping[str, Any], step: Any = None, *, force_analysis: bool = False) -> None: ...
def open_producer(
    *,
    run_dir: str | PathLike[str],
    job_key: str,
    rank: int,
    local_rank: int,
    world: int,
    local_world: int,
    strict: bool,
    device_tensors: str,
    node_limit_bytes: int,
    config_json: str,
) -> str | None: ...
def close_producer(timeout_s: float) -> dict[str, object]: ...
def disable() -> None: ...
def append_alert(json: str) -> None: ...
def append_event(json: str) -> None: ...
def should_stop() -> bool: ...
def stop_reason() -> str | None: ...
def health() -> dict[str, object]: ...

# Processes of ours, started with nothing of the trainer's open.
def set_monitor_command(
    argv: Sequence[str],
    env: dict[str, str],
    log_path: str | PathLike[str],
    lock_dir: str | PathLike[str],
) -> None: ...
def spawn_monitor() -> int: ...
def spawn_detached(
    argv: Sequence[str], env: dict[str, str], log_path: str | PathLike[str]
) -> int: ...

# Run directories.
def claim_run(root: str | PathLike[str], name: str, job_key: str) -> tuple[str, str, bool]: ...
def producers(run_dir: str | PathLike[str]) -> list[dict[str, object]]: ...
def is_run(run_dir: str | PathLike[str]) -> bool: ...
def belongings(run_dir: str | PathLike[str]) -> tuple[list[str], list[str]]: ...
def remove_run(root: str | PathLike[str], name: str, *, force: bool = False) -> list[str]: ...
def sweep_removed(root: str | PathLike[str]) -> int: ...

# Where the database is that can be read, and why the live one cannot; what a file system is
# called, and whether it can hold a live database.
def find_database(run_dir: str | PathLike[str]) -> tuple[str, str | None]: ...
def file_system(path: str | PathLike[str]) -> tuple[str, bool]: ...

# Reading a database at large: columns, rows, whether there were more.
def query(
    path: str | PathLike[str], sql: str, *, limit: int | None, timeout_s: float
) -> tuple[list[str], list[tuple[Any, ...]], bool]: ...
def backup_database(
    path: str | PathLike[str],
    to: str | PathLike[str],
    progress: Callable[[int, int], object] | None,
) -> bool: ...

# Text that may be shown.
def to_json(obj: object, redact: bool = True) -> str: ...
def redact(text: str) -> str: ...
def redactions() -> int: ...

@final
class Ingest:
    def __new__(
        cls,
        run_dir: str | PathLike[str],
        *,
        node_limit_bytes: int | None = None,
        commit_interval_secs: float | None = None,
        idle_seal_secs: float | None = None,
        ema_alpha_short: float | None = None,
        ema_alpha_long: float | None = None,
        from_copy: bool = False,
    ) -> Ingest: ...
    def status(self) -> dict[str, Any]: ...
    def configs(self) -> list[tuple[int, str]]: ...
    def add_system(self, lines: bytes) -> bool: ...
    def set_stop(self, reason: str) -> None: ...
    def finish(self, timeout_s: float) -> dict[str, Any]: ...

# Numbers of one type that numpy.asarray takes over without copying them.
@final
class Column:
    @property
    def __array_interface__(self) -> dict[str, Any]: ...
    def __len__(self) -> int: ...

# Columns as bytes: step i64, time f64, values (f64 when all are floats), rank u32, attempt u32.
_Columns: TypeAlias = tuple[bytes, bytes, bytes | list[Any], bytes, bytes]

@final
class PointStream:
    def __new__(
        cls,
        path: str | PathLike[str],
        *,
        keys: Sequence[str] | None = None,
        since: int | None = None,
        raw: bool = False,
    ) -> PointStream: ...
    @property
    def total(self) -> int: ...
    def __iter__(self) -> PointStream: ...
    # The key, its columns, and how many points were read so far.
    def __next__(self) -> tuple[str, _Columns, int]: ...

@final
class RunReader:
    def __new__(cls, path: str | PathLike[str]) -> RunReader: ...
    def copy_of(self) -> tuple[str, str, float] | None: ...
    def metrics(self) -> list[dict[str, Any]]: ...
    def series(
        self,
        key: str,
        *,
        since: int | None = None,
        rank: int | None = None,
        last: int | None = None,
        max_points: int | None = None,
        raw: bool = False,
    ) -> tuple[Column, Column, Column | list[Any], Column, Column]: ...
    def summary(self) -> list[dict[str, Any]]: ...
    def statistics(self, key: str) -> dict[str, Any]: ...
    def zoom(
        self, key: str, buckets: int, *, since: int | None = None, rank: int | None = None
    ) -> list[dict[str, Any]]: ...
    def steps(self, last: int) -> list[dict[str, Any]]: ...
    def attempts(self) -> list[dict[str, Any]]: ...
    def producers(self) -> list[dict[str, Any]]: ...
    def ranks(self) -> list[dict[str, Any]]: ...
    def alerts(self) -> list[dict[str, Any]]: ...
    def gaps(self) -> list[dict[str, Any]]: ...
    def texts(self, key: str, last: int) -> list[dict[str, Any]]: ...
    def system_latest(self) -> list[dict[str, Any]]: ...
    # Columns of f64: time, value, and the least and the greatest value behind each.
    def system(
        self,
        host: str,
        source: str,
        metric: str,
        *,
        since: float | None = None,
        max_points: int | None = None,
    ) -> list[bytes]: ...
    def findings(self) -> list[tuple[float, str]]: ...
    def config(self) -> str | None: ...
    def counts(self) -> dict[str, Any]: ...
