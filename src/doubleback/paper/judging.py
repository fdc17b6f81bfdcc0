"""What an independent classifier sees in the outputs of Figure 1: is it still a 1, or a 0 already?"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from doubleback.experiments.classifiers import load_classifier
from doubleback.metrics.intervals import wilson
from doubleback.paper.plates import budget_of, usable_pairs
from doubleback.report.runs import AuditFolder
from doubleback.tensors import as_unit


def shown_digits(judge: Path, audits: Mapping[str, AuditFolder]) -> dict[str, dict[str, Any]]:
    """Of the outputs under attack within the figures' budget: the shares that are a 1 and a 0 to the judge.

    Args:
        judge: the run of a classifier of digits.
        audits: by side, the audit of attacks from a 1 to a 0.

    Returns:
        By side `judge`, the shares by digit, and `ci95`, Wilson's intervals of these.
    """
    model = load_classifier(judge).model
    classes = [str(one) for one in model.classes]
    counted = np.flatnonzero(usable_pairs(list(audits.values())))
    found = {}
    for side, audit in audits.items():
        outputs = torch.from_numpy(audit.images["output/reconstruction"][counted, budget_of(audit)])
        with torch.no_grad():
            seen = [classes[place] for place in model(as_unit(outputs)).argmax(1).tolist()]
        counts = {digit: seen.count(digit) for digit in ("1", "0")}
        found[side] = {
            "judge": {digit: count / len(seen) for digit, count in counts.items()},
            "ci95": {"judge": {digit: wilson(count, len(seen)) for digit, count in counts.items()}},
        }
    return found
