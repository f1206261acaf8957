"""Detectors and predictors together, over the points of one run."""
