"""What a model may look at: read-only tools over one run and the code that was kept with it."""
