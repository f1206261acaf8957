"""New points cut where something is to be compared: nothing may be judged by what came later."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from training_monitor.judge.news import News

__all__ = ["parts"]

# Cuts of one batch: a backlog with more of them is compared at every other one.
_MOST_CUTS = 512


def parts(news: Sequence[News], cut_at: Collection[str]) -> Iterator[list[News]]:
    """Yield new points in the order of time, cut behind each point of some metrics.

    Args:
        news: With times that do not go back.
        cut_at: The names of these metrics.
    """
    times = [one.times for one in news if one.metric in cut_at]
    ends = np.unique(np.concatenate(times)) if times else np.empty(0)
    ends = ends[np.isfinite(ends)][:: max(1, len(ends) // _MOST_CUTS)]
    begun = [0] * len(news)
    for end in [*ends.tolist(), np.inf]:
        part = []
        for at, one in enumerate(news):
            begin, stop = begun[at], len(one.times)
            if end < np.inf:
                stop = int(np.searchsorted(one.times, end, side="right"))
            if stop > begin:
                part.append(
                    replace(
                        one,
                        steps=one.steps[begin:stop],
                        times=one.times[begin:stop],
                        values=one.values[begin:stop],
                    )
                )
                begun[at] = stop
        if part:
            yield part
