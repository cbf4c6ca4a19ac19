"""Independent jobs on many workers: processes of this machine, or of a Dask cluster."""

from .cluster import PIECE, DaskPool, arrived, missing, on_worker, receive, worker_folder
from .jobs import ATTEMPTS, Answer, Job, Pool, proof_job, run
from .local import Child, LocalPool
from .pool import open_pool

__all__ = [
    "ATTEMPTS",
    "Answer",
    "Child",
    "DaskPool",
    "Job",
    "LocalPool",
    "PIECE",
    "Pool",
    "arrived",
    "missing",
    "on_worker",
    "open_pool",
    "proof_job",
    "receive",
    "run",
    "worker_folder",
]
