"""The switches of torch, in the old words and in the new."""

from collections.abc import Iterator

import pytest
import torch

from doubleback.state import exact_float32

cudnn = torch.backends.cudnn


@pytest.fixture(autouse=True)
def put_back() -> Iterator[None]:
    before = cudnn.allow_tf32
    yield
    cudnn.allow_tf32 = not before  # both kinds of switches are set by a change
    cudnn.allow_tf32 = before


@pytest.mark.parametrize("before", [True, False])
def test_float32_is_exact_meanwhile(before: bool) -> None:
    cudnn.allow_tf32 = before
    with exact_float32():
        assert not cudnn.allow_tf32
    assert cudnn.allow_tf32 == before
    with pytest.raises(ValueError, match="x"), exact_float32():
        raise ValueError("x")
    assert cudnn.allow_tf32 == before


@pytest.mark.skipif(not hasattr(cudnn, "conv"), reason="torch has the old switch alone")
def test_a_caller_with_the_newer_switches_keeps_them() -> None:
    """Two that differ cannot be read by the old one: torch raises an error."""
    cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision = "ieee", "tf32"
    with pytest.raises(RuntimeError):
        _ = cudnn.allow_tf32
    with exact_float32():
        assert (cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision) == ("ieee", "ieee")
    assert (cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision) == ("ieee", "tf32")
