"""What do classifiers still get right? `measuring` attacks them, `record` says what each withstood."""

from doubleback.robustness.measuring import Settings, robust_accuracy
from doubleback.robustness.record import Withstood

__all__ = ["Settings", "Withstood", "robust_accuracy"]
