"""The analyst: what a model is asked, what it may look at, and what of its answer holds."""
