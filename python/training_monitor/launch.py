"""init(): from settings to a claimed run directory, an open producer and a monitor on its way."""

from __future__ import annotations

import _thread
import os
import sys
import time

from training_monitor import _core
from training_monitor.claim import claim
from training_monitor.errors import RunDirError, SpoolError, told, warned
from training_monitor.foreign import check_keywords
from training_monitor.job import find_job
from training_monitor.run import Run, activate, close
from training_monitor.settings import Settings, resolve, unset
from training_monitor.spawn import monitor_argv, monitor_env, node_log
from training_monitor.stackfile import offer
from training_monitor.texts import quoted
from training_monitor.uncaught import watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from training_monitor.capture import Capture
    from training_monitor.job import Job

__all__ = ["init"]

_lock = _thread.allocate_lock()
_inits = 0
_told_without_effect: set[str] = set()
_told_of_slow_lanes = False


def init(
    experiment_name: str = unset.experiment_name,
    config: object = unset.config,
    training_command: str | list[str] | None = unset.training_command,
    openai_model: str = unset.openai_model,
    *,
    openai_base_url: str | None = unset.openai_base_url,
    reasoning_effort: str | None = unset.reasoning_effort,
    analysis_interval_min: float = unset.analysis_interval_min,
    gpus: list[int] | None = unset.gpus,
    notify_all_analyses: bool = unset.notify_all_analyses,
    telegram_chat: bool = unset.telegram_chat,
    idle_timeout_min: float | None = unset.idle_timeout_min,
    start_monitor: str | bool = unset.start_monitor,
    root_dir: str | os.PathLike[str] = unset.root_dir,
    sig_figs: int = unset.sig_figs,
    zmq_port: int = unset.zmq_port,
    zmq_host: str | None = unset.zmq_host,
    max_prompt_len: int = unset.max_prompt_len,
    max_conversation_history_tokens: int = unset.max_conversation_history_tokens,
    regenerate_code_analysis: bool = unset.regenerate_code_analysis,
    recovery_max_age_min: float = unset.recovery_max_age_min,
    mode: str = unset.mode,
    strict: bool = unset.strict,
    quiet: bool = unset.quiet,
    device_tensors: str = unset.device_tensors,
    stuck_stacks: bool = unset.stuck_stacks,
    node_limit: int | str = unset.node_limit,
    system_interval_secs: float | None = unset.system_interval_secs,
    ema_alpha_short: float = unset.ema_alpha_short,
    ema_alpha_long: float = unset.ema_alpha_long,
    keep_runs: int | None = unset.keep_runs,
    keep_days: float | None = unset.keep_days,
    disk_budget: int | str | None = unset.disk_budget,
    code_snapshot_manifest: str | os.PathLike[str] = unset.code_snapshot_manifest,
    code_snapshot_paths: list[str] | None = unset.code_snapshot_paths,
    privacy: str = unset.privacy,
    llm_calls_per_hour: int = unset.llm_calls_per_hour,
    llm_tokens_per_hour: int = unset.llm_tokens_per_hour,
    llm_cost_per_hour: float | None = unset.llm_cost_per_hour,
    llm_price_in: float | None = unset.llm_price_in,
    llm_price_out: float | None = unset.llm_price_out,
    log_paths: list[str] | None = unset.log_paths,
    capture_output: bool = unset.capture_output,
    notify: list[str] | None = unset.notify,
    alert_cooldown_min: float = unset.alert_cooldown_min,
    alerts_per_hour: int = unset.alerts_per_hour,
    alert_command: str | list[str] | None = unset.alert_command,
    cost_per_gpu_hour: float | None = unset.cost_per_gpu_hour,
    detection: bool = unset.detection,
    total_steps: int | None = unset.total_steps,
    **other: object,
) -> Run:
    """Start recording a run; return it without waiting for the monitor.

    Every parameter can also be set as an environment variable, `TM_` and its name in capitals.
    A run that is active in this process is closed first. The same name again continues that
    run with a new attempt; while another job records under it, the name gets a suffix.

    Args:
        experiment_name: Name of the run, and of its directory below `root_dir`.
        config: Hyperparameters: a dict, a Namespace, a dataclass. Kept with the run.
        training_command: The command that started the training; default: `sys.argv`.
        openai_model: Model for the analysis.
        openai_base_url: Address of an OpenAI-compatible server.
        reasoning_effort: "low", "medium" or "high" for reasoning models.
        analysis_interval_min: Minutes between two analyses.
        gpus: Numbers of the GPUs to watch; None means all.
        notify_all_analyses: Send every analysis, not only alerts.
        telegram_chat: Answer questions from the Telegram chat.
        idle_timeout_min: Pause the analyses after so many minutes without metrics.
        start_monitor: "auto" (rank 0 only), True or False.
        root_dir: Directory that holds the runs.
        sig_figs: Significant figures of metrics in a prompt.
        zmq_port: Port for metrics of other nodes; the next free one if it is taken.
        zmq_host: Address to listen on for other nodes; None means loopback, or all addresses
            when the job has several nodes.
        max_prompt_len: Tokens of an analysis prompt at most.
        max_conversation_history_tokens: Tokens of conversation in a prompt at most.
        regenerate_code_analysis: Write code summary and metric descriptions anew.
        recovery_max_age_min: Minutes of history that a restarted monitor takes up again.
        mode: "online"; "offline" (no LLM, no messages); "disabled" (record nothing).
        strict: Let log() raise when it refuses a value.
        quiet: Print nothing.
        device_tensors: "sync" waits for tensors on a device, "reject" refuses them.
        stuck_stacks: Let the monitor take the Python stacks of this process when nothing is logged
            any more, by a real-time signal that faulthandler answers.
        node_limit: Bytes that unread metrics may take on one node, as 8589934592 or "8GiB".
        system_interval_secs: Seconds between two samples of host, GPUs and trainers; None takes
            none.
        ema_alpha_short: Weight of a new value in the moving average with the short memory.
        ema_alpha_long: Weight of a new value in the moving average with the long memory.
        keep_runs: Keep so many runs under `root_dir`; the oldest finished ones are removed when
            this run starts. None means no limit, here and for the next two.
        keep_days: Remove finished runs that were not used for so many days.
        disk_budget: Remove the oldest finished runs until all take no more bytes, as "50GiB".
        code_snapshot_manifest: File that lists the code to keep with the run, a file or a
            directory on each line; without it, what git tracks around the script.
        code_snapshot_paths: Files and directories of code to keep with the run; an empty list
            keeps none.
        privacy: What the LLM may see: "full", "no-code", "numbers-only" or "off".
        llm_calls_per_hour: Requests to the model in an hour at most.
        llm_tokens_per_hour: Tokens to and from the model in an hour at most.
        llm_cost_per_hour: Money for the model in an hour at most, by the next two.
        llm_price_in: Price of a million tokens sent to the model.
        llm_price_out: Price of a million tokens that the model answers.
        log_paths: Log files that the LLM may read; relative paths from here, and patterns as
            "logs/*.txt".
        capture_output: Keep what Python prints in `output-rank<N>.log` of the run: 16 MiB for each
            rank at most.
        notify: Further addresses for messages.
        alert_cooldown_min: Minutes until the same alert is told again, unless it gets worse.
        alerts_per_hour: Warnings told in an hour; further ones are counted in the next alert.
        alert_command: Command that is run for each alert, without a shell: it gets the alert as
            JSON on stdin, and its main words as TM_ALERT_* variables.
        cost_per_gpu_hour: Price of one GPU for one hour.
        detection: Whether the metrics are judged as they come: findings, phase, time left.
        total_steps: The step at which the run ends; None means as the config says.
        **other: Keywords of wandb.init() are ignored with one warning.

    Raises:
        SettingError: A parameter has a value it may not have.
        UnknownSettingError: A keyword that neither we nor wandb know.
        RunDirError: The run directory cannot be made or written.
    """
    arguments = locals()
    check_keywords(other, stacklevel=2)
    settings = resolve(arguments)
    with _lock:
        close()
        if settings.mode == "disabled":
            _core.disable()
            return activate(Run(settings.experiment_name, ""))
        return _open(settings)


