"""Your own autoencoder, trained elsewhere: can it be fooled, and can it be hardened? python examples/own_model.py

`TheirAutoencoder` stands for any module with an encoder and a decoder, here over pixels in [-1, 1]. doubleback needs to
know its pixel range, and nothing else: `wrap` does the rest.
"""

import argparse

import torch
from torch import Tensor, nn

import doubleback


class TheirAutoencoder(nn.Module):
    """A module as one finds it: pixels in [-1, 1], no probability anywhere, no thought of doubleback."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 16, 4, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv2d(16, 32, 4, stride=2, padding=1),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(32 * 7 * 7, 24),
        )
        self.decoder = nn.Sequential(
            nn.Linear(24, 256),
            nn.SiLU(),
            nn.Linear(256, 28 * 28),
            nn.Tanh(),
            nn.Unflatten(1, (1, 28, 28)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Encode, decode."""
        x_hat: Tensor = self.decoder(self.encoder(x))
        return x_hat


def train_their_way(model: TheirAutoencoder, images: Tensor, steps: int) -> None:
    """Their training loop: mean squared error on pixels in [-1, 1]."""
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        x = images[torch.randint(len(images), (128,), generator=generator)].float() / 127.5 - 1
        loss = (model(x) - x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def main(arguments: list[str] | None = None) -> dict[str, tuple[float, float]]:
    """Audit, harden, audit again.

    Returns:
        "plain" and "hardened": the mean L2 of the reconstructions, and the worst-case AUDDC (higher withstands more).
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits", help="grey images of 28x28: digits (bundled), mnist, a folder")
    parser.add_argument("--steps", type=int, default=600, help="of their training")
    parser.add_argument("--epochs", type=int, default=40, help="of the hardening")
    parser.add_argument("--pairs", type=int, default=20)
    given = parser.parse_args(arguments)

    images = doubleback.load_images(given.data)
    torch.manual_seed(0)
    theirs = TheirAutoencoder()
    train_their_way(theirs, images.train.images, given.steps)

    # This is the one line: `theirs` takes and gives pixels in [-1, 1].
    model = doubleback.wrap(theirs, input=(-1, 1))
    before = doubleback.audit(model, images, pairs=given.pairs).results()
    doubleback.fit(
        doubleback.Objective(model, penalty="reconstruction", penalty_weight=0.01, penalty_start=0.0),
        images,
        epochs=given.epochs,
        learning_rate=1e-3,
    )
    after = doubleback.audit(model, images, pairs=given.pairs).results()

    found = {}
    for name, results in (("plain", before), ("hardened", after)):
        worst = results["attacks"]["worst_case"]["auddc"]["envelope"]["mean"]
        found[name] = (results["reconstruction_l2"], worst)
        print(f"{name:9} reconstruction L2 {found[name][0]:.3f}   worst-case AUDDC {worst:.3f}")
    return found  # `theirs` is hardened now: the adapter holds its modules, not copies


if __name__ == "__main__":
    main()
