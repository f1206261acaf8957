"""One problem of one metric over time: said once, once more when it gets worse, then taken back."""

from __future__ import annotations

from math import nan

from training_monitor.detect.finding import SEVERITIES, Finding

__all__ = ["Episode"]


class Episode:
    """What was said of one problem.

    Args:
        kind: Of the findings.
        metric: What they are about.
        rank: Whose points these are; None: all ranks.

    Attributes:
        severity: What was said last; None: nothing stands.
    """

    __slots__ = ("_kind", "_metric", "_rank", "_since", "severity")

    def __init__(self, kind: str, metric: str, rank: int | None = None) -> None:
        self._kind = kind
        self._metric = metric
        self._rank = rank
        self._since: int | None = None
        self.severity: str | None = None

    def say(
        self,
        severity: str,
        step: int | None,
        time: float,
        text: str,
        *,
        advice: str = "",
        value: float = nan,
        reference: float = nan,
        sigma: float = nan,
        threshold: float = nan,
        since: int | None = None,
    ) -> list[Finding]:
        """Say it, unless it was said as badly already."""
        if self.said(severity):
            return []
        if self.severity is None:
            self._since = step if since is None else since
        self.severity = severity
        return [
            Finding(
                self._kind,
                severity,
                self._metric,
                step,
                time,
                text,
                advice,
                rank=self._rank,
                value=value,
                reference=reference,
                sigma=sigma,
                threshold=threshold,
                since=self._since,
            )
        ]

    def said(self, severity: str) -> bool:
        """Return whether this, or worse, was said and stands: no text has to be made then."""
        if self.severity is None:
            return False
        return SEVERITIES.index(severity) <= SEVERITIES.index(self.severity)

    def end(
        self,
        step: int | None,
        time: float,
        text: str,
        *,
        value: float = nan,
        reference: float = nan,
    ) -> list[Finding]:
        """Say that it is over, if it was said."""
        if self.severity is None:
            return []
        since, self.severity, self._since = self._since, None, None
        return [
            Finding(
                self._kind,
                "info",
                self._metric,
                step,
                time,
                text,
                rank=self._rank,
                value=value,
                reference=reference,
                since=since,
                over=True,
            )
        ]
