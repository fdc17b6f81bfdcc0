"""The loggers of Lightning Fabric that a training tells of every epoch, beside `log.csv`. A new one is a line here."""

from pathlib import Path
from typing import Any

from lightning_fabric.loggers.tensorboard import TensorBoardLogger

from doubleback.settings.loop import Loop


def loggers(loop: Loop, folder: Path | None) -> list[Any]:
    """Those that are asked for; they need a folder to write to."""
    found: list[Any] = []
    if loop.tensorboard and folder:
        found.append(TensorBoardLogger(root_dir=folder, name="tensorboard", version=""))
    return found
