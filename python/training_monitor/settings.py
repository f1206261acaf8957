"""The settings: one table behind init(), the flags of the commands and TM_* variables.

An argument beats the environment, the environment beats the default.
"""

from __future__ import annotations

import os

from training_monitor.errors import SettingError, shown
from training_monitor.kinds import (
    Flag,
    Generic,
    Hyperparameters,
    Indices,
    Maybe,
    Number,
    Refused,
    Size,
    StartMonitor,
)
from training_monitor.texts import Choice, Command, Files, Name, Path, Texts, Url, Word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any, TypeVar

    from training_monitor.kinds import Kind

    T = TypeVar("T")
else:
    T = None

__all__ = ["SECRETS", "TABLE", "Setting", "Settings", "Unset", "resolve", "secret", "unset"]


class Unset:
    """The default in a signature: shows the value, yet says that nobody gave one."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        setting = TABLE[self.name]
        return "<required>" if setting.required else repr(setting.default)


class Setting(Generic[T]):
    """One row of the table; on an object of Settings it reads as its value."""

    def __init__(
        self,
        default: T,
        kind: Kind[T],
        help: str,  # noqa: A002 -- the word argparse uses
        *,
        works: bool = False,
        flag: bool = True,
        required: bool = False,
    ) -> None:
        self.name = ""
        self.default = default
        self.kind = kind
        self.help = help
        self.works = works
        self.flag = flag
        self.required = required

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, settings: Settings | None, owner: type) -> T:
        if settings is None:
            return self  # type: ignore[return-value]  # the row itself: what inspect and pydoc ask
        return settings.values[self.name]  # type: ignore[no-any-return]

    @property
    def variable(self) -> str:
        """The environment variable of this setting."""
        return f"TM_{self.name.upper()}"

    def take(self, value: object) -> T:
        """Return the value as it is kept, or raise SettingError."""
        try:
            # A subclass of str may compare as it likes: its text counts.
            return self.kind.take(str.__str__(value) if isinstance(value, str) else value)
        except Refused as refused:
            raise self._error(self.name, value, refused) from None
        except Exception:  # noqa: BLE001 -- the value's own code failed, so it is none of this kind
            raise self._error(self.name, value, Refused()) from None

    def read(self, text: str, source: str) -> T:
        """Return what `source`, a flag or a variable, spells, or raise SettingError."""
        try:
            return self.kind.read(text)
        except Refused as refused:
            raise self._error(source, text, refused) from None
        except Exception:  # noqa: BLE001 -- a text that no number and no path can be made of
            raise self._error(source, text, Refused()) from None

    def from_environment(self) -> T:
        """Return what the environment of this process says, else the default."""
        text = os.environ.get(self.variable)
        return self.read(text, self.variable) if text else self.default

    def _error(self, source: str, value: object, refused: Refused) -> SettingError:
        reason = f"{refused}; " if str(refused) else ""
        return SettingError(f"{source}={shown(value)} is not valid: {reason}{self.kind.allowed}")


class Settings:
    """The settings of one run, each checked; the class body is the table."""

    # fmt: off
    experiment_name = Setting(
        "", Name(), "name of the run, and of its directory", works=True, required=True)
    config = Setting[object](
        None, Maybe(Hyperparameters()), "hyperparameters", works=True, flag=False)
    training_command = Setting[str | None](
        None, Maybe(Command()), "the command that started the training", works=True, flag=False)
    openai_model = Setting("gpt-4o", Word(), "model for the analysis", works=True)
    openai_base_url = Setting[str | None](
        None, Maybe(Url()), "address of an OpenAI-compatible server", works=True)
    reasoning_effort = Setting[str | None](
        None, Maybe(Choice("low", "medium", "high")), "effort of a reasoning model", works=True)
    analysis_interval_min = Setting(
        5.0, Number(float, 0, 1e6, above=True), "minutes between two analyses", works=True)
    gpus = Setting[list[int] | None](
        None, Maybe(Indices()), "GPUs to watch, as 0,1; default: all", works=True)
    notify_all_analyses = Setting(True, Flag(), "send every analysis, not only alerts")
    telegram_chat = Setting(False, Flag(), "answer questions from the Telegram chat")
    idle_timeout_min = Setting[float | None](
        None, Maybe(Number(float, 0, 1e6, above=True)),
        "pause the analyses after so many minutes without metrics", works=True)
    start_monitor = Setting[str | bool](
        "auto", StartMonitor(), "start the monitor: auto (rank 0 only), True or False",
        works=True, flag=False)
    root_dir = Setting("ai_logger", Path(), "directory that holds the runs", works=True)
    sig_figs = Setting(
        5, Number(int, 1, 17), "significant figures of metrics in a prompt",
        works=True)
    zmq_port = Setting(
        5555, Number(int, 0, 65535),
        "port for metrics of other nodes; the next free one if it is taken", works=True)
    zmq_host = Setting[str | None](
        None, Maybe(Word()),
        "address to listen on for other nodes; default: loopback, or all when there are any",
        works=True)
    max_prompt_len = Setting(
        8000, Number(int, 500, 10**7), "tokens of an analysis prompt at most",
        works=True)
    max_conversation_history_tokens = Setting(
        5000, Number(int, 0, 10**7), "tokens of conversation in a prompt at most", works=True)
    regenerate_code_analysis = Setting(
        False, Flag(), "write code summary and metric descriptions anew", works=True)
    recovery_max_age_min = Setting(
        60.0, Number(float, 0, 1e7), "minutes of history that a restarted monitor takes up again",
        works=True)

    mode = Setting(
        "online", Choice("online", "offline", "disabled"),
        "offline: no LLM, no messages; disabled: record nothing", works=True)
    strict = Setting(False, Flag(), "log() raises when it refuses a value", works=True, flag=False)
    quiet = Setting(False, Flag(), "print nothing at start and end", works=True, flag=False)
    device_tensors = Setting(
        "sync", Choice("sync", "reject"), "tensors on a device: wait for them, or refuse them",
        works=True, flag=False)
    stuck_stacks = Setting(
        False, Flag(), "let the monitor take the Python stacks of a rank that hangs, by a signal",
        works=True, flag=False)
    node_limit = Setting(
        8 * 2**30, Size(), "bytes that unread metrics may take on one node", works=True)
    system_interval_secs = Setting[float | None](
        1.0, Maybe(Number(float, 0.1, 3600)),
        "seconds between two samples of the machine; none: take none", works=True)
    ema_alpha_short = Setting(
        0.1, Number(float, 0, 1, above=True), "weight of a new value in the short moving average",
        works=True)
    ema_alpha_long = Setting(
        0.01, Number(float, 0, 1, above=True), "weight of a new value in the long moving average",
        works=True)
    keep_runs = Setting[int | None](
        None, Maybe(Number(int, 1, 10**6)),
        "at the start of a run remove the oldest finished ones beyond so many", works=True)
    keep_days = Setting[float | None](
        None, Maybe(Number(float, 0, 1e5, above=True)),
        "at the start of a run remove finished ones unused for so many days", works=True)
    disk_budget = Setting[int | None](
        None, Maybe(Size()),
        "at the start of a run remove the oldest finished ones until all fit, as 50GiB", works=True)
    code_snapshot_manifest = Setting(
        "snapshot_files.txt", Path(), "file that lists the code to keep with the run", works=True)
    code_snapshot_paths = Setting[list[str] | None](
        None, Maybe(Texts()), "files and directories of code to keep with the run", works=True)
    privacy = Setting(
        "full", Choice("full", "no-code", "numbers-only", "off"), "what the LLM may see",
        works=True)
    llm_calls_per_hour = Setting(
        60, Number(int, 0, 10**6), "requests to the model in an hour at most", works=True)
    llm_tokens_per_hour = Setting(
        1_000_000, Number(int, 0, 10**12), "tokens to and from the model in an hour at most",
        works=True)
    llm_cost_per_hour = Setting[float | None](
        None, Maybe(Number(float, 0, 1e9)),
        "money for the model in an hour at most; needs the two prices", works=True)
    llm_price_in = Setting[float | None](
        None, Maybe(Number(float, 0, 1e9)), "price of a million tokens sent to the model",
        works=True)
    llm_price_out = Setting[float | None](
        None, Maybe(Number(float, 0, 1e9)), "price of a million tokens that the model answers",
        works=True)
    log_paths = Setting[list[str] | None](
        None, Maybe(Files()), "log files that the LLM may read, as logs/*.txt", works=True)
    capture_output = Setting(
        False, Flag(), "keep what Python prints in output-rank<N>.log of the run", works=True,
        flag=False)
    notify = Setting[list[str] | None](None, Maybe(Texts()), "further addresses for messages")
    alert_cooldown_min = Setting(
        15.0, Number(float, 0, 1e5),
        "minutes until the same alert is told again, unless it gets worse", works=True)
    alerts_per_hour = Setting(
        6, Number(int, 1, 1000), "warnings told in an hour; further ones are counted in the next",
        works=True)
    alert_command = Setting[str | None](
        None, Maybe(Command()), "command to run for each alert: JSON on stdin, TM_ALERT_* set",
        works=True)
    cost_per_gpu_hour = Setting[float | None](
        None, Maybe(Number(float, 0, 1e6)), "price of one GPU for one hour", works=True)
    detection = Setting(
        True, Flag(), "judge the metrics as they come: findings, phase, time left", works=True)
    total_steps = Setting[int | None](
        None, Maybe(Number(int, 1, 10**15)),
        "the step at which the run ends; default: as the config says", works=True)
    # fmt: on

    __slots__ = ("given", "values")

    def __init__(self, values: dict[str, Any], given: frozenset[str]) -> None:
        self.values = values
        self.given = given

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return iter(self.values.items())

    def without_effect(self) -> list[str]:
        """Name the settings that somebody gave and this version does not use yet."""
        return sorted(name for name in self.given if not TABLE[name].works)


TABLE: dict[str, Setting[Any]] = {
    name: row for name, row in vars(Settings).items() if isinstance(row, Setting)
}

# What must never stand in a file, a message or `ps`: the first spelling found wins. The second
# ones are those of the tools that this package follows.
SECRETS: dict[str, tuple[str, ...]] = {
    "openai_api_key": ("OPENAI_API_KEY",),
    "telegram_bot_token": ("TELEGRAM_BOT_TOKEN", "TELEGRAM_TOKEN"),
    "telegram_chat_id": ("TELEGRAM_CHAT_ID", "TELEGRAM_CHAT"),
    "relay_key": ("TM_RELAY_KEY",),
    "alert_webhook": ("TM_ALERT_WEBHOOK",),
    "pushover_user_key": ("PUSHOVER_USER_KEY",),
    "pushover_app_token": ("PUSHOVER_APP_TOKEN",),
}


def secret(name: str, environ: Mapping[str, str] | None = None) -> str | None:
    """Return the secret `name` from the environment; None when no spelling of it is set."""
    environ = os.environ if environ is None else environ
    for variable in SECRETS[name]:
        if environ.get(variable):
            return environ[variable]
    return None


def resolve(arguments: Mapping[str, object], environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings that follow from arguments, environment and defaults.

    Args:
        arguments: Values by name; an Unset, or a missing name, was not given.
        environ: The environment; None means that of this process.

    Raises:
        SettingError: A value is not allowed, or a required one is missing.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    given = set()
    for name, row in TABLE.items():
        argument = arguments.get(name, _NOTHING)
        if type(argument) is not Unset:
            values[name] = row.take(argument)
        elif (text := environ.get(row.variable)) and name != "config":
            values[name] = row.read(text, row.variable)
        elif row.required:
            raise SettingError(
                f"{name} is missing: pass it as an argument or set {row.variable}; "
                f"{row.kind.allowed}"
            )
        else:
            values[name] = row.default
            continue
        given.add(name)
    return Settings(values, frozenset(given))


class _Unsets:
    """Gives for each name what stands for "not given" as the default of that parameter."""

    def __getattr__(self, name: str) -> Any:
        return Unset(name)


unset = _Unsets()
_NOTHING = Unset("")
