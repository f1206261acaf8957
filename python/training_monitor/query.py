"""The read side: a run as a notebook or a report sees it, live, after a crash, or on a copy."""

from __future__ import annotations

import json
import os
from typing import overload

from training_monitor import _core
from training_monitor.answers import (
    Alert,
    Attempt,
    Copy,
    Gap,
    Metric,
    Series,
    Step,
    boxed,
    numbers,
)
from training_monitor.bounds import COUNT, RANK, SECONDS, STEP, bounded
from training_monitor.catalog import DATABASE_NAME, find_run
from training_monitor.errors import RunNotFoundError, SettingError, StoreError
from training_monitor.foresight.asked import Asked
from training_monitor.statistics import Statistics, Zoom, made_statistics, made_zoom
from training_monitor.texts import quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from training_monitor.analyses import Analysis, Message
    from training_monitor.detect.definition import Definition
    from training_monitor.detect.meaning import Meaning
    from training_monitor.machine import Finding, SystemSeries
    from training_monitor.ranks import AcrossRanks, Rank
    from training_monitor.snapshot.snapshot import Snapshot
    from training_monitor.stacks import Stack
    from training_monitor.tables import Table

__all__ = ["Alert", "Attempt", "Copy", "Gap", "Metric", "RunView", "Series", "Step", "open_run"]


_SHOWN_METRICS = 30
# So many curves can be told apart.
_DRAWN_METRICS = 8


