"""The figures that every run and every audit has."""

from typing import Any

TRAIN_KEYS = {
    "train": ["seconds"],
    "test": [
        "reconstruction_l2",
        "reconstruction_nll",
        "kl",
        "input_gradient_norm",
        "output_jacobian.spectral",
        "output_jacobian.frobenius",
        "latent_jacobian.spectral",
    ],
}
AUDIT_KEYS = [
    *(
        f"attacks.{attack}.{key}"
        for attack in ("latent", "output")
        for key in ("auddc.envelope.mean", "auddc.reference.mean", "share_of_ceiling")
    ),
    "attacks.worst_case.auddc.envelope.mean",
    "attacks.worst_case.share_of_ceiling",
    "ceiling.mean",
    "pairs.used",
    "pairs.flagged",
    "seconds",
]


def at(record: dict[str, Any], path: str) -> object:
    """What lies at a path of keys such as `train.seconds`."""
    value: Any = record
    for key in path.split("."):
        value = value[key]
    return value
