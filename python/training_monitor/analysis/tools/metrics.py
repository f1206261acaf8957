"""The tools over the metrics: which there are, their points, their statistics, the last steps."""

from __future__ import annotations

from itertools import islice

from training_monitor._core import redact
from training_monitor.analysis.digest.band import band_of
from training_monitor.analysis.digest.figures import NONE, figure
from training_monitor.analysis.digest.recent import cell, recent_steps, tabled
from training_monitor.analysis.fencing import quoted
from training_monitor.analysis.tools.form import ToolError
from training_monitor.analysis.tools.parameters import Text, Texts, Whole, made_tool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from training_monitor.analysis.digest.importance import Known
    from training_monitor.analysis.tools.form import Tool
    from training_monitor.analysis.tools.sight import Sight

__all__ = ["metric_tools"]

_RANK = Whole("rank", "only this rank (process number); leave out for all", low=0, high=2**32 - 1)
_STATISTICS = ("count", "non_finite", "last", "min", "max", "mean", "std", "p5", "p50", "p95",
               "ema_short", "ema_long")  # fmt: skip
_MOST_POINTS = 300
_TEXT_CHARS = 300


def metric_tools(sight: Sight) -> list[Tool]:
    """Return the tools."""
    of = _Metrics(sight)
    return [
        made_tool(
            "metrics_list",
            "List the metrics of the run, the most important first: name, what it is taken for, "
            "number of points, first and last step, last value, minimum, maximum.",
            (
                Text("contains", "only names that contain this text; leave out for all"),
                Whole("offset", "skip so many; to see the rest of a long list", 0, low=0),
                Whole("limit", "how many to list", 100, low=1, high=1000),
            ),
            of.listed,
        ),
        made_tool(
            "metrics_history",
            "Show the values of one metric over the steps. Long histories are thinned; minima, "
            "maxima, NaN and infinities stay, so a spike is never left out.",
            (
                Text("metric", "the name of the metric, exactly as metrics_list has it",
                     required=True),
                Whole("since_step", "only from this step on"),
                Whole("until_step", "only up to this step"),
                _RANK,
                Whole("max_points", "how many points at most", 60, low=8, high=_MOST_POINTS),
            ),
            of.history,
        ),
        made_tool(
            "metrics_stats",
            "Show statistics of metrics over the whole run: count, values that are not finite, "
            "last, min, max (with their steps), mean, standard deviation, percentiles, moving "
            "averages.",
            (
                Texts("metrics", "names of metrics, exactly as metrics_list has them",
                      required=True, most=30),
                _RANK,
            ),
            of.statistics,
        ),
        made_tool(
            "steps_tail",
            "Show the last steps as a table: one line per step, one column per metric. Where "
            "ranks differ a cell says least..greatest; NaN/... means that some ranks have NaN.",
            (
                Whole("last", "how many steps", 20, low=1, high=200),
                Texts("metrics", "only these metrics; leave out for the most important ones"),
                _RANK,
            ),
            of.steps,
        ),
    ]  # fmt: skip