class RunView(Asked):
    """One run, read only; every call sees what is durable at that moment."""

    __slots__ = ("_path", "_reader", "dir", "name")

    def __init__(self, path: str) -> None:
        self._path = path
        self.dir = os.path.dirname(path) if path.endswith(".db") else path
        self.name = os.path.basename(self.dir)
        try:
            self._reader = _core.RunReader(path)
        except FileNotFoundError as error:
            raise RunNotFoundError(
                f"run {self.name!r} has nothing in its database yet; its monitor, or "
                f"`training-monitor recover {quoted(self.dir)}`, brings it there"
            ) from error
        except StoreError as error:
            database = os.path.join(self.dir, DATABASE_NAME)
            raise StoreError(f"cannot read {database!r}: {error}") from error

    def _repr_html_(self) -> str:
        from training_monitor.notebook import card_html, table_html

        counts, rows = self._reader.counts(), self._reader.metrics()
        rows.sort(key=lambda row: str(row["name"]))
        facts = [(name, f"{counts[name]:,}") for name in ("points", "attempts", "gaps", "alerts")]
        cells = [(row["name"], row["last_value"], row["count"]) for row in rows[:_SHOWN_METRICS]]
        more = len(rows) - len(cells)
        below = table_html(
            ("metric", "last", "points"), cells, caption=f"and {more} more" if more else ""
        )
        return card_html(f"run {self.name}", [("directory", self.dir), *facts], below)

    @property
    def database(self) -> str:
        """The path of the database file; on a network file system it may be on a local disk."""
        return _core.find_database(self._path)[0]

    @property
    def copy(self) -> Copy | None:
        """What is known of the copy that is read; None when it is the live database."""
        found = self._reader.copy_of()
        return None if found is None else Copy(*found)

    def __repr__(self) -> str:
        return f"<RunView {self.name!r} in {self.dir!r}>"

    def metrics(self) -> list[Metric]:
        """List the metrics by name."""
        rows = sorted(self._reader.metrics(), key=lambda row: str(row["name"]))
        # Field by field: a run may have 100,000 of them.
        return [
            Metric(
                name=row["name"],
                kind=row["kind"],
                count=row["count"],
                first_step=row["first_step"],
                last_step=row["last_step"],
                last_value=row["last_value"],
                min=row["min"],
                max=row["max"],
            )
            for row in rows
        ]

    def definitions(self) -> list[Definition]:
        """Return what `define_metric` said of metrics, the oldest first, each once."""
        from training_monitor.meanings import read_definitions

        return read_definitions(self._path)

    def meanings(self) -> dict[str, Meaning]:
        """Return what each metric was taken for, by name: loss or score, and which way is better.

        It is inferred from the names, and where those leave it open from the values; what
        `define_metric` said counts more. One of them is the headline, by which the run is judged.
        """
        from training_monitor.meanings import read_meanings

        return read_meanings(self, self._reader.metrics())

    def series(
        self,
        key: str,
        *,
        since: int | None = None,
        rank: int | None = None,
        last: int | None = None,
        max_points: int | None = None,
        raw: bool = False,
    ) -> Series:
        """Return the points of one metric.

        Args:
            key: Its name.
            since: Only points from this step on.
            rank: Only those of this rank.
            last: Only so many points from the end.
            max_points: At most about so many; what is left out is neither a minimum nor a
                maximum of its neighbourhood, and not the only NaN or infinity there.
            raw: Everything in the order of arrival, also what a later value or a later attempt
                has replaced.

        Raises:
            KeyError: There is no metric of that name.
        """
        import numpy as np

        step, time, value, ranks, attempts = self._reader.series(
            key,
            since=bounded("since", since, STEP),
            rank=bounded("rank", rank, RANK),
            last=bounded("last", last, COUNT),
            max_points=bounded("max_points", max_points, COUNT),
            raw=raw,
        )
        return Series(
            step=np.asarray(step),
            value=boxed(value) if isinstance(value, list) else np.asarray(value),
            time=np.asarray(time),
            rank=np.asarray(ranks),
            attempt=np.asarray(attempts),
        )

    def sql(self, query: str, *, limit: int | None = 10_000, timeout_secs: float = 30.0) -> Table:
        """Answer one SELECT over all points and all tables of the run.

        `points` holds what `series` shows, of all keys, and `raw_points` everything stored, each
        with the columns key, step, time, value, rank and attempt. NaN and None are NULL there,
        True and False 1 and 0, and integers beyond 64 bits text; two columns that `*` leaves out
        tell them apart: kind (float, nan, int, bigint, bool, none, text) and bits (a float's).

        Args:
            query: One statement that reads.
            limit: Rows at most; None means all.
            timeout_secs: The query is stopped after so long.

        Raises:
            QueryError: It is wrong, does more than read, or takes too long.
        """
        from training_monitor.tables import run_query

        return run_query(
            self._path,
            query,
            limit=bounded("limit", limit, COUNT),
            timeout_secs=SECONDS.take("timeout_secs", timeout_secs),
        )

    def plot(self, *keys: str, max_points: int = 4000, axes: Any = None) -> Any:
        """Draw metrics over the steps with matplotlib, a curve per rank; return the axes.

        Args:
            keys: The names of the metrics; none means all, where there are no more than eight.
            max_points: At most about so many points per metric; spikes stay.
            axes: Draw here; None makes new ones.

        Raises:
            KeyError: There is no metric of that name.
            SettingError: There is no metric to draw, or too many to draw unasked.
            MissingLibraryError: matplotlib is not installed.
        """
        from training_monitor.plotting import plot_series

        curves = {}
        for key in keys or self._drawable():
            series = self.series(key, max_points=max_points)
            ranks = sorted(set(series.rank.tolist()))
            for rank in ranks:
                chosen = series.rank == rank
                label = key if len(ranks) == 1 else f"{key}, rank {rank}"
                curves[label] = (series.step[chosen], numbers(series.value[chosen]))
        return plot_series(curves, title=self.name, axes=axes)

    def _drawable(self) -> list[str]:
        """Return the metrics that plot() draws unasked."""
        names = [metric.name for metric in self.metrics() if metric.kind not in ("text", "none")]
        if not 1 <= len(names) <= _DRAWN_METRICS:
            raise SettingError(
                f"plot() draws up to {_DRAWN_METRICS} metrics unasked, and run {self.name!r} has "
                f"{len(names)}: name those to draw, as in r.plot({(names or ['loss'])[0]!r})"
            )
        return names

    def steps(self, last: int = 20) -> list[Step]:
        """Return the last steps, the oldest first."""
        return [_made(Step, row) for row in self._reader.steps(COUNT.take("last", last))]

    def alerts(self) -> list[Alert]:
        """Return all alerts, those of the script and those of the monitor, the oldest first."""
        from training_monitor.alerted import all_alerts

        return all_alerts(self._reader)

    def analyses(self) -> list[Analysis]:
        """Return what was said of the run, by a model or by the rules alone, the oldest first."""
        from training_monitor.analyses import read_analyses

        return read_analyses(self._reader)

    def messages(self) -> list[Message]:
        """Return the conversation about the run, the oldest first."""
        from training_monitor.analyses import read_messages

        return read_messages(self._reader)

    @overload
    def system(
        self, metric: None = None, *, since: float | None = None, max_points: int | None = None
    ) -> dict[str, SystemSeries]: ...

    @overload
    def system(
        self, metric: str, *, since: float | None = None, max_points: int | None = None
    ) -> SystemSeries: ...

    def system(
        self,
        metric: str | None = None,
        *,
        since: float | None = None,
        max_points: int | None = None,
    ) -> SystemSeries | dict[str, SystemSeries]:
        """Return what the machine did: one series, or all of them by name.

        Every sample is kept for a day; of what is older, each minute has its least, mean and
        greatest value.

        Args:
            metric: A name as "gpu0/power_watts"; "power_watts" will do where one source has it.
            since: Only from this time on, in seconds since 1970.
            max_points: At most about so many; the lowest and the highest stay.

        Raises:
            KeyError: There is no such series, or several; the message names them.
        """
        from training_monitor.machine import read_all, read_one

        max_points = bounded("max_points", max_points, COUNT)
        if metric is None:
            return read_all(self._reader, since=since, max_points=max_points)
        return read_one(self._reader, metric, since=since, max_points=max_points)

    def findings(self) -> list[Finding]:
        """Return what was found out, as a spike, a lost GPU or a killed rank, oldest first."""
        from training_monitor.found import all_findings

        return all_findings(self._reader)

    def stacks(self) -> list[Stack]:
        """Return the Python stacks that were taken of ranks that hang, the oldest first."""
        from training_monitor.stacks import read_stacks

        return read_stacks(self._reader)

    def ranks(self) -> list[Rank]:
        """Return the ranks of the newest attempt: how far each is, how fast, how late."""
        from training_monitor.ranks import made_ranks

        return made_ranks(self._reader.ranks())

    def across_ranks(self, key: str, *, since: int | None = None) -> AcrossRanks:
        """Return mean, least and greatest value of a metric over all ranks, for each step.

        Args:
            key: Its name.
            since: Only steps from here on.

        Raises:
            KeyError: There is no metric of that name.
        """
        from training_monitor.ranks import made_across

        return made_across(self.series(key, since=since))

    @property
    def attempts(self) -> list[Attempt]:
        """The attempts, the first one first."""
        return [
            _made(Attempt, {**row, "number": row["id"], "config": _hyperparameters(row["config"])})
            for row in self._reader.attempts()
        ]

    @property
    def config(self) -> dict[str, Any]:
        """The hyperparameters of the last attempt that has some."""
        return _hyperparameters(self._reader.config())

    @property
    def launch(self) -> dict[str, Any]:
        """What config.json says of the last attempt: command, settings, host, rank."""
        text = self._reader.config()
        facts = json.loads(text) if text else {}
        return facts if isinstance(facts, dict) else {}

    @property
    def summary(self) -> dict[str, Statistics]:
        """The statistics of each metric, by name."""
        known = {row["name"]: row for row in self._reader.summary()}
        return {
            row["name"]: made_statistics(
                {**row, **known.get(row["name"], {}), "last": row["last_value"]}
            )
            for row in sorted(self._reader.metrics(), key=lambda row: str(row["name"]))
        }

    def stats(self, key: str, *, rank: int | None = None) -> Statistics:
        """Return the statistics of one metric.

        Args:
            key: Its name.
            rank: Only of this rank; None means all of them together.

        Raises:
            KeyError: There is no metric of that name, or that rank has not logged it.
        """
        row = self._reader.statistics(key)
        if rank is not None:
            row = row["ranks"].get(RANK.take("rank", rank), {"count": 0})
        return made_statistics(row if row["count"] else self._text_statistics(key, rank))

    def _text_statistics(self, key: str, rank: int | None) -> dict[str, Any]:
        """Return what can be said of a metric without numbers: how many values, and where."""
        points = self.series(key, rank=rank, raw=True)
        if not len(points):
            raise KeyError(f"rank {rank} has not logged {key!r}")
        oldest, newest = points.time.argmin(), points.time.argmax()
        return {
            "count": len(points),
            "first_step": int(points.step[oldest]),
            "last_step": int(points.step[newest]),
            "last": points.value[newest],
        }

    def quantiles(
        self,
        key: str,
        *,
        last: int | None = 1000,
        q: Sequence[float] = (0.05, 0.5, 0.95),
        rank: int | None = None,
    ) -> list[float]:
        """Return exact quantiles of the finite values of a window at the end; NaN without any.

        Args:
            key: The name of the metric.
            last: So many points from the end; None means all points.
            q: Which quantiles, from 0 to 1.
            rank: Only points of this rank.

        Raises:
            KeyError: There is no metric of that name.
        """
        import numpy as np

        values = numbers(self.series(key, last=last, rank=rank).value)
        finite = values[np.isfinite(values)]
        return [float(np.quantile(finite, share)) if len(finite) else float("nan") for share in q]

    def zoom(
        self, key: str, *, buckets: int = 1000, since: int | None = None, rank: int | None = None
    ) -> Zoom:
        """Return a metric in stretches: least, greatest and mean value, count, first and last.

        Args:
            key: Its name.
            buckets: At most so many stretches, each with about as many points.
            since: Only points from this step on.
            rank: Only those of this rank.

        Raises:
            KeyError: There is no metric of that name.
        """
        stretches = self._reader.zoom(
            key,
            COUNT.take("buckets", buckets),
            since=bounded("since", since, STEP),
            rank=bounded("rank", rank, RANK),
        )
        return made_zoom(stretches)

    def snapshot(self, attempt: int | None = None) -> Snapshot | None:
        """Return the code that the run had; None when none was kept.

        Args:
            attempt: Of which attempt; None means the newest whose code was kept.
        """
        from training_monitor.snapshot.snapshot import open_snapshot

        return open_snapshot(self.dir, attempt)

    @property
    def gaps(self) -> list[Gap]:
        """What is missing, and why."""
        return [_made(Gap, row) for row in self._reader.gaps()]


def open_run(
    run: str | os.PathLike[str], *, root_dir: str | os.PathLike[str] | None = None
) -> RunView:
    """Open a recorded run for reading.

    Args:
        run: A run directory, a database file, or a name below the root directory.
        root_dir: The root directory; None means `TM_ROOT_DIR` or "ai_logger".

    Raises:
        RunNotFoundError: Nothing was recorded there; the message names the nearest run.
        SettingError: The root directory is no path.
        StoreError: The database cannot be read.
    """
    return RunView(find_run(run, root_dir))


def _made(kind: Any, row: dict[str, object]) -> Any:
    """Make a dataclass of the fields that it has, from a row that may have more."""
    return kind(**{name: row[name] for name in kind.__dataclass_fields__})


def _hyperparameters(launch_json: str | None) -> dict[str, Any]:
    config = json.loads(launch_json).get("config") if launch_json else None
    return config if isinstance(config, dict) else {}
