"""Ranks and job keys under every launcher."""

import pytest

from training_monitor.job import Job, Process, find_job

HERE = Process(pid=100, start=5000, parent_pid=90, parent_start=4000, boot_id="boot")
SAME_PARENT = Process(pid=101, start=5001, parent_pid=90, parent_start=4000, boot_id="boot")
LATER = Process(pid=200, start=9000, parent_pid=190, parent_start=8000, boot_id="boot")
OTHER_NODE = Process(pid=100, start=77, parent_pid=90, parent_start=66, boot_id="other")


def job(process: Process = HERE, nth_init: int = 1, **environ: object) -> Job:
    return find_job(nth_init, {name: str(value) for name, value in environ.items()}, process)


def torchrun(rank: int, *, world: int = 2, local_world: int = 2, **more: object) -> dict:
    return {
        "RANK": rank,
        "WORLD_SIZE": world,
        "LOCAL_RANK": rank % local_world,
        "LOCAL_WORLD_SIZE": local_world,
        "MASTER_ADDR": "node0",
        "MASTER_PORT": 29500,
        "TORCHELASTIC_RUN_ID": "none",
        **more,
    }


def srun(rank: int, step: int = 0, **more: object) -> dict:
    return {
        "SLURM_JOB_ID": 7,
        "SLURM_STEP_ID": step,
        "SLURM_PROCID": rank,
        "SLURM_LOCALID": rank % 4,
        "SLURM_STEP_NUM_TASKS": 8,
        "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
        "SLURM_NODEID": rank // 4,
        **more,
    }


@pytest.mark.parametrize(
    ("environ", "rank", "local_rank", "world", "local_world"),
    [
        ({}, 0, 0, 1, 1),
        (torchrun(5, world=8, local_world=4), 5, 1, 8, 4),
        (srun(6), 6, 2, 8, 4),
        (srun(6, SLURM_STEP_TASKS_PER_NODE="5,3"), 6, 2, 8, 3),
        (
            {
                "OMPI_COMM_WORLD_RANK": 3,
                "OMPI_COMM_WORLD_SIZE": 4,
                "OMPI_COMM_WORLD_LOCAL_RANK": 1,
                "OMPI_COMM_WORLD_LOCAL_SIZE": 2,
            },
            3, 1, 4, 2,
        ),
        ({"PMI_RANK": 1, "PMI_SIZE": 3}, 1, 0, 3, 1),
        ({"LOCAL_RANK": 2}, 2, 2, 3, 1),
        ({"SLURM_LOCALID": 1}, 1, 1, 2, 1),
        ({"RANK": 1}, 1, 0, 2, 1),
        ({"RANK": "one", "PMI_RANK": 2}, 2, 0, 3, 1),
        ({"RANK": 1, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": 1}, 1, 0, 2, 2),
    ],
)  # fmt: skip
def test_ranks(environ: dict, rank: int, local_rank: int, world: int, local_world: int) -> None:
    found = job(**environ)
    assert (found.rank, found.local_rank) == (rank, local_rank)
    assert (found.world, found.local_world) == (world, local_world)


def test_global_rank_decides_not_the_local_one() -> None:
    second_node = job(RANK=4, WORLD_SIZE=8, LOCAL_RANK=0, LOCAL_WORLD_SIZE=4)
    assert second_node.rank == 4
    assert not second_node.on_one_node


def test_first_launcher_in_order_wins() -> None:
    everything = {"LOCAL_RANK": 1, "PMI_RANK": 2, "RANK": 4, **srun(5)}
    assert job(**everything).rank == 4
    del everything["RANK"]
    assert job(**everything).rank == 5


def test_batch_script_and_mpirun_do_not_take_the_rank_of_their_surroundings() -> None:
    batch = {"SLURM_JOB_ID": 7, "SLURM_PROCID": 0, "SLURM_LOCALID": 0, "SLURM_NTASKS": 8}
    assert job(**batch).world == 1
    assert job(**batch).key.startswith("process:")
    below_mpirun = {**srun(1), "OMPI_COMM_WORLD_RANK": 9, "OMPI_COMM_WORLD_SIZE": 16}
    assert job(**below_mpirun).rank == 9


SHARED = {
    "own id": (torchrun(0, TM_RUN_ID="mine"), torchrun(1, TM_RUN_ID="mine")),
    "elastic": (torchrun(0, TORCHELASTIC_RUN_ID="e1"), torchrun(1, TORCHELASTIC_RUN_ID="e1")),
    "slurm": (srun(0), srun(7)),
    "master": (torchrun(0), torchrun(1)),
    "mpi": (
        {"OMPI_COMM_WORLD_RANK": 0, "OMPI_COMM_WORLD_SIZE": 2, "PMIX_NAMESPACE": "a"},
        {"OMPI_COMM_WORLD_RANK": 1, "OMPI_COMM_WORLD_SIZE": 2, "PMIX_NAMESPACE": "a"},
    ),
}


@pytest.mark.parametrize("launcher", SHARED)
def test_ranks_of_one_launch_share_the_key(launcher: str) -> None:
    first, second = SHARED[launcher]
    assert job(**first).key == job(SAME_PARENT, **second).key
    assert job(**first).rank != job(SAME_PARENT, **second).rank


@pytest.mark.parametrize(
    ("environ", "restarted"),
    [
        (torchrun(0, TM_RUN_ID="mine"), {"TORCHELASTIC_RESTART_COUNT": 1}),
        (torchrun(0, TORCHELASTIC_RUN_ID="e1"), {"TORCHELASTIC_RESTART_COUNT": 1}),
        (torchrun(0), {"TORCHELASTIC_RESTART_COUNT": 1}),
        (srun(0), {"SLURM_RESTART_COUNT": 1}),
        (srun(0), {"SLURM_STEP_ID": 1}),
        (torchrun(0), {"MASTER_PORT": 29501}),
        (torchrun(0), {"WORLD_SIZE": 4}),
    ],
)
def test_another_launch_has_another_key(environ: dict, restarted: dict) -> None:
    assert job(**environ).key != job(**{**environ, **restarted}).key


def test_nodes_of_one_launch_share_the_key() -> None:
    nodes = (
        job(HERE, **torchrun(0, world=4, local_world=2)),
        job(OTHER_NODE, **torchrun(2, world=4, local_world=2)),
    )
    assert nodes[0].key == nodes[1].key
    assert job(HERE, **srun(0)).key == job(OTHER_NODE, **srun(4)).key


def test_launch_on_one_node_is_told_from_the_next_by_its_parent() -> None:
    assert job(HERE, **torchrun(0)).key != job(LATER, **torchrun(0)).key


def test_world_of_one_is_a_plain_process() -> None:
    alone = torchrun(0, world=1, local_world=1)
    assert job(HERE, **alone).key != job(SAME_PARENT, **alone).key
    shell = srun(0, SLURM_STEP_NUM_TASKS=1)
    assert job(HERE, **shell).key != job(SAME_PARENT, **shell).key


def test_plain_process_has_a_new_key_at_every_init() -> None:
    keys = {job(nth_init=nth).key for nth in (1, 2, 3)} | {job(LATER).key, job(OTHER_NODE).key}
    assert len(keys) == 5


def test_second_init_is_a_new_job_in_all_ranks() -> None:
    again = job(nth_init=2, **torchrun(0)).key
    assert again == job(SAME_PARENT, nth_init=2, **torchrun(1)).key
    assert again != job(**torchrun(0)).key


def test_facts_of_this_process_are_found() -> None:
    here = Process.current()
    assert here.pid > 0
    assert 0 < here.parent_start <= here.start
    assert len(here.boot_id) == 36
