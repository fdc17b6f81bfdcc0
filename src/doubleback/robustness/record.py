"""What one classifier withstood: rights and wrongs image by image, and the figures that follow from them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from numpy.typing import NDArray
from torch import Tensor

from doubleback.metrics.intervals import wilson
from doubleback.trust import Check, recorded


@dataclass
class Withstood:
    """What one model still gets right.

    Attributes:
        kind: of model, for people.
        clean: (N,), whether each image is classified rightly.
        attacks: for each attack (E, N), whether the image is still classified rightly; `longer` is what the checks
            tried beside: four times the steps, and the examples made for the other models.
        transfer: the same under the examples made on each other model.
        checks: every one.
        gradients: mean norms; `not_measured` says why one is None.
        shown: (M, E, C, H, W), the first images' worst white-box examples.
    """

    kind: str
    clean: Bool[Tensor, "N"]
    attacks: dict[str, Bool[Tensor, "E N"]]
    transfer: dict[str, Bool[Tensor, "E N"]] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)
    gradients: dict[str, Any] = field(default_factory=dict)
    shown: NDArray[np.uint8] | None = None

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What the model's own attacks found, as arrays for a file."""
        checks = [(c.name, c.value) for c in self.checks]
        record = {"kind": self.kind, "checks": checks, "gradients": self.gradients}
        assert self.shown is not None
        rights = {f"attacks/{name}": rights.numpy() for name, rights in self.attacks.items()}
        return {"record": np.array(json.dumps(record)), "clean": self.clean.numpy(), "shown": self.shown, **rights}

    @staticmethod
    def of_arrays(arrays: Mapping[str, NDArray[Any]]) -> "Withstood":
        """Undo `arrays`."""
        record = json.loads(str(arrays["record"]))
        return Withstood(
            kind=record["kind"],
            clean=torch.from_numpy(arrays["clean"]),
            attacks={
                name.removeprefix("attacks/"): torch.from_numpy(rights)
                for name, rights in arrays.items()
                if name.startswith("attacks/")
            },
            checks=[Check.named(name, value) for name, value in record["checks"]],
            gradients=record["gradients"],
            shown=arrays["shown"],
        )

    @property
    def worst_case(self) -> Bool[Tensor, "E N"]:
        """Whether nothing fooled the model on the image."""
        return torch.stack([*self.attacks.values(), *self.transfer.values()]).all(0)

    def outcomes(self) -> dict[str, NDArray[np.bool_]]:
        """Image by image, what stays right: the arrays of `outcomes.npz` (docs/run-directory.md)."""
        every = {"clean": self.clean, "worst_case": self.worst_case}
        every |= {f"attacks/{name}": rights for name, rights in self.attacks.items()}
        every |= {f"transfer/{name}": rights for name, rights in self.transfer.items()}
        return {name: rights.numpy() for name, rights in every.items()}

    def results(self, eps: Sequence[str | float]) -> dict[str, Any]:
        """As `results.json` has it (docs/run-directory.md).

        Args:
            eps: the epsilons as they were given: their words are the keys.
        """
        names = [str(radius) for radius in eps]

        def by_eps(rights: Tensor) -> dict[str, float]:
            return dict(zip(names, rights.double().mean(1).tolist(), strict=True))

        def intervals(rights: Tensor) -> dict[str, list[float]]:
            return {name: wilson(int(right.sum()), len(right)) for name, right in zip(names, rights, strict=True)}

        accuracies = {"robust_accuracy": self.attacks, "transfer": self.transfer}
        return {
            "kind": self.kind,
            "clean_accuracy": self.clean.double().mean().item(),
            **{name: {a: by_eps(rights) for a, rights in each.items()} for name, each in accuracies.items()},
            "worst_case": by_eps(self.worst_case),
            "ci95": {
                "clean_accuracy": wilson(int(self.clean.sum()), len(self.clean)),
                **{name: {a: intervals(rights) for a, rights in each.items()} for name, each in accuracies.items()},
                "worst_case": intervals(self.worst_case),
            },
            **recorded(self.checks),
            "gradients": self.gradients,
        }
