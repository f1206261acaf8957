"""What goes wrong in a run, found by mathematics."""
