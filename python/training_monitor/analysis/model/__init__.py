"""Asking a model: the client, what may leave, bounds, and a conversation within them."""
