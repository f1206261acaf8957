"""The analyst: what a model is asked about a run, what it may look at, and what it says."""
