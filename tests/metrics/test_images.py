"""Reconstruction errors in closed form."""

import math

import torch

from doubleback.metrics.images import l2, psnr


def test_l2_is_the_norm_of_each_image() -> None:
    x = torch.zeros(3, 1, 2, 2)
    x_hat = x.clone()
    x_hat[1, 0, 0] = torch.tensor([0.3, 0.4])
    x_hat[2] = -1
    torch.testing.assert_close(l2(x_hat, x), torch.tensor([0.0, 0.5, 2.0]))


def test_psnr_is_of_each_image_at_a_data_range_of_one() -> None:
    """An error of 10^-k on every pixel is 20 k dB, whatever the range of the image itself."""
    x = torch.full((3, 2, 4, 4), 0.5, dtype=torch.float64)
    error = torch.tensor([0.1, 0.01, 0.25], dtype=torch.float64).view(3, 1, 1, 1)
    expected = torch.tensor([20.0, 40.0, 40 * math.log10(2)], dtype=torch.float64)
    torch.testing.assert_close(psnr(x + error, x), expected)


def test_psnr_follows_from_l2() -> None:
    x_hat, x = torch.rand(2, 5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    pixels = 3 * 8 * 8
    torch.testing.assert_close(psnr(x_hat, x), -10 * torch.log10(l2(x_hat, x).square() / pixels))


def test_identical_images_have_no_error() -> None:
    x = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    assert l2(x, x).tolist() == [0, 0]
    assert psnr(x, x).tolist() == [math.inf, math.inf]
