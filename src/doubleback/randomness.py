"""Independent streams of random numbers: what is drawn depends on (seed, stream, place), never on history."""

from enum import IntEnum

import numpy as np
import torch


class Stream(IntEnum):
    """What the numbers are for: no two streams share a draw."""

    ORDER = 0  # of an epoch's images
    NOISE = 1  # of a training step
    ATTEMPT = 2  # of an attack's steps
    SELECT = 3  # that chooses an attack's best iterate
    START = 4  # of an attack
    SCORE = 5  # that measures what an attack has reached
    MODEL = 6  # that a model takes from torch's own generator in a training step: dropout, a codec's noise


def generator(seed: int, stream: Stream, place: int = 0) -> torch.Generator:
    """The generator of one stream at one place (an epoch, a step), on the CPU."""
    key = np.random.SeedSequence((seed, int(stream), place))
    return torch.Generator().manual_seed(int(key.generate_state(1, np.uint64)[0] >> np.uint64(1)))
