"""A goal of your own: what should an attack on your autoencoder reach? python examples/own_goal.py [--output DIR]

A goal is a class with three members. `Darken` wants a reconstruction without ink; nothing of doubleback knows its name.
The command line takes it as `examples/own_goal.py:Darken`, and the audit, its checks and the report show it.
"""

import argparse
from pathlib import Path

from torch import Tensor

import doubleback
from doubleback.cli import main as doubleback_command


class Darken:
    """The reconstruction loses its ink, whatever it shows."""

    name = "darken"
    targeted = False  # there is no target image: what counts is how far the reconstruction moves
    about = "takes the ink out of the reconstruction"

    def loss(self, model: doubleback.Autoencoder, source: Tensor, target: Tensor):  # noqa: ARG002
        """The sum of the reconstruction's pixels."""
        return lambda x, _, noise: model(x, noise).likelihood.mean.flatten(1).sum(1)


def main(arguments: list[str] | None = None) -> Path:
    """Train a small VAE, attack it with `Darken` and with the output attack, write a page.

    Returns:
        The page.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("own-goal"))
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--pairs", type=int, default=8)
    given = parser.parse_args(arguments)
    run, audit, page = (str(given.output / name) for name in ("run", "audit", "report.html"))
    attack = ["--attack", f"{__file__}:Darken", "output", "--pairs", str(given.pairs), "--coefficients", "10"]
    commands = [
        ["train", "--data", "digits", "--epochs", str(given.epochs), "--output", run, "--resume"],
        ["audit", run, *attack, "--output", audit],
        ["report", f"{audit}/run", "--output", page],
    ]
    for command in commands:
        if status := doubleback_command(command):
            raise SystemExit(status)
    return Path(page)


if __name__ == "__main__":
    main()