class _Metrics:
    """Answers questions about metrics."""

    def __init__(self, sight: Sight) -> None:
        self._sight = sight

    def listed(self, *, contains: str | None, offset: int, limit: int) -> str:
        """List metrics."""
        known = self._sight.metrics()
        wanted = (contains or "").lower()
        found = [one for one in known if wanted in one.name.lower()]
        answer = self._sight.answer()
        which = f" of {len(known)} that contain {quoted(contains)}" if contains else ""
        answer.say(f"{len(found)} metrics{which}, the most important first")
        if not found[offset : offset + 1]:
            answer.say("none to list" + (f" from offset {offset} on" if offset and found else ""))
            return answer.text()
        lines = ["metric,taken for,points,first step,last step,last value,min,max"]
        lines += [self._row(one) for one in islice(found, offset, offset + limit)]

        def rest(shown: int) -> str:
            after = offset + shown - 1
            return f"more: call metrics_list with offset={after}, or with contains"

        shown = answer.data(lines, rest=rest)
        if shown == len(lines) and offset + limit < len(found):
            answer.say(rest(shown))
        return answer.text()

    def _row(self, one: Known) -> str:
        metric, figs = one.metric, self._sight.sig_figs
        steps = [NONE if at is None else str(at) for at in (metric.first_step, metric.last_step)]
        last = self._value(metric.last_value)
        ends = [NONE if end is None else figure(end, figs) for end in (metric.min, metric.max)]
        taken_for = str(one.meaning).replace(",", " ") + (
            " HEADLINE" if one.meaning.headline else ""
        )
        return ",".join([cell(one.name), taken_for, str(metric.count), *steps, last, *ends])

    def _value(self, value: object) -> str:
        if isinstance(value, str):
            return "(text)" if self._sight.only_numbers else quoted(redact(value), chars=40)
        return figure(value, self._sight.sig_figs)

    def history(
        self,
        *,
        metric: str,
        since_step: int | None,
        until_step: int | None,
        rank: int | None,
        max_points: int,
    ) -> str:
        """Show the points of a metric."""
        (known,) = self._sight.chosen([metric])
        if not known.has_numbers:
            return self._texts(known, rank, since_step, until_step, max_points)
        band = band_of(self._sight.run, known.name, points=known.metric.count, rank=rank,
                         since=since_step, until=until_step)  # fmt: skip
        if not len(band):
            raise ToolError(self._nothing(known, rank))
        seen = band.thinned(max_points)
        answer = self._sight.answer()
        ranks = f", {band.ranks} ranks side by side" if band.ranks > 1 else ""
        shown = f"{len(seen)} shown, extremes kept" if len(seen) < band.count else "all shown"
        answer.say(
            f"{quoted(known.name)}: {band.count}{'' if band.whole else '+'} steps from "
            f"{int(band.step[0])} to {int(band.step[-1])}{ranks}; {shown}"
        )
        figs = self._sight.sig_figs
        lines = ["step,value", *(f"{int(seen.step[at])},{seen.cell(at, figs)}"
                                 for at in range(len(seen)))]  # fmt: skip
        answer.data(lines, rest=lambda n: "cut: call again with since_step="
                    f"{int(seen.step[n - 1])}")  # fmt: skip
        if len(seen) < band.count:
            answer.say("for what lies between, call again with since_step and until_step")
        return answer.text()

    def _nothing(self, known: Known, rank: int | None) -> str:
        metric = known.metric
        ranks = "" if rank is None else f" of rank {rank}"
        return (
            f"{quoted(known.name)} has no points{ranks} there; it has steps {metric.first_step} "
            f"to {metric.last_step}"
        )

    def _texts(
        self, known: Known, rank: int | None, since: int | None, until: int | None, most: int
    ) -> str:
        """Show the last values of a metric that has texts."""
        if self._sight.only_numbers:
            raise ToolError(f"{quoted(known.name)} holds text, which is not to be seen here")
        series = self._sight.run.series(known.name, since=since, rank=rank, last=None)
        low, high = since, until
        points = [
            (int(step), value)
            for step, value in zip(series.step, series.value, strict=True)
            if (low is None or step >= low) and (high is None or step <= high)
        ]
        if not points:
            raise ToolError(self._nothing(known, rank))
        answer = self._sight.answer()
        answer.say(f"{quoted(known.name)} holds text; the last {min(most, len(points))} of "
                   f"{len(points)} values")  # fmt: skip
        lines = [f"step {step}: {redact(str(value)[:_TEXT_CHARS * 4])[:_TEXT_CHARS]}"
                 for step, value in points[-most:]]  # fmt: skip
        answer.data(lines, newest=True, rest=lambda n: f"cut: the last {n} are shown; for those "
                    "before call again with until_step")  # fmt: skip
        return answer.text()

    def statistics(self, *, metrics: list[str], rank: int | None) -> str:
        """Show statistics of metrics."""
        figs, run = self._sight.sig_figs, self._sight.run
        lines = []
        for one in self._sight.chosen(metrics):
            try:
                stats = run.stats(one.name, rank=rank)
            except KeyError:
                raise ToolError(self._nothing(one, rank)) from None
            facts = {name: getattr(stats, name) for name in _STATISTICS}
            facts["last"] = one.metric.last_value if rank is None else stats.last
            said = [f"{name}={figure(value, figs)}" for name, value in facts.items()
                    if value is not None and not isinstance(value, str)]  # fmt: skip
            if stats.quantile_error:
                said.append(f"p5 to p95 within {100 * stats.quantile_error:.2g}%")
            if one.has_numbers:
                said += self._extremes(one, rank)
            lines.append(f"{cell(one.name)}: steps {stats.first_step} to {stats.last_step}; "
                         + ", ".join(said))  # fmt: skip
        answer = self._sight.answer()
        which = "" if rank is None else f" of rank {rank}"
        answer.say(f"statistics{which} over all points that were stored")
        answer.data(lines, rest=lambda n: f"cut after {n}: ask for fewer metrics")
        return answer.text()

    def _extremes(self, one: Known, rank: int | None) -> list[str]:
        """Say at which steps the least and the greatest value are."""
        band = band_of(self._sight.run, one.name, points=one.metric.count, rank=rank)
        places = {"min": band.lowest(), "max": band.highest()}
        return [f"{end} at step {int(band.step[at])}" for end, at in places.items()
                if at is not None]  # fmt: skip

    def steps(self, *, last: int, metrics: list[str] | None, rank: int | None) -> str:
        """Show the last steps."""
        known = self._sight.chosen(metrics) if metrics else self._sight.metrics()
        table = tabled(
            recent_steps(self._sight.run, last, rank=rank),
            known,
            sig_figs=self._sight.sig_figs,
            texts=not self._sight.only_numbers,
        )
        if not table.rows:
            raise ToolError("there are no steps" + ("" if rank is None else f" of rank {rank}"))
        answer = self._sight.answer()
        answer.say(f"the last {len(table.rows)} steps, merged; {NONE} means not logged there")
        answer.data([table.header, *table.rows], newest=False,
                    rest=lambda n: f"cut after {n - 1} steps: ask for fewer")  # fmt: skip
        if table.left_out:
            answer.say(f"{table.left_out} further metrics: name them in metrics, or use "
                       "metrics_list")  # fmt: skip
        return answer.text()
