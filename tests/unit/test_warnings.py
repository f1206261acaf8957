"""Where warnings are errors, what we warn of goes to stderr and training goes on."""

from pathlib import Path

import pytest

from harness import processes

# A name in use, a keyword of wandb, and every kind of call that log() refuses.
BODY = """
    root = sys.argv[1]
    if sys.argv[2] == "filter":
        import warnings
        warnings.simplefilter("error")
    tm.log({"loss": 1.0})
    run = tm.init("run", root_dir=root, quiet=True, project="p")
    assert run.name == "run-2"
    for metrics in ({"list": [1, 2]}, {"complex": 1j}, {1: 1.0}, 5, None):
        tm.log(metrics)
    tm.log({"loss": 1.0}, "five")
    tm.alert("title", "text", level="odd", wait_duration="odd")
    tm.log({"loss": 1.0}, 0)
    assert tm.health().accepted == 1 and not tm.health().rejected_by.get("closed")
    tm.close()
    tm.log({"loss": 1.0})
    print("trained")
    """
HOLDS_THE_NAME = """
    run = tm.init("run", root_dir=sys.argv[1], quiet=True, start_monitor=False)
    print(run.name, flush=True)
    time.sleep(60)
    """


@pytest.mark.parametrize("how", ["switch", "filter"])
def test_warnings_that_are_errors_never_reach_the_training(
    tmp_path: Path, root: Path, how: str
) -> None:
    (tmp_path / "other").mkdir()
    other = processes.start_script(tmp_path / "other", HOLDS_THE_NAME, root)
    assert other.stdout is not None
    assert other.stdout.readline() == "run\n"
    environ = {"PYTHONWARNINGS": "error"} if how == "switch" else {}
    trainer = processes.start_script(tmp_path, BODY, root, how, env=environ)
    out, err = trainer.communicate(timeout=60)
    assert (trainer.returncode, out) == (0, "trained\n"), err
    assert "Traceback" not in err
    for sentence in (
        "the name 'run' is in use: this run is 'run-2'",
        "init() ignores keywords of wandb: project (nearest: root_dir)",
        "log() before init()",
        "log() after close()",
        '"list": ',
        "not a 64-bit integer",
        "wait_duration='odd' is not valid",
    ):
        assert err.count(sentence) == 1, (sentence, err)
