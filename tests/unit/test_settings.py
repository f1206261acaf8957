"""The table of settings: defaults, sources, checks, messages."""

import argparse
import inspect
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pytest

import training_monitor as tm
from training_monitor import foreign
from training_monitor.cli import flags
from training_monitor.errors import SettingError, UnknownSettingError
from training_monitor.settings import SECRETS, TABLE, Settings, Unset, resolve, secret

# The documented table, and what this package adds to it.
DOCUMENTED = {
    "config": None,
    "training_command": None,
    "openai_model": "gpt-4o",
    "openai_base_url": None,
    "reasoning_effort": None,
    "analysis_interval_min": 5.0,
    "gpus": None,
    "notify_all_analyses": True,
    "telegram_chat": False,
    "idle_timeout_min": None,
    "start_monitor": "auto",
    "root_dir": "ai_logger",
    "sig_figs": 5,
    "zmq_port": 5555,
    "max_prompt_len": 8000,
    "max_conversation_history_tokens": 5000,
    "regenerate_code_analysis": False,
    "recovery_max_age_min": 60,
    "mode": "online",
    "strict": False,
    "device_tensors": "sync",
    "node_limit": 8 * 2**30,
    "ema_alpha_short": 0.1,
    "ema_alpha_long": 0.01,
    "alert_cooldown_min": 15.0,
    "alerts_per_hour": 6,
    "alert_command": None,
}


def settings(**arguments: object) -> Settings:
    return resolve({"experiment_name": "run", **arguments}, {})


def test_defaults_are_the_documented_ones() -> None:
    defaults = dict(settings())
    assert {name: defaults[name] for name in DOCUMENTED} == DOCUMENTED


def test_signature_of_init_is_the_table() -> None:
    parameters = inspect.signature(tm.init).parameters
    named = [name for name, one in parameters.items() if one.kind is not one.VAR_KEYWORD]
    assert named[:3] == ["experiment_name", "config", "training_command"]
    assert sorted(named) == sorted(TABLE)
    for name in named:
        assert isinstance(parameters[name].default, Unset)
        shown = "<required>" if name == "experiment_name" else repr(TABLE[name].default)
        assert repr(parameters[name].default) == shown
    documented = inspect.getdoc(tm.init)
    assert documented is not None
    for name in named:
        assert f"\n    {name}: " in documented


