"""F: the least that a C extension must do with the same dict."""

from __future__ import annotations

import os
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

from peers.adapter import Adapter, Log

LIBRARY = "TM_BENCH_FLOOR"


class Tracker(Adapter):
    """benches/limits/floor.c, compiled by the driver, which says where in TM_BENCH_FLOOR."""

    note = "benches/limits/floor.c: copies into a mapped ring that nobody reads"
    library: ModuleType

    def load(self) -> None:
        """Load the extension."""
        spec = spec_from_loader("floor", ExtensionFileLoader("floor", os.environ[LIBRARY]))
        assert spec is not None
        assert spec.loader is not None
        self.library = module_from_spec(spec)
        spec.loader.exec_module(self.library)

    def open(self, directory: Path) -> Log:
        """Map the ring."""
        self.library.open(str(directory / "ring"))
        log: Log = self.library.log
        return log

    def close(self) -> None:
        """Do nothing: the ring is the kernel's."""

    def readable(self, directory: Path) -> int:
        """Return 0: nobody reads the ring, and it keeps its last lap only."""
        return 0
