"""llama.cpp's own server with a real, tiny, random model: what it says is noise, how is not.

Runs where the packages `xllamacpp` and `gguf` are: in this Python, or in the one that
TINY_MODEL_PYTHON names.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness import tiny_model
from harness.conversations import FakeToolbox, Talk
from training_monitor.analysis.model.bounds import Limits
from training_monitor.analysis.model.client import ModelError
from training_monitor.analysis.model.outgoing import read_sent


@contextmanager
def llama_cpp(directory: Path, *, context: int) -> Iterator[str]:
    """Serve the model; yield its base_url."""
    python = os.environ.get("TINY_MODEL_PYTHON", sys.executable)
    known = subprocess.run([python, "-c", "import xllamacpp, gguf"], capture_output=True)
    if known.returncode != 0:
        pytest.skip("xllamacpp and gguf are not installed")
    server = subprocess.Popen(
        [python, tiny_model.__file__, str(directory), str(context)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        assert address.startswith("http://"), "the server did not start"
        yield f"{address}/v1"
    finally:
        server.kill()
        server.communicate()


def test_conversation_with_a_model_of_noise_ends(tmp_path: Path) -> None:
    limits = Limits(requests=4)
    with llama_cpp(tmp_path, context=32_768) as base_url:
        talk = Talk(tmp_path, base_url, limits=limits)
        outcomes = [talk() for _ in range(3)]
    for outcome in outcomes:
        assert outcome.trouble is None
        assert outcome.requests <= 4
        assert outcome.prompt_tokens > 100
        assert outcome.completion_tokens <= 4 * 500
        assert outcome.rung == ("tools" if outcome.text or outcome.final else "rules")
    # A token of this model is a byte, and that is learned.
    assert talk.bounds.chars_per_token < 3.0
    assert len(read_sent(str(tmp_path))) == sum(outcome.requests for outcome in outcomes)


def test_words_alone_are_taken(tmp_path: Path) -> None:
    with llama_cpp(tmp_path, context=32_768) as base_url:
        talk = Talk(tmp_path, base_url, toolbox=None)
        outcome = talk(final_tool=None, read_final=None)
    assert outcome.trouble is None
    assert outcome.text


def test_prompt_longer_than_the_context_is_told_as_such(tmp_path: Path) -> None:
    with llama_cpp(tmp_path, context=512) as base_url:
        talk = Talk(tmp_path, base_url, toolbox=FakeToolbox())
        with pytest.raises(ModelError, match="context") as caught:
            talk.client.ask(
                [{"role": "user", "content": "why? " * 500}], None, outgoing=talk.outgoing
            )
    assert caught.value.kind == "context_length"
