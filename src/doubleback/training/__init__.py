"""Training: `loop` (steps, checkpoints, log), `history`, `batches`, `graph` (GPU), `loggers`, `interrupts` (Ctrl-C)."""

from doubleback.training.history import History
from doubleback.training.loop import STATE, fit, settled_precision

__all__ = ["STATE", "History", "fit", "settled_precision"]
