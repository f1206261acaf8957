"""A program that closes every descriptor it does not know, as daemons do."""

from pathlib import Path

from harness import processes, reading

CLOSES_ALL = """
import os
tm.init("run", root_dir=sys.argv[1], quiet=True)
tm.log({"a": 1.0}, 0)
os.closerange(3, 4096)
paths = [os.path.join(sys.argv[1], f"user{i}") for i in range(6)]
files = [open(path, "wb") for path in paths]
for step in range(1, 3000):
    tm.log({f"key{step}": 1.0, "a": 1.0}, step)
time.sleep(1.1)
for step in range(3000, 3100):
    tm.log({"a": 1.0}, step)
tm.close()
for file in files:
    file.write(b"mine")
    file.close()
assert [open(path, "rb").read() for path in paths] == [b"mine"] * 6
health = tm.health()
print(health.accepted, health.rejected)
"""


def test_closed_descriptors_harm_neither_files_nor_points(tmp_path: Path, root: Path) -> None:
    processes.run_script(tmp_path, CLOSES_ALL, root)
    reading.settled(root / "run")
    steps = reading.steps_of(root / "run", "a")
    assert steps[0] == 0
    assert steps[-100:] == list(range(3000, 3100))
