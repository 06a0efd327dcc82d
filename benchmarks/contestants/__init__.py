"""Who takes part in ``peers``: one file per framework, each contestant in a process of its own."""

from .names import CONTESTANTS, OUT_OF_RULE, PEERS, TINYAE
from .worker import Worker, WorkerFailed, start_worker

__all__ = ["CONTESTANTS", "OUT_OF_RULE", "PEERS", "TINYAE", "Worker", "WorkerFailed", "start_worker"]
