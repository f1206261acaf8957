"""The processes beside the training: the monitor, and the poller that watches over it."""
