"""The local rank from the environment: each launcher's variables, with the traps."""

import unittest

import support

from mpibind import InvalidParameterError, LauncherError
from mpibind.launcher import place

STEP = {"SLURM_PROCID": "5", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "7"}
BATCH = {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0", "SLURM_JOB_ID": "3"}

# What is in the environment, and (local rank, local size, rank, size).
PLACES = {
    "torchrun": (
        {"LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4", "RANK": "5", "WORLD_SIZE": "8"},
        (1, 4, 5, 8),
    ),
    "torchrun without global ranks": ({"LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}, (1, 4, 1, 4)),
    "Open MPI": (
        {
            "OMPI_COMM_WORLD_LOCAL_RANK": "2",
            "OMPI_COMM_WORLD_LOCAL_SIZE": "3",
            "OMPI_COMM_WORLD_RANK": "5",
            "OMPI_COMM_WORLD_SIZE": "6",
            "PMIX_RANK": "5",
        },
        (2, 3, 5, 6),
    ),
    "MPICH Hydra and Intel MPI": (
        {"MPI_LOCALRANKID": "0", "MPI_LOCALNRANKS": "2", "PMI_RANK": "2", "PMI_SIZE": "4"},
        (0, 2, 2, 4),
    ),
    "MVAPICH2": (
        {
            "MV2_COMM_WORLD_LOCAL_RANK": "1",
            "MV2_COMM_WORLD_LOCAL_SIZE": "2",
            "MV2_COMM_WORLD_RANK": "3",
            "MV2_COMM_WORLD_SIZE": "4",
        },
        (1, 2, 3, 4),
    ),
    "MVAPICH 3": (
        {
            "MVP_COMM_WORLD_LOCAL_RANK": "1",
            "MVP_COMM_WORLD_LOCAL_SIZE": "2",
            "MVP_COMM_WORLD_RANK": "3",
            "MVP_COMM_WORLD_SIZE": "4",
        },
        (1, 2, 3, 4),
    ),
    "jsrun": (
        {
            "JSM_NAMESPACE_LOCAL_RANK": "3",
            "JSM_NAMESPACE_LOCAL_SIZE": "6",
            "JSM_NAMESPACE_RANK": "9",
            "JSM_NAMESPACE_SIZE": "12",
        },
        (3, 6, 9, 12),
    ),
    "PALS": ({"PALS_LOCAL_RANKID": "3", "PALS_LOCAL_SIZE": "4"}, (3, 4, 3, 4)),
    "Cray PMI": (
        {"PMI_LOCAL_RANK": "0", "PMI_LOCAL_SIZE": "8", "PMI_RANK": "8", "PMI_SIZE": "16"},
        (0, 8, 8, 16),
    ),
    "Flux": (
        {
            "FLUX_TASK_LOCAL_ID": "1",
            "FLUX_JOB_SIZE": "8",
            "FLUX_JOB_NNODES": "2",
            "FLUX_TASK_RANK": "5",
        },
        (1, 4, 5, 8),
    ),
    "Slurm, first kind of node": (
        {**STEP, "SLURM_LOCALID": "1", "SLURM_NODEID": "2", "SLURM_STEP_TASKS_PER_NODE": "2(x3),1"},
        (1, 2, 5, 7),
    ),
    "Slurm, last node": (
        {**STEP, "SLURM_LOCALID": "0", "SLURM_NODEID": "3", "SLURM_STEP_TASKS_PER_NODE": "2(x3),1"},
        (0, 1, 5, 7),
    ),
    "Slurm with a stale SLURM_NTASKS_PER_NODE": (
        {
            **STEP,
            "SLURM_LOCALID": "4",
            "SLURM_NODEID": "0",
            "SLURM_STEP_TASKS_PER_NODE": "6,1",
            "SLURM_NTASKS_PER_NODE": "2",
        },
        (4, 6, 5, 7),
    ),
    "mpirun of Open MPI inside a Slurm job": (
        {
            **BATCH,
            "SLURM_STEP_ID": "0",
            "SLURM_STEP_TASKS_PER_NODE": "1(x2)",
            "OMPI_COMM_WORLD_LOCAL_RANK": "3",
            "OMPI_COMM_WORLD_LOCAL_SIZE": "4",
        },
        (3, 4, 3, 4),
    ),
    "mpiexec of MPICH inside salloc": (
        {**BATCH, "MPI_LOCALRANKID": "1", "MPI_LOCALNRANKS": "2"},
        (1, 2, 1, 2),
    ),
    "LOCAL_RANK alone, which others set too, under Open MPI": (
        {
            "LOCAL_RANK": "1",
            "OMPI_COMM_WORLD_LOCAL_RANK": "1",
            "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
        },
        (1, 2, 1, 2),
    ),
    "a global rank that cannot be": (
        {"LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4", "RANK": "9", "WORLD_SIZE": "8"},
        (1, 4, 1, 4),
    ),
}

# What is in the environment, and words of the error.
ERRORS = {
    "nothing": ({}, ["no variables of a launcher", "local_rank=", "mpibind.mpi.bind()"]),
    "only a global rank": ({"PMIX_RANK": "1", "RANK": "1"}, ["no variables of a launcher"]),
    "a batch script": (BATCH, ["no variables of a launcher"]),
    "the shell of salloc": (
        {**BATCH, "SLURM_STEP_ID": "4294967290", "SLURM_STEP_TASKS_PER_NODE": "1"},
        ["no variables of a launcher"],
    ),
    "no number": (
        {"LOCAL_RANK": "abc", "LOCAL_WORLD_SIZE": "2"},
        ["LOCAL_RANK='abc' is not a number"],
    ),
    "negative": ({"LOCAL_RANK": "-1", "LOCAL_WORLD_SIZE": "2"}, ["LOCAL_RANK='-1'"]),
    "empty": ({"LOCAL_RANK": "", "LOCAL_WORLD_SIZE": "2"}, ["LOCAL_RANK=''"]),
    "digits of another script": ({"LOCAL_RANK": "٣", "LOCAL_WORLD_SIZE": "4"}, ["LOCAL_RANK="]),
    "a size that is no number": (
        {"MPI_LOCALRANKID": "0", "MPI_LOCALNRANKS": "two"},
        ["MPI_LOCALNRANKS='two' is not a number"],
    ),
    "too large a rank": (
        {"LOCAL_RANK": "4", "LOCAL_WORLD_SIZE": "4"},
        ["LOCAL_RANK=4 is not smaller", "LOCAL_WORLD_SIZE='4'"],
    ),
    "more tasks than a node has": (
        {"LOCAL_RANK": "9999999998", "LOCAL_WORLD_SIZE": "9999999999"},
        ["LOCAL_WORLD_SIZE='9999999999': a node has 1048576 tasks at most"],
    ),
    "no size": ({"LOCAL_RANK": "0"}, ["torchrun says LOCAL_RANK, but not LOCAL_WORLD_SIZE"]),
    "Flux with uneven nodes": (
        {"FLUX_TASK_LOCAL_ID": "0", "FLUX_JOB_SIZE": "7", "FLUX_JOB_NNODES": "2"},
        ["Flux", "7 tasks are spread over 2 nodes"],
    ),
    "Flux without nodes": (
        {"FLUX_TASK_LOCAL_ID": "0", "FLUX_JOB_SIZE": "7", "FLUX_JOB_NNODES": "0"},
        ["over 0 nodes"],
    ),
    "Slurm without a list": (
        {**STEP, "SLURM_LOCALID": "0", "SLURM_NODEID": "0"},
        ["SLURM_STEP_TASKS_PER_NODE"],
    ),
    "Slurm with an odd list": (
        {**STEP, "SLURM_LOCALID": "0", "SLURM_NODEID": "0", "SLURM_STEP_TASKS_PER_NODE": "2(x3"},
        ["SLURM_STEP_TASKS_PER_NODE='2(x3'"],
    ),
    "Slurm with a node that is not in the list": (
        {**STEP, "SLURM_LOCALID": "0", "SLURM_NODEID": "4", "SLURM_STEP_TASKS_PER_NODE": "2(x3),1"},
        ["SLURM_NODEID=4", "4 nodes"],
    ),
}


class Launchers(unittest.TestCase):
    def test_places(self):
        for name, (environ, expected) in PLACES.items():
            with self.subTest(name):
                self.assertEqual(place(environ=environ), expected)

    def test_errors(self):
        for name, (environ, words) in ERRORS.items():
            with self.subTest(name), self.assertRaises(LauncherError) as caught:
                place(environ=environ)
            for word in words:
                self.assertIn(word, str(caught.exception), name)

    def test_every_launcher_comes_before_slurm(self):
        slurm, _ = PLACES["Slurm, last node"]
        for name, (environ, expected) in PLACES.items():
            if "Slurm" not in name:
                with self.subTest(name):
                    self.assertEqual(place(environ={**slurm, **environ}), expected)


class Callers(unittest.TestCase):
    def test_what_the_caller_says_counts_first(self):
        flux = {"FLUX_TASK_LOCAL_ID": "1", "FLUX_JOB_SIZE": "8", "FLUX_JOB_NNODES": "2"}
        self.assertEqual(place(0, 2, {"LOCAL_RANK": "abc"})[:2], (0, 2))
        self.assertEqual(place(None, 6, flux)[:2], (1, 6))
        self.assertEqual(place(3, None, flux)[:2], (3, 4))

    def test_what_cannot_be_is_refused(self):
        cases = [
            ((4, 4), "local_rank=4 is not legal: it must be 0 to 3, as local_size=4"),
            ((-1, 4), "local_rank=-1"),
            ((0, 2**20 + 1), "local_size=1048577 is not legal: it must be 1 to 1048576"),
            ((0, 0), "local_size=0 is not legal: it must be 1 to 1048576"),
        ]
        for arguments, message in cases:
            with self.assertRaisesRegex(InvalidParameterError, message):
                place(*arguments, environ={})
        for arguments in (("0", 4), (0, 4.0)):
            with self.assertRaisesRegex(TypeError, "must be an integer"):
                place(*arguments, environ={})


if __name__ == "__main__":
    support.main()
