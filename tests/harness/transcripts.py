"""Transcripts of commands, freed of what differs from run to run."""

from __future__ import annotations

import re


def normalised(text: str) -> str:
    """Replace numbers and paths, leave out the live lines of the demo and what it finds."""
    text = re.sub(r"\S*/training-monitor(?= )", "BIN/training-monitor", text)
    text = text.replace("\r", "<cr>").replace("\033", "<esc>")
    live = r"((<cr><esc>\[K)? *\d+ s  step .*?(?=<cr>|\n)\n?)+"
    text, live_lines = re.subn(live, "", text)
    assert live_lines
    # How many findings there are, and in which order, is a matter of the machine.
    found = r"^ *\d+ s  (?:warning|critical): .*\n(?: {8}.*\n)*"
    text = re.sub(found, "", text, flags=re.MULTILINE)
    text = re.sub(r"(?<=\S)  +", "  ", text)
    text = re.sub(r"-?\d[\d,.]*(e[-+]?\d+)?", "#", text)
    return re.sub(r"^ +# s", "# s", text, flags=re.MULTILINE)
