"""Write all points of a run into one file: CSV, JSON lines or Parquet."""

from training_monitor.export.run import FORMATS, ExportOptions, export_run

__all__ = ["FORMATS", "ExportOptions", "export_run"]
