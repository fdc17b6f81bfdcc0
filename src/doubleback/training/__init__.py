"""Training: `loop` (the steps, the checkpoints, the log) and `launching` (what is settled before the first step)."""

from doubleback.training.launching import check_settings, launched, noticing_lost_processes, processes, rank
from doubleback.training.loop import STATE, History, fit

__all__ = ["STATE", "History", "check_settings", "fit", "launched", "noticing_lost_processes", "processes", "rank"]
