"""Fits the constants of the forecast and of the stop advice from curves; says how far they hold."""
