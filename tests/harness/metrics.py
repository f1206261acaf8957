"""Metrics that a table has its trouble with."""

from training_monitor.answers import Metric

METRICS = [
    Metric("loss", "float", 8800, 0, 8799, 0.04321987, 0.0312, 2.5),
    Metric("accuracy", "float", 8800, 0, 8799, 1.0, 0.09375, 1.0),
    Metric("grad_norm/encoder.layers.11.attention.output.dense.weight", "float", 1_234_567, 0,
           123_456_789, 1.5e-09, 1e-12, 3.25e10),
    Metric("nan", "float", 1, 5, 5, float("nan"), None, None),
    Metric("note", "text", 2, 0, 10, "a text that is longer than the column", None, None),
    Metric("evil\x1b[31m\nname", "int", 1, 0, 0, 2**70, None, None),
]  # fmt: skip
