"""init(), Run and the functions of the package, in this process, with the real extension."""

import copy
import inspect
import os
import pickle
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest

import training_monitor as tm
from harness import processes, reading
from training_monitor import _core, launch
from training_monitor.claim import _is_version_of
from training_monitor.run import active_run

pytestmark = pytest.mark.usefixtures("closed_afterwards")


@pytest.fixture
def run(root: Path) -> tm.Run:
    return tm.init("unit", root_dir=root, quiet=True, strict=True, start_monitor=False)


def test_init_returns_the_active_run(run: tm.Run, root: Path) -> None:
    assert run.name == "unit"
    assert run.dir == str(root / "unit")
    assert active_run() is run
    assert not run.closed
    assert run.log is tm.log is _core.log


def test_context_manager_closes(root: Path) -> None:
    with tm.init("inside", root_dir=root, quiet=True) as run:
        tm.log({"loss": 1.0}, 0)
    assert run.closed
    assert active_run() is None


def test_context_manager_lets_exceptions_through(root: Path) -> None:
    with pytest.raises(ZeroDivisionError), tm.init("inside", root_dir=root, quiet=True) as run:
        _ = 1 / 0
    assert run.closed


def test_close_is_harmless_any_number_of_times(root: Path) -> None:
    tm.close()
    run = tm.init("twice", root_dir=root, quiet=True)
    for close in (run.close, run.finish, tm.close, tm.finish):
        close()
    assert run.closed


