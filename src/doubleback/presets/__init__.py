"""The settings that worked best for each model on each data set of the paper: they stand in for those left out.

Inside: `table` (the presets, and the settings of a model that has none of its own), `figures` (what was
reached with them). Imports no torch.
"""

from doubleback.presets.figures import Measured, measured
from doubleback.presets.table import Preset, preset

__all__ = ["Measured", "Preset", "measured", "preset"]
