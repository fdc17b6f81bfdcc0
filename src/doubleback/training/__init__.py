"""Training: `loop` (steps, checkpoints, log), `batches`, `graph` (steps on a GPU), `interrupts` (Ctrl-C)."""

from doubleback.training.loop import STATE, History, fit, settled_precision

__all__ = ["STATE", "History", "fit", "settled_precision"]