def _open(settings: Settings) -> Run:
    """Claim the directory, open the producer, and send the monitor on its way."""
    global _inits
    _inits += 1
    job = find_job(_inits)
    claimed = claim(settings.root_dir, settings.experiment_name, job)
    run_dir, name = claimed.run_dir, claimed.name
    relay = _relay_name(settings, job)
    starts = settings.start_monitor is True or (settings.start_monitor == "auto" and job.rank == 0)
    if starts or relay or (settings.start_monitor == "auto" and job.on_first_node):
        # Every rank beside the monitor knows the command: whoever logs next brings it back.
        _core.set_monitor_command(
            monitor_argv(run_dir, relay),
            monitor_env(settings) | _listening(settings, job),
            node_log(run_dir, relay),
            run_dir,
        )
    else:
        # The command of an earlier run of this process must not outlive it.
        _core.set_monitor_command([], {}, "", "")
    _open_producer(settings, run_dir, name, job)
    if settings.stuck_stacks:
        _offer_stacks()
    capture = _captured(run_dir, job.rank) if settings.capture_output else None
    run = activate(Run(name, run_dir, strict=settings.strict, capture=capture))
    watch()
    if starts or (relay and job.local_rank == 0):
        _start_monitor(run_dir)
    if job.rank == 0:
        _tell(settings, run, suffixed=claimed.suffixed)
    return run


def _relay_name(settings: Settings, job: Job) -> str | None:
    """Return the name of the run for the relay of this node; None where none is needed.

    The monitor reads the lanes of its own node. Whoever said start_monitor=True wants one here.
    """
    wanted = settings.start_monitor is not True and not job.on_first_node
    return settings.experiment_name if wanted else None


def _listening(settings: Settings, job: Job) -> dict[str, str]:
    """Return where the monitor listens: for nobody else, unless there are other nodes."""
    if settings.zmq_host is not None:
        return {}
    return {"TM_ZMQ_HOST": "127.0.0.1" if job.on_one_node else "*"}


