"""The numbers of a run as compact text, the most important first."""
