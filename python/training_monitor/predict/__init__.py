"""How a run will end, and when."""
