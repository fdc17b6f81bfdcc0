"""What do classifiers still get right? `measuring` attacks them, `record` says what each withstood."""

from doubleback.robustness.measuring import robust_accuracy
from doubleback.robustness.record import Withstood

__all__ = ["Withstood", "robust_accuracy"]
