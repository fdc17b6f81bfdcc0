"""Training: `loop` (steps, checkpoints, log), `history`, `batches`, `graph` (GPU), `loggers`, `interrupts` (Ctrl-C).

`hardening` trains a model on within a `budget`; `freezing` holds a part of it still.
"""

from doubleback.training.hardening import Hardened, harden
from doubleback.training.history import History
from doubleback.training.loop import STATE, fit, settled_precision

__all__ = ["STATE", "Hardened", "History", "fit", "harden", "settled_precision"]