def _open_producer(settings: Settings, run_dir: str, name: str, job: Job) -> None:
    """Make the lanes of this process."""
    try:
        slow = _core.open_producer(
            run_dir=run_dir,
            job_key=job.key,
            rank=job.rank,
            local_rank=job.local_rank,
            world=job.world,
            local_world=job.local_world,
            strict=settings.strict,
            device_tensors=settings.device_tensors,
            node_limit_bytes=settings.node_limit,
            config_json=_core.to_json(_launch_facts(settings, name, job)),
        )
    except SpoolError as error:
        raise RunDirError(
            f"cannot record into {run_dir!r}: {error}; choose a place with room for it, and the "
            "right to write there, with root_dir= or TM_ROOT_DIR"
        ) from error
    if slow is not None and job.local_rank == 0:
        _warn_of_slow_lanes(run_dir, slow)


def _warn_of_slow_lanes(run_dir: str, file_system: str) -> None:
    """Say once what a file system costs that cannot hold mapped lanes, and how to avoid it."""
    global _told_of_slow_lanes
    if not _told_of_slow_lanes:
        _told_of_slow_lanes = True
        warned(
            f"{run_dir!r} is on a file system ({file_system}) that cannot hold mapped lanes, and "
            "no local directory can: each log() is a system call. Set TMPDIR to a directory on a "
            "local disk, or root_dir= to one",
            stacklevel=5,
        )


def _offer_stacks() -> None:
    """Let the monitor ask for the Python stacks; without them, recording goes on."""
    trouble = offer(str(_core.health()["dir"]))
    if trouble is not None:
        told(f"stuck_stacks has no effect: {trouble}", quiet=False)


def _captured(run_dir: str, rank: int) -> Capture | None:
    """Keep what is printed from now on; without it, recording goes on."""
    from training_monitor.capture import capture_output

    try:
        return capture_output(run_dir, rank)
    except OSError as error:
        told(f"capture_output has no effect: {error}", quiet=False)
        return None


def _start_monitor(run_dir: str) -> None:
    """Send the monitor on its way; without one, recording goes on."""
    try:
        pid, reason = _core.spawn_monitor(), ""
    except OSError as error:
        pid, reason = 0, f" ({error})"
    if not pid:
        told(
            f"the monitor did not start{reason}; what log() takes stays in the spool, and "
            f"`training-monitor recover {quoted(run_dir)}` brings it home",
            quiet=False,
        )


def _launch_facts(settings: Settings, name: str, job: Job) -> dict[str, object]:
    """Return what config.json tells about this launch; the monitor adds what it can find out."""
    argv = getattr(sys, "argv", [])
    command = settings.training_command or " ".join(quoted(word) for word in argv)
    system = os.uname()
    return {
        "experiment_name": name,
        "training_command": _core.redact(command),
        "cwd": _working_directory(),
        "script": _script(),
        "host": system.nodename,
        "platform": f"{system.sysname} {system.release} {system.machine}",
        "python": sys.version.split()[0],
        "started": time.time(),
        "pid": os.getpid(),
        "job_key": job.key,
        "rank": job.rank,
        "world_size": job.world,
        "settings": {
            key: _shown_addresses(value) if key == "notify" else value
            for key, value in settings
            if key not in ("config", "training_command")
        },
        # Last: what is too large is cut from here on.
        "config": settings.config,
    }


def _shown_addresses(addresses: list[str] | None) -> list[str] | None:
    """Return where messages go, without what lets anybody send there."""
    if addresses is None:
        return None
    parts = [address.partition("://") for address in addresses]
    return [f"{scheme}://[redacted]" if mark else "[redacted]" for scheme, mark, _ in parts]


def _script() -> str | None:
    """Return the file that was started; None in a shell."""
    path = getattr(sys.modules.get("__main__"), "__file__", None) or next(iter(sys.argv), None)
    return path if isinstance(path, str) and path and path != "-c" else None


def _working_directory() -> str | None:
    try:
        return os.getcwd()
    except OSError:
        return None


def _tell(settings: Settings, run: Run, *, suffixed: bool) -> None:
    """Say where the run is, what has no effect (once), and that the name is another one."""
    told(f"run {run.name} -> {run.dir}", quiet=settings.quiet)
    fresh = [name for name in settings.without_effect() if name not in _told_without_effect]
    if fresh:
        _told_without_effect.update(fresh)
        told(f"no effect in this version: {', '.join(fresh)}", quiet=settings.quiet)
    if trouble := _core.find_database(run.dir)[1]:
        warned(
            f"{trouble}: until `training-monitor recover` brings it home there, or goes on without "
            "it here with --from-copy, what log() takes stays in the spool",
            stacklevel=4,
        )
    if suffixed:
        warned(
            f"the name {settings.experiment_name!r} is in use: this run is {run.name!r}",
            stacklevel=4,
        )


def _renew_lock() -> None:
    """Give a forked child a lock of its own: another thread may have held this one."""
    global _lock
    _lock = _thread.allocate_lock()


os.register_at_fork(after_in_child=_renew_lock)
