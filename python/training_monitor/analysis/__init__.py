"""What an LLM says of a run: tools to look with, a bounded talk, a check of each claim."""
