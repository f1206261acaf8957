"""What a language model is asked, what it may look at, and what of its answers holds."""
