"""What brings about what else: a falling loss scale, a GPU that draws less while steps are slow."""

from training_monitor.detect.finding import Finding
from training_monitor.detect.power import Power
from training_monitor.detect.watch import Watch


def scale(values: list[float]) -> list[Finding]:
    times = [1e9 + step for step in range(len(values))]
    return Watch().feed("amp/loss_scale", list(range(len(values))), values, times)


def test_a_loss_scale_that_falls_and_falls_is_told_until_it_grows() -> None:
    values = (
        [65536.0] * 100 + [65536.0 / 2**n for n in range(10)] + [128.0 * 2**n for n in range(6)]
    )
    found = scale(values)
    assert [(one.kind, one.over) for one in found] == [
        ("loss_scale_drop", False),
        ("loss_scale_drop", True),
    ]
    assert (found[0].value, found[0].reference) == (1024.0, 65536.0)


def test_a_loss_scale_that_finds_its_place_is_no_finding() -> None:
    assert scale([65536.0, 32768.0, 16384.0, 8192.0] + [8192.0, 16384.0] * 300) == []


def power(watts: list[float], *, is_slow: bool, is_training: bool = True) -> list[Finding]:
    detector = Power("gpu0")
    return [
        finding
        for at, one in enumerate(watts)
        for finding in detector.push(
            at, one, 1e9 + 5.0 * at, is_training=is_training, is_slow=is_slow
        )
    ]


def test_a_gpu_that_draws_less_is_told_only_while_steps_are_slow() -> None:
    watts = [650.0] * 120 + [250.0] * 60 + [640.0] * 60
    found = power(watts, is_slow=True)
    assert [(one.kind, one.over) for one in found] == [
        ("gpu_power_drop", False),
        ("gpu_power_drop", True),
    ]
    assert power(watts, is_slow=False) == []
    assert power(watts, is_slow=True, is_training=False) == []
    assert power([600.0, 500.0, 650.0] * 80, is_slow=True) == []
