"""The few frames that say where a process hangs, of the words of faulthandler and of py-spy."""

from training_monitor.stacks import Stack, made_stacks


def stack(text: str) -> Stack:
    return Stack(0.0, "h", 0, 1, "faulthandler", text)


def test_the_main_thread_is_the_last_of_faulthandler() -> None:
    text = (
        "Thread 0x00007f02 [tm-reader] (most recent call first):\n"
        '  File "/usr/lib/python3.11/threading.py", line 327 in wait\n\n'
        "Current thread 0x00007f01 (most recent call first):\n"
        '  File "/home/me/my code (old)/train.py", line 12 in step\n'
        '  File "<string>", line ??? in <module>\n'
    )
    assert stack(text).frames == ["step (train.py:12)", "<module> (<string>:???)"]


def test_the_main_thread_of_py_spy_has_a_name() -> None:
    text = (
        "Python v3.11.7 (/usr/bin/python3.11)\n\n"
        'Thread 12 (active+gil): "MainThread"\n'
        "    backward (torch/autograd/graph.py:823)\n"
        "    <module> (train.py:40)\n"
        'Thread 13 (idle): "pin_memory"\n'
        "    get (queue.py:180)\n"
    )
    assert stack(text).frames == ["backward (graph.py:823)", "<module> (train.py:40)"]


def test_a_process_without_python_code_has_no_frames() -> None:
    for text in ["", "Thread 0x1 (most recent call first):\n  <no Python frame>\n", "anything"]:
        assert stack(text).frames == []


def test_a_row_of_another_version_is_read_as_far_as_it_goes() -> None:
    (row,) = made_stacks([(5.0, '{"rank": 3, "new": 1}')])
    assert (row.time, row.rank, row.pid, row.text, row.frames) == (5.0, 3, 0, "", [])
