"""The words that metrics are called by, and what they mean: tables, no code that decides.

A row of TABLE has phrases, parted by a bar. A phrase is one word, or several that follow each
other; `*` between two words stands for any others, and `$` is the end of the name. Where several
match, the higher level counts, then what stands further right, as in "reward loss"; a phrase that
lies within a longer one does not count.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "ACTIVITIES",
    "GOALS",
    "HEADINGS",
    "KINDS",
    "KNOWN",
    "QUALIFIERS",
    "SAME",
    "SPLITS",
    "STATISTICS",
    "TABLE",
    "UNITS",
    "Row",
]

# What a metric can be, and what people read of it.
KINDS = {
    "loss": "what is minimised, or a part of it",
    "score": "how good the model is; more is better, as accuracy",
    "error": "how wrong the model is; less is better, as the word error rate or perplexity",
    "reward": "the reward or return of an episode or an answer",
    "reward_part": "one part of the reward",
    "reward_std": "how much rewards differ",
    "kl": "a KL divergence, also as a term of the loss",
    "entropy": "an entropy, also as a term of the loss and then perhaps with the sign turned",
    "clip_fraction": "the share of ratios, gradients or answers that were cut",
    "advantage": "an advantage",
    "length": "the length of answers, prompts, sequences or episodes",
    "lr": "a learning rate, or its multiplier",
    "momentum": "the momentum of the optimizer",
    "grad_norm": "the norm of the gradients",
    "weight_norm": "the norm of the weights",
    "update_ratio": "the size of an update beside that of the weights",
    "loss_scale": "the loss scale of mixed precision",
    "step_time": "the time that a step takes",
    "data_time": "the time that a step waits for data",
    "eval_time": "the time that an evaluation takes",
    "time": "another duration, or the time that has passed or is left",
    "throughput": "steps, samples, tokens or operations in a second",
    "mfu": "the share of the machine's arithmetic that is used",
    "memory": "memory in use",
    "gpu_util": "how busy a GPU is",
    "temperature": "how hot a device is",
    "power": "the power that a device draws",
    "cost": "money",
    "epoch": "how many epochs were done",
    "step": "how many steps, updates or episodes were done",
    "tokens": "how many tokens or samples were consumed",
    "progress": "how much of the run is done",
    "other": "anything else",
}

# Which way is better, where the kind tells it.
GOALS = {
    "loss": "min",
    "score": "max",
    "error": "min",
    "reward": "max",
    "reward_part": "max",
    "step_time": "min",
    "data_time": "min",
    "eval_time": "min",
    "throughput": "max",
    "mfu": "max",
}


@dataclass(frozen=True, slots=True)
class Row:
    """Some phrases and what they mean.

    Attributes:
        kind: One of KINDS.
        level: What counts where several rows match: 4 is never a part of something else, 3 stands
            for itself, 2 may be made into a loss, 1 is said of many things, 0 is the last guess.
        phrases: Parted by a bar.
        rank: Of two metrics of one kind the lower one is sooner the headline.
        held_out: Whether the quantity is only ever measured on data that is not trained on.
        goal: Where it is another one than that of the kind; "" means neither.
    """

    kind: str
    level: int
    phrases: str
    rank: int = 0
    held_out: bool = False
    goal: str | None = None


TABLE = (
    # Losses. What is called a loss is one, whatever it is made of: "loss_dice", "loss/reward".
    Row(
        "loss",
        3,
        "loss|nll|cross entropy|cross entropy loss|crossentropy|logloss|mlogloss|hinge|bce",
    ),
    Row("loss", 3, "bpb|bpc|bpd|bits per byte|bits per dim|bits per character", rank=1),
    Row("loss", 1, "penalty|ce|xent|focal|surrogate|objective|criterion|regularization", rank=3),
    # Scores, the usual headline of their field first.
    Row(
        "score",
        2,
        "map|miou|mean average precision|average precision|ndcg|bleu|sacrebleu|pq|nds|amota",
        held_out=True,
    ),
    Row("score", 2, "rouge|rougel|rougelsum|meteor|cider|spice|chrf|comet|bertscore", 1, True),
    Row("score", 2, "accuracy|exact match|success rate|win rate|solve rate|pass rate", 1),
    Row("score", 2, "pass|correct rate|winrate|em|uas|las|elo|trueskill", 1),
    Row(
        "score",
        2,
        "auc|auroc|auprc|aucpr|prauc|roc|f1|fscore|fbeta|hmean|dice|iou|jaccard|mcc|kappa",
        2,
    ),
    Row("score", 2, "matthew correlation|pearson|spearman|spearmanr|correlation|r2|mrr|hit", 2),
    Row("score", 2, "psnr|ssim|pck|inception score|clip score|tm score|gdt|sisdr|stoi|pesq|mos", 1),
    Row("score", 2, "ap|io u|likelihood|elbo|similarity|nmi|ari|sharpe|sdr|vmaf|quality", 3),
    Row("score", 2, "precision|recall|sensitivity|specificity|ar|tpr|tnr", 4),
    Row("score", 2, "reward accuracy", 1),
    Row("score", 2, "token accuracy", 8),
    Row("score", 3, "explained variance", 8),
    Row("score", 3, "dice coefficient|correlation coefficient|accuracy norm|length norm", 1),
    Row(
        "score",
        1,
        "score|fitness|cosine|success|correct|hellaswag|mmlu|piqa|gsm|humaneval|winogrande|boolq|squad|glue",
        2,
    ),
    Row("score", 1, "arc easy|arc challenge|truthfulqa|mbpp|aime|top|core metric|best metric", 3),
    Row("score", 1, "chatcore metric|entity", 3),
    # Errors.
    Row("error", 2, "wer|cer|ter|mer|word error rate|error rate|fid|kid|fvd|eer|der"),
    Row("error", 2, "error|lpips|hausdorff|chamfer|epe|mpjpe|nme|ece|brier|merror|rmsd|ade|fde", 1),
    Row("error", 2, "mae|mse|rmse|rmsle|mape|smape|mean absolute error|mean squared error", 6),
    Row("error", 2, "mase|crps|pinball|wape|quantile error|fpr|fnr|regret", 2),
    Row("error", 3, "perplexity|ppl", 7),
    Row("error", 0, "l1|l2", 6),
    # Reinforcement learning, and the tuning of language models by it.
    Row("reward", 2, "reward"),
    Row("reward", 2, "critic score|objective score|episode score|return", 1),
    Row("reward_part", 3, "score margin|reward margin", goal="max"),
    Row("kl", 3, "kl|kld|kl loss|kl penalty|kullback leibler|kullback leibler divergence"),
    Row("entropy", 3, "entropy|entropy loss"),
    Row(
        "clip_fraction",
        3,
        "clip fraction|clip ratio|clipping rate|truncation ratio|truncated ratio",
    ),
    Row("clip_fraction", 0, "clip|clipping"),
    Row("advantage", 3, "advantage"),
    Row("length", 2, "length|seqlen|turn"),
    Row("length", 3, "token per sample|token per response|token per episode|step per episode"),
    # The optimizer.
    Row("lr", 3, "lr|learning rate|lrm"),
    Row("momentum", 3, "momentum"),
    Row("grad_norm", 4, "grad * norm|norm * grad|gnorm|gradnorm"),
    Row("grad_norm", 0, "norm"),
    Row("weight_norm", 3, "param * norm|weight * norm|norm * param|norm * weight"),
    Row("update_ratio", 3, "update * ratio|ratio * update|update * weight"),
    Row("loss_scale", 3, "loss scale|grad scale|grad scaler|scaler|amp scale"),
    # Time and speed.
    Row("step_time", 3, "step time|step duration|time per step|iteration time|time per iteration"),
    Row("step_time", 3, "batch time|time per batch|time this iteration|time step|timing step|dt"),
    Row("step_time", 3, "second per iteration|second per step|second per batch"),
    Row("step_time", 3, "second per update|step latency|step timing"),
    Row("step_time", 3, "update time|time per update|elapsed time step|end to end"),
    Row("data_time", 3, "data time|data loading|dataload|data load|dataloader time|loader time"),
    Row("data_time", 3, "data * time|time data|data wait|load time|preprocess time"),
    Row(
        "time", 1, "time|timing|timer|wall|runtime|duration|elapsed|eta|latency|second|hour|minute"
    ),
    Row("time", 3, "time $|duration $|timing $|runtime $"),
    Row("time", 3, "epoch time|time per|timing per|second per|total time|speed pytorch|ttft|tpot"),
    Row("throughput", 4, "per second"),
    Row("throughput", 3, "throughput|fps|sps|tps|wps|ups|ips|tflop|speed"),
    Row("throughput", 3, "token second|tok second"),
    Row("throughput", 0, "eps"),
    Row("mfu", 3, "mfu|hfu|flop utilization"),
    # The machine.
    Row(
        "memory",
        3,
        "memory|vram|ram|reserved byte|allocated byte|ram utilization|memory * utilization",
    ),
    Row("memory", 1, "gb|mb|gib|mib|byte"),
    Row("gpu_util", 3, "gpu utilization|gpu percent|gpu busy|sm utilization"),
    Row("gpu_util", 0, "utilization|gpu"),
    Row("temperature", 3, "gpu temperature|cpu temperature|temperature celsius|gpu * temperature"),
    Row("power", 3, "power|watt"),
    Row("cost", 1, "cost|usd|dollar|price"),
    # How far the run is.
    Row("epoch", 1, "epoch"),
    Row("step", 1, "step|iteration|timestep|global step|tick"),
    Row("step", 0, "update|episode|batch|round|interaction|interact"),
    Row("tokens", 2, "token|consumed sample|seen $|seen sample|seen token|kimg|sample consumed"),
    Row(
        "progress", 1, "progress|percentage|percent complete|fraction done|percent done|completion"
    ),
    # What would be taken for something else.
    Row(
        "other", 3, "coefficient|clip range|batch size|world size|weight decay|bandwidth|threshold"
    ),
    Row("other", 3, "false negative|false positive|true negative|true positive|confusion"),
    Row("other", 3, "logp|logprob|logit|log prob|importance * ratio|q value|qf value|critic value"),
    Row(
        "other",
        3,
        "buffer|alpha|beta|epsilon|temperature|skipped|skip|nan|oom|retry|seed|zero|energy",
    ),
    Row(
        "other", 3, "reward zero std|eos token|exploration rate|failure rate|abort ratio|total flop"
    ),
    Row("other", 1, "ratio $|std $"),
    Row("other", 2, "flop|cpu utilization|cpu percent|disk"),
)

# Written in several ways.
SAME = {
    "acc": "accuracy",
    "acc1": "accuracy",
    "accs": "accuracy",
    "alloc": "allocated",
    "avg": "mean",
    "average": "mean",
    "averaged": "mean",
    "approxkl": "kl",
    "clipfrac": "clip fraction",
    "clipped": "clip",
    "coef": "coefficient",
    "coeff": "coefficient",
    "corr": "correlation",
    "ent": "entropy",
    "ents": "entity",
    "ep": "episode",
    "eps": "eps",
    "episodic": "episode",
    "err": "error",
    "errs": "error",
    "frac": "fraction",
    "flops": "flop",
    "tflops": "tflop",
    "gflops": "flop",
    "grads": "grad",
    "gradient": "grad",
    "gradients": "grad",
    "hr": "hour",
    "it": "iteration",
    "iter": "iteration",
    "iters": "iteration",
    "itr": "iteration",
    "len": "length",
    "lens": "length",
    "losses": "loss",
    "lrs": "lr",
    "matthews": "matthew",
    "maximum": "max",
    "mem": "memory",
    "minimum": "min",
    "ops": "op",
    "params": "param",
    "parameter": "param",
    "parameters": "param",
    "prec": "precision",
    "ret": "return",
    "rew": "reward",
    "rews": "reward",
    "sec": "second",
    "secs": "second",
    "seconds": "second",
    "smoothed": "smooth",
    "stddev": "std",
    "stdev": "std",
    "temp": "temperature",
    "times": "time",
    "tok": "token",
    "toks": "token",
    "util": "utilization",
    "var": "variance",
    "weights": "weight",
    "%": "percent",
    "pct": "percent",
}

# What only heads a group of metrics, as `time/` of Stable-Baselines3, where more follows.
HEADINGS = frozenset(("time", "progress", "throughput"))

# What is done while training, and says nothing of whose data it is: "training_iteration".
ACTIVITIES = frozenset(("iteration", "time", "flop", "duration", "step"))

SPLITS = {
    "train": "train",
    "training": "train",
    "trn": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "eval": "val",
    "evaluation": "val",
    "dev": "val",
    "heldout": "val",
    "holdout": "val",
    "test": "test",
    "testing": "test",
}

STATISTICS = {"mean": "mean", "min": "min", "max": "max", "std": "std", "variance": "std"}

# How a unit is written, and how we write it.
UNITS = {
    "s": "s",
    "sec": "s",
    "second": "s",
    "seconds": "s",
    "ms": "ms",
    "us": "us",
    "min": "min",
    "minute": "min",
    "h": "h",
    "hour": "h",
    "%": "%",
    "percent": "%",
    "byte": "B",
    "bytes": "B",
    "kb": "kB",
    "mb": "MB",
    "mib": "MiB",
    "gb": "GB",
    "gib": "GiB",
    "w": "W",
    "watt": "W",
    "watts": "W",
    "c": "C",
    "celsius": "C",
    "usd": "USD",
    "tps": "tokens/s",
    "it/s": "it/s",
    "iter/s": "it/s",
}

# What may stand beside "reward" or "loss" without making it a part of it.
QUALIFIERS = frozenset(
    """
    mean min max std sum total cumulative discounted undiscounted episode env environment agent
    raw normalized smooth running best last final current ema moving global local rollout per step
    epoch iteration batch group rank and of the rlhf critic actor policy objective reduced debiased
    lm task overall all combined model net network value u bpb percent
    """.split()  # noqa: SIM905 -- a list of them would be a page
)

KNOWN = (
    frozenset(word for row in TABLE for phrase in row.phrases.split("|") for word in phrase.split())
    | frozenset(word for same in SAME.values() for word in same.split())
    | SPLITS.keys()
    | {
        "metric",
        "per",
        "mean",
        "sample",
    }
)