def test_close_with_nobody_to_bring_it_home_says_how(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training_monitor.run._CLOSE_SECS", 0.2)
    tm.init("left", root_dir=root, quiet=True, start_monitor=False)
    tm.log({"loss": 1.0, "lr": 2.0}, 0)
    tm.close()
    err = capsys.readouterr().err
    assert err.startswith("training_monitor: 2 points are in the spool and not yet in the database")
    assert f"training-monitor recover {root / 'left'}" in err


def test_second_init_closes_the_first(
    run: tm.Run, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training_monitor.run._CLOSE_SECS", 0.1)
    second = tm.init("other", root_dir=root, quiet=True, start_monitor=False)
    assert run.closed
    assert active_run() is second
    run.close()
    assert not second.closed, "a closed run must not close its successor"


@pytest.fixture
def two(root: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[tm.Run, tm.Run]:
    """Return a run that was closed by the next init(), and that next one."""
    monkeypatch.setattr("training_monitor.run._CLOSE_SECS", 0.1)
    first = tm.init("a", root_dir=root, quiet=True, start_monitor=False)
    first.log({"loss": 1.0, "lr": 2.0}, 0)
    return first, tm.init("b", root_dir=root, quiet=True, start_monitor=False)


def test_log_of_a_closed_run_does_not_land_in_the_next_one(two: tuple[tm.Run, tm.Run]) -> None:
    first, second = two
    before = first.health().rejected  # by this process: calls between two runs count, too
    with pytest.warns(tm.TrainingMonitorWarning, match="run 'a' is closed") as caught:
        first.log({"loss": 2.0}, 1)
    # Told once: warnings are errors here.
    first.log({"loss": 3.0}, step=2, force_analysis=True)
    assert caught[0].filename == __file__
    assert second.health().accepted == 0
    assert first.health().rejected_by["closed"] == 2
    assert first.health().rejected == before + 2
    second.log({"loss": 4.0}, 0)
    assert second.health().accepted == tm.health().accepted == 1
    assert second.log is _core.log


def test_health_of_a_closed_run_is_about_that_run(two: tuple[tm.Run, tm.Run]) -> None:
    first, second = two
    assert (first.health().accepted, first.health().mode) == (2, "closed")
    assert first.health().dir is None
    assert (second.health().accepted, second.health().mode) == (0, "mmap")


def test_log_of_a_closed_strict_run_raises(run: tm.Run) -> None:
    run.close()
    with pytest.raises(tm.RejectedError, match="run 'unit' is closed; nothing is recorded"):
        run.log({"loss": 1.0})


def test_log_of_a_closed_disabled_run_stays_silent_and_writes_nowhere(root: Path) -> None:
    first = tm.init("a", mode="disabled")
    second = tm.init("b", root_dir=root, quiet=True, start_monitor=False)
    first.log({"loss": 1.0})
    assert second.health().accepted == 0


def test_run_of_another_process_has_no_counters_here(run: tm.Run) -> None:
    other = pickle.loads(pickle.dumps(run))  # noqa: S301
    assert other.health().accepted == 0
    assert other.health().mode == "closed"
    with pytest.warns(tm.TrainingMonitorWarning, match="run 'unit' is closed"):
        other.log({"loss": 1.0})
    assert run.health().accepted == 0


def test_model_may_be_the_fourth_argument(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TM_ROOT_DIR", str(root))
    run = tm.init("fourth", {"lr": 0.1}, "python train.py", "gpt-5", quiet=True, mode="disabled")
    assert run.name == "fourth"
    parameters = list(inspect.signature(tm.init).parameters.values())
    kinds = [one.name for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD]
    assert kinds == ["experiment_name", "config", "training_command", "openai_model"]


def test_lanes_that_cannot_be_made_are_an_error_of_the_run_directory(root: Path) -> None:
    (root / "blocked").mkdir(parents=True)
    (root / "blocked" / ".spool").write_text("a file")
    with pytest.raises(tm.RunDirError, match=r"cannot record into .*blocked.*root_dir=") as caught:
        tm.init("blocked", root_dir=root, quiet=True, start_monitor=False)
    assert isinstance(caught.value.__cause__, tm.SpoolError)
    assert active_run() is None


def test_same_name_again_is_another_attempt(root: Path) -> None:
    for loss in (1.0, 2.0):
        with tm.init("again", root_dir=root, quiet=True) as run:
            tm.log({"loss": loss}, 0)
        assert run.dir == str(root / "again")
    reading.settled(root / "again")
    assert [attempt.number for attempt in tm.open_run(root / "again").attempts] == [1, 2]


def test_two_live_runs_of_one_name_are_kept_apart(run: tm.Run, tmp_path: Path, root: Path) -> None:
    out = processes.run_script(
        tmp_path,
        """
        import warnings
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            run = tm.init("unit", root_dir=sys.argv[1])
        print(run.name, run.dir)
        print([(str(one.message), one.lineno, one.filename == __file__) for one in caught])
        """,
        root,
    )
    assert out.splitlines()[0] == f"unit-2 {root / 'unit-2'}"
    assert "the name 'unit' is in use: this run is 'unit-2'" in out
    assert "7, True" in out, "the warning points at the line of the user"


def test_launcher_that_reuses_its_key_gets_another_run_for_another_name(
    tmp_path: Path, root: Path
) -> None:
    script = """
        run = tm.init(sys.argv[2], root_dir=sys.argv[1], quiet=True)
        tm.log({"loss": 1.0}, 0)
        tm.close()
        print(run.name)
        """
    launch_env = {"TM_RUN_ID": "the same"}
    for name in ("first", "second", "first"):
        out = processes.run_script(tmp_path, script, root, name, env=launch_env)
        assert out == f"{name}\n"
        reading.settled(root / name)
    assert sorted(os.listdir(root)) == [".claims", "first", "second"]


def test_ranks_that_disagree_on_the_name_share_the_run_of_the_first(
    tmp_path: Path, root: Path
) -> None:
    first = processes.start_script(
        tmp_path,
        """
        run = tm.init("run_10.01.58", root_dir=sys.argv[1], quiet=True)
        print("ready", flush=True)
        time.sleep(2)
        """,
        root,
        env={"TM_RUN_ID": "j", "RANK": "0", "WORLD_SIZE": "2"},
    )
    assert first.stdout is not None
    first.stdout.readline()
    script = "print(tm.init('run_10.01.59', root_dir=sys.argv[1]).name)"
    env = {"TM_RUN_ID": "j", "RANK": "1", "WORLD_SIZE": "2"}
    assert processes.run_script(tmp_path, script, root, env=env) == "run_10.01.58\n"
    processes.finish(first)


def test_first_line_says_name_and_directory(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "_told_without_effect", set())
    tm.init("told", root_dir=root, notify="x", telegram_chat=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        f"training_monitor: run told -> {root / 'told'}",
        "training_monitor: no effect in this version: notify, telegram_chat",
    ]
    tm.init("told", root_dir=root, openai_model="x")
    assert "no effect" not in capsys.readouterr().err


def test_other_ranks_are_silent(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    tm.init("silent", root_dir=root)
    assert capsys.readouterr().err == ""
    assert not processes.mentioning(root / "silent"), "only rank 0 starts the monitor"


def test_directory_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(tm.RunDirError) as caught:
        tm.init("x", root_dir=blocker / "runs")
    # A long path is shortened at its end.
    assert f"under '{str(blocker)[:40]}" in str(caught.value)
    assert ": Not a directory; choose a writable place" in str(caught.value)
    assert isinstance(caught.value, OSError)
    assert active_run() is None


def test_name_that_a_file_has_gets_a_suffix(root: Path) -> None:
    root.mkdir()
    (root / "x").write_text("")
    with pytest.warns(tm.TrainingMonitorWarning, match="the name 'x' is in use: this run is 'x-2'"):
        run = tm.init("x", root_dir=root, quiet=True, start_monitor=False)
    assert run.name == "x-2"
    assert not run.closed


def test_wrong_argument_leaves_the_active_run_alone(run: tm.Run, root: Path) -> None:
    with pytest.raises(tm.SettingError):
        tm.init("a/b", root_dir=root)
    assert not run.closed


def test_disabled_mode_touches_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with tm.init("off", mode="disabled", root_dir=root) as run:
        tm.log({"loss": object()}, "no step")  # type: ignore[arg-type]
        assert not tm.alert("nothing")
        assert not tm.should_stop()
        assert tm.health().accepted == 0
        assert run.dir == ""
    assert not root.exists()
    assert capsys.readouterr().err == ""


def test_run_survives_pickle_and_copy(run: tm.Run) -> None:
    twin = pickle.loads(pickle.dumps(run))  # noqa: S301
    assert (twin.name, twin.dir) == (run.name, run.dir)
    assert twin.closed
    assert not twin.should_stop()
    twin.close()
    assert copy.copy(run) is run
    assert copy.deepcopy({"run": run})["run"] is run
    assert not run.closed


def test_health_counts_what_was_accepted_and_refused(root: Path) -> None:
    tm.init("counted", root_dir=root, quiet=True, start_monitor=False)
    # Calls of other tests outside any run count for the process.
    before = tm.health().rejected
    tm.log({"a": 1.0, "b": 2.0}, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tm.log({"c": object()}, 1)
    health = tm.health()
    assert health.accepted == 2
    assert health.rejected - before == 1
    assert sum(health.rejected_by.values()) == health.rejected
    assert health.durable == 0
    assert not health.monitor_alive
    assert health.dir is not None
    assert health.dir.startswith(str(root / "counted"))


def test_nobody_asked_to_stop(run: tm.Run) -> None:
    assert tm.should_stop() is False
    assert run.should_stop() is False
    assert run.stop_reason is None


def test_init_in_a_thread_that_returns(root: Path) -> None:
    thread = threading.Thread(target=tm.init, args=("threaded",), kwargs={"root_dir": root})
    thread.start()
    thread.join()
    tm.log({"loss": 1.0}, 0)
    tm.close()
    reading.settled(root / "threaded")
    assert reading.raw(root / "threaded", "loss") == [(0, 1.0)]


def test_notebook_that_inits_again_and_again(root: Path) -> None:
    for cell in range(10):
        tm.init("notebook", root_dir=root, quiet=True)
        tm.log({"cell": cell}, cell)
    tm.close()
    reading.settled(root / "notebook")
    assert reading.steps_of(root / "notebook", "cell") == list(range(10))


def test_stderr_that_is_gone_does_not_stop_a_training(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    tm.init("no_stderr", root_dir=root, start_monitor=False)
    assert active_run() is not None


def test_working_directory_that_is_gone(tmp_path: Path, root: Path) -> None:
    gone = tmp_path / "gone"
    out = processes.run_script(
        tmp_path,
        f"""
        os.mkdir({str(gone)!r}); os.chdir({str(gone)!r}); os.rmdir({str(gone)!r})
        try:
            tm.init("relative")
        except tm.RunDirError as error:
            print(error)
        with tm.init("absolute", root_dir=sys.argv[1]):
            tm.log({{"loss": 1.0}}, 0)
        """,
        root,
    )
    assert "cannot make the directory of run 'relative' under 'ai_logger': No such file" in out
    reading.settled(root / "absolute")
    assert reading.raw(root / "absolute", "loss") == [(0, 1.0)]


def test_open_run_finds_by_name_path_and_database(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tm.init(
        "findable", root_dir=root, quiet=True, config={"lr": 0.1}, system_interval_secs=None
    ):
        tm.log({"loss": 1.0, "note": "hello"}, 3)
    reading.settled(root / "findable")
    monkeypatch.setenv("TM_ROOT_DIR", str(root))
    expected = {"loss": 1.0, "note": "hello"}
    for place in ("findable", root / "findable", root / "findable" / "training_monitor.db"):
        view = tm.open_run(place)
        assert view.name == "findable"
        assert view.config == {"lr": 0.1}
        assert {name: of.last for name, of in view.summary.items()} == expected
        assert view.analyses() == view.messages() == view.gaps == []
        assert view.system() == {}
    step = view.steps(last=1)[0]
    assert (step.step, step.metrics) == (3, {"loss": 1.0, "note": "hello"})
    series = view.series("loss")
    assert (series.step.tolist(), series.value.tolist(), series.rank.tolist()) == ([3], [1.0], [0])
    assert len(series) == 1
    assert series.value.dtype == "float64"


def test_open_run_that_is_not_there_names_the_nearest(root: Path) -> None:
    tm.init("grpo_v2", root_dir=root, quiet=True, start_monitor=False)
    with pytest.raises(tm.RunNotFoundError) as caught:
        tm.open_run("grpo_v3", root_dir=str(root))
    assert str(caught.value) == f"no run 'grpo_v3' under '{root}'; did you mean 'grpo_v2'?"
    with pytest.raises(LookupError, match="no such directory; name another with --root-dir"):
        tm.open_run("x", root_dir=str(root / "nowhere"))


def test_series_of_an_unknown_metric_is_a_key_error(root: Path) -> None:
    with tm.init("keys", root_dir=root, quiet=True):
        tm.log({"loss": 1.0}, 0)
    reading.settled(root / "keys")
    with pytest.raises(KeyError):
        tm.open_run(root / "keys").series("los")


def test_config_of_any_objects_is_readable_and_holds_no_secret(root: Path) -> None:
    token = "sk-" + "aB3d" * 12
    config = {"path": Path("/data"), "api_key": token, "nested": {"lr": 1e-4, "n": None}}
    with tm.init("config", root_dir=root, quiet=True, config=config):
        tm.log({"loss": 1.0}, 0)
    reading.settled(root / "config")
    found = tm.open_run(root / "config").config
    assert found["path"] == "/data"
    assert found["nested"] == {"lr": 1e-4, "n": None}
    assert token not in (root / "config" / "config.json").read_text()
    assert token not in str(found)


def test_python_optimised_and_isolated_runs_too(tmp_path: Path, root: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        "import sys, training_monitor as tm\n"
        "with tm.init('opt', root_dir=sys.argv[1], quiet=True): tm.log({'loss': 1.0}, 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-OO", "-W", "error", str(script), str(root)],
        capture_output=True, text=True, env={**os.environ, "PYTHONINSPECT": ""},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    reading.settled(root / "opt")
    assert reading.raw(root / "opt", "loss") == [(0, 1.0)]


@pytest.mark.parametrize(
    ("claimed", "expected"),
    [("run", True), ("run-2", True), ("run12", False), ("run-", False), ("run-a", False)],
)
def test_only_a_dash_and_digits_make_a_version_of_a_name(claimed: str, expected: bool) -> None:
    assert _is_version_of("run", claimed) is expected
