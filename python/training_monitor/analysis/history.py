"""What was said before, for a prompt: earlier analyses and the conversation."""

from __future__ import annotations

import time

from training_monitor.analysis.prompt import clipped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from training_monitor.analyses import Analysis, Message

__all__ = ["earlier", "turns"]

_MOST_OF_ONE = 0.5


def earlier(analyses: Iterable[Analysis], messages: Iterable[Message], max_chars: int) -> str:
    """Return what was said before, the oldest first, the newest kept where not all has room.

    Args:
        analyses: Those of the run.
        messages: The conversation about it.
        max_chars: The room for all of it.
    """
    said = [(one.time, _of_analysis(one)) for one in analyses if one.rung != "rules"]
    said += [(one.time, _of_message(one)) for one in messages]
    kept: list[str] = []
    room = max_chars
    for _, whole in sorted(said, key=lambda one: -one[0]):
        text = clipped(whole, int(_MOST_OF_ONE * max_chars))
        if not text or len(text) + 1 > room:
            break
        kept.append(text)
        room -= len(text) + 1
    return "\n".join(reversed(kept))


def turns(messages: Iterable[Message], max_chars: int) -> list[dict[str, str]]:
    """Return the conversation as messages for a model, the newest kept where not all has room.

    It begins with a word of the user, as some servers demand.
    """
    kept: list[dict[str, str]] = []
    room = max_chars
    for message in reversed(list(messages)):
        # The last word is the question: it has all the room it needs.
        text = clipped(message.text, int(_MOST_OF_ONE * max_chars) if kept else max_chars)
        if not text or len(text) > room:
            break
        kept.append({"role": message.role, "content": text})
        room -= len(text)
    kept.reverse()
    while kept and kept[0]["role"] != "user":
        del kept[0]
    return kept


def _of_analysis(one: Analysis) -> str:
    step = "" if one.step is None else f", step {one.step:,}"
    lines = [f"[{_moment(one.time)}{step}] analysis: {one.status}. {one.summary}"]
    lines += [f"  - {issue.severity}: {issue.title}" for issue in one.issues]
    return "\n".join(lines)


def _of_message(one: Message) -> str:
    who = "the user asked" if one.role == "user" else "you answered"
    return f"[{_moment(one.time)}] {who}: {one.text}"


def _moment(at: float) -> str:
    return time.strftime("%m-%d %H:%M", time.localtime(at))
