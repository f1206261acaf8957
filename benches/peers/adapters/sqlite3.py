"""What people write themselves when they want to query: SQLite with a commit per call."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from peers.adapter import Adapter, Log, Metrics
from sample import KEYS


class Tracker(Adapter):
    """Ten rows and a commit per call."""

    note = "stdlib sqlite3, WAL, synchronous=NORMAL, ten rows and a commit per call"
    database: Any

    def load(self) -> None:
        """Import the module."""
        import sqlite3

        self.sqlite3 = sqlite3

    def open(self, directory: Path) -> Log:
        """Make the table."""
        database = self.database = self.sqlite3.connect(directory / "metrics.db")
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=NORMAL")
        database.execute(
            "CREATE TABLE points(key INTEGER, step INTEGER, value REAL, time REAL, "
            "PRIMARY KEY(key, step)) WITHOUT ROWID"
        )
        numbers = {key: number for number, key in enumerate(KEYS)}

        def log(metrics: Metrics, step: int) -> None:
            now = time.time()
            database.executemany(
                "INSERT INTO points VALUES(?, ?, ?, ?)",
                [(numbers[key], step, value, now) for key, value in metrics.items()],
            )
            database.commit()

        return log

    def close(self) -> None:
        """Close, which checkpoints."""
        self.database.close()

    def readable(self, directory: Path) -> int:
        """Count the rows."""
        import sqlite3

        database = sqlite3.connect(directory / "metrics.db")
        points: int = database.execute("SELECT count(*) FROM points").fetchone()[0]
        return points
