"""Whether what a model says of a run holds: each number, step, name and line of code."""
