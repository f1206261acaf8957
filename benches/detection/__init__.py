"""How often the detectors and predictions are right, on real and made curves."""
