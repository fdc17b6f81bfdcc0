"""Where a training leaves its log and its checkpoint."""

from dataclasses import dataclass
from pathlib import Path

from doubleback.folders import within


@dataclass(frozen=True)
class Home:
    """A folder for a log and a checkpoint.

    Attributes:
        folder: where.
        identity: what the checkpoint belongs to; another's is refused.
        resume: go on from the checkpoint, if there is one.
    """

    folder: Path
    identity: str = ""
    resume: bool = False

    def inside(self, name: str) -> "Home":
        """A folder inside, for a training that goes with this one."""
        return Home(within(self.folder, name), self.identity, self.resume)
