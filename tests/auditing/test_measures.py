"""What an attack has done, in the words of whoever asks: of images that are alike, small, or of odd channels."""

import pytest
import torch
from torch import Tensor

from doubleback.auditing import measures
from doubleback.auditing.measures import MEASURES, Seen
from doubleback.evaluation import Answer


def seen(before: Tensor, after: Tensor) -> Seen:
    return Seen(before, after, Answer(before), Answer(after))


def test_psnr_of_what_has_not_moved_is_a_hundred() -> None:
    """An infinite one would be left out of the mean over images: the nearer to nothing, the lower the mean."""
    before = torch.full((2, 1, 8, 8), 0.5, dtype=torch.float64)
    after = before + torch.tensor([0.0, 0.1], dtype=torch.float64).view(2, 1, 1, 1)
    psnr = MEASURES["psnr"](seen(before, after))
    assert psnr is not None
    assert psnr.tolist() == pytest.approx([100, 20])


@pytest.mark.parametrize(
    ("shape", "given"), [((1, 28, 28), (64, 64)), ((3, 32, 48), (64, 96)), ((3, 80, 70), (80, 70))]
)
def test_lpips_sees_small_images_enlarged(
    shape: tuple[int, int, int], given: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its network fails under 31 pixels a side, and outside [0, 1]."""

    def network(a: Tensor, b: Tensor) -> Tensor:
        for one in (a, b):
            assert one.shape == (1, 3, *given)
            assert one.min() >= 0
            assert one.max() <= 1
        return (a - b).abs().mean()

    monkeypatch.setattr(measures, "_lpips_network", lambda: network)
    before = torch.zeros(2, *shape)
    after = before + torch.tensor([0.25, 1.5]).view(2, 1, 1, 1)
    found = MEASURES["lpips"](seen(before, after))
    assert found is not None
    assert found.tolist() == pytest.approx([0.25, 1.0])


def test_lpips_has_no_meaning_for_two_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measures, "_lpips_network", lambda: lambda a, b: (a - b).abs().mean())
    images = torch.rand(2, 2, 64, 64)
    assert MEASURES["lpips"](seen(images, images)) is None
