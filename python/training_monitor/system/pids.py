"""Whether the process ids that a driver reports are those that this process sees."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["PidView"]

# The kernel gives the PID namespace of the machine itself this number, always.
_INITIAL = "pid:[4026531836]"


class PidView:
    """Tells process ids of this PID namespace from those of another one.

    An older driver reports the ids of the machine, also to a container, which has its own and can
    not learn how they belong together: `NSpid` ends at its border. A newer driver translates.

    Args:
        namespace: The link that names the namespace.
        exists: Whether there is such a process here.
    """

    __slots__ = ("_exists", "_is_initial")

    def __init__(
        self,
        namespace: str = "/proc/self/ns/pid",
        exists: Callable[[int], bool] | None = None,
    ) -> None:
        try:
            self._is_initial = os.readlink(namespace) == _INITIAL
        except OSError:
            self._is_initial = False
        self._exists = exists or _exists

    def has_all(self, pids: Iterable[int]) -> bool:
        """Return whether these may be ids of processes here; 0 stands for one of elsewhere."""
        return self._is_initial or all(self._exists(pid) for pid in pids if pid)


def _exists(pid: int) -> bool:
    # Other than /proc, this knows the processes of other users wherever it is asked.
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True
