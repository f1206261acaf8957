"""Code of a training as it was when an attempt began: taking it, keeping it, reading it."""