def test_argument_beats_environment_beats_default() -> None:
    environ = {"TM_EXPERIMENT_NAME": "from_env", "TM_SIG_FIGS": "7", "TM_OPENAI_MODEL": "env"}
    found = resolve({"openai_model": "gpt-4o"}, environ)
    assert found.experiment_name == "from_env"
    assert found.sig_figs == 7
    assert found.openai_model == "gpt-4o", "an argument that equals the default is an argument"
    assert found.zmq_port == 5555
    assert found.given == {"experiment_name", "sig_figs", "openai_model"}


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("TM_GPUS", "0,2,3", [0, 2, 3]),
        ("TM_GPUS", "none", None),
        ("TM_GPUS", "", None),
        ("TM_TELEGRAM_CHAT", "Yes", True),
        ("TM_NOTIFY_ALL_ANALYSES", "0", False),
        ("TM_START_MONITOR", "false", False),
        ("TM_START_MONITOR", "AUTO", "auto"),
        ("TM_MODE", "Offline", "offline"),
        ("TM_NODE_LIMIT", "1.5GiB", 3 * 2**29),
        ("TM_NODE_LIMIT", "500 MB", 500_000_000),
        ("TM_NODE_LIMIT", "2g", 2_000_000_000),
        ("TM_ANALYSIS_INTERVAL_MIN", "0.5", 0.5),
        ("TM_CODE_SNAPSHOT_PATHS", "a.py, b.py", ["a.py", "b.py"]),
    ],
)
def test_environment_is_read(variable: str, text: str, value: object) -> None:
    found = resolve({"experiment_name": "run"}, {variable: text})
    assert dict(found)[variable.removeprefix("TM_").lower()] == value


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("gpus", range(2), [0, 1]),
        ("gpus", 3, [3]),
        ("gpus", [], []),
        ("analysis_interval_min", 10, 10.0),
        ("analysis_interval_min", np.float32(2.5), 2.5),
        ("sig_figs", np.int64(4), 4),
        ("root_dir", PurePosixPath("a/b"), "a/b"),
        ("training_command", ["python", "train it.py", "--x='1'"], None),
        ("code_snapshot_paths", "train.py", ["train.py"]),
        ("node_limit", "8GiB", 8 * 2**30),
    ],
)
def test_values_are_kept_as(name: str, value: object, kept: object) -> None:
    if name == "training_command":
        kept = "python 'train it.py' '--x='\"'\"'1'\"'\"''"
    assert dict(settings(**{name: value}))[name] == kept


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("experiment_name", "a/b", "experiment_name='a/b' is not valid: it contains '/'; expected"),
        ("experiment_name", "", "experiment_name='' is not valid: it is empty; expected"),
        ("experiment_name", "..", "it starts with '.'"),
        ("experiment_name", ".hidden", "it starts with '.'"),
        ("experiment_name", "a\0b", "it contains a NUL character"),
        ("experiment_name", "a\nb", "it contains a control character"),
        ("experiment_name", "x" * 129, "it is too long"),
        ("experiment_name", " run", "it starts or ends with a space"),
        ("experiment_name", None, "it is of type NoneType"),
        ("experiment_name", "\udc80", "it contains a control character"),
        ("config", [1, 2], "expected a dict, or an object with named values"),
        ("config", "lr=1", "it is of type str"),
        ("openai_model", "", "expected a non-empty text"),
        ("openai_base_url", "localhost:8000", "expected an address that starts with http://"),
        ("reasoning_effort", "max", "expected 'low' or 'medium' or 'high', or None"),
        ("analysis_interval_min", 0, "expected a number above 0"),
        ("analysis_interval_min", float("nan"), "analysis_interval_min=nan is not valid"),
        ("analysis_interval_min", "5", "analysis_interval_min='5' is not valid"),
        ("gpus", [0, -1], "gpus=[0, -1] is not valid: expected a list of device numbers"),
        ("gpus", [1, 1], "a number stands twice"),
        ("gpus", [True], "gpus=[True] is not valid"),
        ("telegram_chat", 1, "telegram_chat=1 is not valid: expected True or False"),
        ("start_monitor", "yes", "expected 'auto', True or False"),
        ("root_dir", "", "expected a path"),
        ("root_dir", "a\0", "expected a path"),
        ("sig_figs", 2.5, "sig_figs=2.5 is not valid: expected a whole number from 1 to 17"),
        ("sig_figs", True, "sig_figs=True is not valid"),
        ("zmq_port", 70_000, "expected a whole number from 0 to 65535"),
        ("mode", "shared", "expected 'online' or 'offline' or 'disabled'"),
        ("device_tensors", "async", "expected 'sync' or 'reject'"),
        ("node_limit", 5, "expected a number of bytes from 1 MiB up"),
        ("node_limit", "8 parsecs", "node_limit='8 parsecs' is not valid"),
        ("privacy", "some", "expected 'full' or 'no-code' or 'numbers-only' or 'off'"),
        ("alert_cooldown_min", -1, "expected a number from 0 to 100000"),
        ("alerts_per_hour", 0, "expected a whole number from 1 to 1000"),
        ("alert_command", "", "alert_command='' is not valid: expected a text, or a list"),
        ("cost_per_gpu_hour", -1, "cost_per_gpu_hour=-1 is not valid"),
    ],
)
def test_wrong_value_names_parameter_value_and_what_is_allowed(
    name: str, value: object, message: str
) -> None:
    with pytest.raises(SettingError) as caught:
        settings(**{name: value})
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{name}=")
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, tm.TrainingMonitorError)


def test_wrong_variable_is_named_as_the_user_wrote_it() -> None:
    with pytest.raises(SettingError, match=r"^TM_GPUS='all' is not valid: expected a list"):
        resolve({"experiment_name": "run"}, {"TM_GPUS": "all"})


def test_missing_name_says_how_to_give_one() -> None:
    with pytest.raises(SettingError, match=r"experiment_name is missing: pass it .* or set TM_EXP"):
        resolve({}, {})


def test_long_value_is_cut_in_the_message() -> None:
    with pytest.raises(SettingError) as caught:
        settings(mode="x" * 10_000)
    assert len(str(caught.value)) < 250


def test_secret_in_a_refused_value_is_not_shown() -> None:
    token = "sk-" + "a1B2" * 10
    with pytest.raises(SettingError) as caught:
        settings(openai_base_url=f"api_key={token}")
    assert token not in str(caught.value)


def test_value_with_a_broken_repr_is_refused_all_the_same() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError

    with pytest.raises(SettingError, match="mode=<Broken> is not valid"):
        settings(mode=Broken())


def test_config_may_be_any_object_with_named_values() -> None:
    @dataclass
    class Config:
        lr: float = 0.1

    for config in ({"lr": 1}, argparse.Namespace(lr=1), Config(), None):
        assert settings(config=config).config is config


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        settings().mode = "disabled"  # type: ignore[misc]


