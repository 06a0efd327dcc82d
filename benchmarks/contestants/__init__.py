"""Who takes part in ``peers``: one file per framework, each contestant in a process of its own."""

from .names import CONTESTANTS, PEERS, TINYAE
from .worker import Worker, WorkerFailed

__all__ = ["CONTESTANTS", "PEERS", "TINYAE", "Worker", "WorkerFailed"]
