"""What other trackers cost: the same scenarios for each, every one in a process of its own."""