def test_log_files_mean_the_same_in_every_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = settings(log_paths=["logs/*.txt", "../a.out", "/b.log"]).log_paths
    assert given == [f"{tmp_path}/logs/*.txt", f"{tmp_path.parent}/a.out", "/b.log"]
    told = TABLE["log_paths"].kind.spell(given)
    monkeypatch.chdir("/")
    assert resolve({"experiment_name": "run"}, {"TM_LOG_PATHS": told}).log_paths == given


def test_settings_without_effect_are_those_that_somebody_gave() -> None:
    found = resolve(
        {"experiment_name": "run", "notify": "x", "strict": True}, {"TM_TELEGRAM_CHAT": "1"}
    )
    assert found.without_effect() == ["notify", "telegram_chat"]


@pytest.mark.parametrize(
    ("variable", "name"),
    [
        ("TELEGRAM_BOT_TOKEN", "telegram_bot_token"),
        ("TELEGRAM_TOKEN", "telegram_bot_token"),
        ("TELEGRAM_CHAT_ID", "telegram_chat_id"),
        ("TELEGRAM_CHAT", "telegram_chat_id"),
        ("TM_ALERT_WEBHOOK", "alert_webhook"),
        ("PUSHOVER_USER_KEY", "pushover_user_key"),
        ("PUSHOVER_APP_TOKEN", "pushover_app_token"),
        ("OPENAI_API_KEY", "openai_api_key"),
    ],
)
def test_both_spellings_of_a_secret_work(variable: str, name: str) -> None:
    assert secret(name, {variable: "value"}) == "value"
    assert secret(name, {}) is None


def test_first_spelling_of_a_secret_wins() -> None:
    assert secret("telegram_chat_id", {"TELEGRAM_CHAT_ID": "1", "TELEGRAM_CHAT": "2"}) == "1"


def test_keywords_of_wandb_are_ignored_with_one_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign, "_warned", set())
    with pytest.warns(tm.TrainingMonitorWarning) as caught:
        foreign.check_keywords({"project": "p", "entity": "e", "name": "n"}, stacklevel=1)
    assert [str(warning.message) for warning in caught] == [
        (
            "init() ignores keywords of wandb: entity, name (nearest: experiment_name), "
            "project (nearest: root_dir)"
        )
    ]
    assert caught[0].filename == __file__
    foreign.check_keywords({"project": "other"}, stacklevel=1)  # a second warning would raise here


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_a_secret_as_a_parameter_is_refused_unseen_and_its_variable_named(name: str) -> None:
    with pytest.raises(UnknownSettingError) as caught:
        tm.init("run", **{name: "123456:hunter2"})
    assert SECRETS[name][0] in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_unknown_keyword_is_an_error_with_the_nearest_name() -> None:
    with pytest.raises(UnknownSettingError, match=r"no parameter 'openai_modle'.*'openai_model'\?"):
        foreign.check_keywords({"openai_modle": "x"}, stacklevel=1)
    with pytest.raises(TypeError, match=r"no parameter 'zzz' \(given 1\)$"):
        foreign.check_keywords({"zzz": 1}, stacklevel=1)


def test_every_setting_is_a_flag_or_says_that_it_is_none() -> None:
    parser = argparse.ArgumentParser()
    flags.add_settings(parser)
    text = parser.format_help()
    for name, row in TABLE.items():
        flag = "--experiment" if name == "experiment_name" else "--" + name.replace("_", "-")
        assert (flag in text) == row.flag, name
    assert "--no-notify-all-analyses" in text


def test_flags_of_the_documented_example() -> None:
    parser = argparse.ArgumentParser()
    flags.add_settings(parser)
    words = (
        "--experiment grpo_v2 --openai-model gpt-4o --analysis-interval-min 5 --gpus 0,1,2,3 "
        "--notify-all-analyses --telegram-chat --recovery-max-age-min 30"
    )
    found = flags.to_settings(parser.parse_args(words.split()))
    assert found.experiment_name == "grpo_v2"
    assert found.gpus == [0, 1, 2, 3]
    assert found.telegram_chat is True
    assert found.recovery_max_age_min == 30
    assert found.root_dir == "ai_logger"


def test_wrong_flag_says_what_is_allowed(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    flags.add_settings(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["--experiment", "x", "--gpus", "all"])
    assert "argument --gpus: 'all' is not valid: expected a list" in capsys.readouterr().err


def test_home_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    assert settings(root_dir=Path("~/runs")).root_dir == "/somewhere/runs"
