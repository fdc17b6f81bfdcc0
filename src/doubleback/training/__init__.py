"""Training: `loop` (steps, checkpoints, log), its `home`, `history`, `batches`, `arithmetic`, `graph` (GPU), `loggers`,
`interrupts` (Ctrl-C).

"""

from doubleback.training.arithmetic import settled_precision
from doubleback.training.history import History
from doubleback.training.loop import STATE, fit

__all__ = ["STATE", "History", "fit", "settled_precision"]
