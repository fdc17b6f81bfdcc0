"""Training: `loop` (steps, checkpoints, log), `batches`, `graph` (GPU), `loggers`, `interrupts` (Ctrl-C)."""

from doubleback.training.loop import STATE, History, fit, settled_precision

__all__ = ["STATE", "History", "fit", "settled_precision"]
