"""Chunks follow what a row weighs and what memory there is; the figures do not."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import doubleback
from doubleback import memory
from doubleback.attacks.engine import MAX_ROWS, rows_together
from doubleback.data import ImageData
from doubleback.errors import InputError, ran_out
from doubleback.memory import halve, in_words, recomputing, row_bytes, rows_within, weighed
from doubleback.models import wrap
from doubleback.settings.checks import as_bytes
from doubleback.tensors import rows_at_once


def test_a_row_weighs_what_it_keeps_for_its_gradient() -> None:
    """tanh keeps its output, of 100 floats; weights are kept once, whatever the rows."""
    layer = nn.Linear(100, 100)

    def f(x: Tensor) -> Tensor:
        return layer(x).tanh()

    x = torch.rand(1, 100)
    alone = row_bytes(lambda x: x.tanh(), x) - 24 * 400
    assert alone == int(memory.WORKING * 400)
    assert row_bytes(f, x) - 24 * 400 == int(memory.WORKING * (400 + 400))  # the layer's input, too


@pytest.mark.parametrize(
    ("text", "size"), [("4GB", 2**32), ("800 mb", 800 * 2**20), ("1.5g", 3 * 2**29), ("17", 17), ("2GiB", 2**31)]
)
def test_sizes(text: str, size: int) -> None:
    assert as_bytes(text) == size


@pytest.mark.parametrize("text", ["", "much", "-1GB", "0", "4 cats", "1e3", "GB"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(InputError, match="give a size, as 4GB"):
        as_bytes(text)
    with pytest.raises(InputError, match="give a size, as 4GB"):
        doubleback.audit(nn.Identity(), torch.rand(4, 1, 2, 2), memory=text)  # type: ignore[arg-type]


def test_in_words() -> None:
    assert [in_words(size) for size in (0, 17, 2**10, 1.5 * 2**30)] == ["0 bytes", "17 bytes", "1 KB", "1.5 GB"]


def test_chunks_have_as_many_rows_as_fit() -> None:
    x = torch.zeros(10, 1, 28, 28)
    assert (rows_together(x), rows_at_once(x)) == (MAX_ROWS, 2**20 // 784)
    with weighed(bytes_a_row=2**20, budget=100 * 2**20):
        assert rows_within() == rows_together(x) == rows_at_once(x) == 32  # half the budget, a power of two
        assert rows_within(2**22) == 8
        assert halve()
        assert rows_within() == 16
    with weighed(bytes_a_row=2**20, budget=1):
        assert rows_within() == 1
        assert not halve()
    assert rows_together(x) == MAX_ROWS


def conv() -> Any:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.Tanh(), nn.Conv2d(16, 1, 3, padding=1))
    return wrap(encode=nn.Flatten(), decode=lambda z: z.view(-1, 1, 8, 8) + 0.1 * net(z.view(-1, 1, 8, 8)))


def areas(victim: Any, images: ImageData, **settings: Any) -> Any:
    few = {"pairs": 6, "coefficients": 6, "steps": 20, "progress": False}
    found = doubleback.audit(victim, images, **few, **settings)
    return torch.from_numpy(np.stack([found.auddc(name) for name in ("latent", "output")]))


def test_a_bound_changes_no_figure(tiny: ImageData, monkeypatch: pytest.MonkeyPatch) -> None:
    victim, rows = conv(), []
    whole = areas(victim, tiny)
    real = memory.rows_within

    def watched(*given: Any, **named: Any) -> int:
        rows.append(real(*given, **named))
        return rows[-1]

    monkeypatch.setattr("doubleback.attacks.engine.rows_within", watched)
    bounded = areas(victim, tiny, memory="300KB")
    assert max(rows) < 36  # of 6 pairs with 7 coefficients, from two starts
    torch.testing.assert_close(bounded, whole, rtol=0, atol=1e-4)


class Scarce(nn.Module):
    """The identity; of more rows than `limit` memory runs out."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit, self.asked = limit, 0

    def forward(self, x: Tensor) -> Tensor:
        self.asked = max(self.asked, len(x))
        if len(x) > self.limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return x + 0.0


def test_where_memory_runs_out_half_the_rows_go_on(tiny: ImageData, capsys: pytest.CaptureFixture[str]) -> None:
    net = Scarce(9)
    found = doubleback.audit(wrap(net), tiny, pairs=8, coefficients=6, steps=5, progress=False)
    plenty = doubleback.audit(wrap(Scarce(10_000)), tiny, pairs=8, coefficients=6, steps=5, progress=False)
    assert net.asked > 9
    assert found.auddc("output") == pytest.approx(plenty.auddc("output"), abs=1e-4)
    assert "memory ran out" in capsys.readouterr().err


def test_one_row_that_does_not_fit_is_an_error(tiny: ImageData) -> None:
    with pytest.raises(InputError, match="out of memory"):
        doubleback.audit(wrap(Scarce(0)), tiny, pairs=2, coefficients=2, steps=2, progress=False)


def test_what_says_that_memory_ran_out() -> None:
    assert ran_out(MemoryError())
    assert ran_out(torch.OutOfMemoryError("CUDA out of memory"))
    assert ran_out(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"))
    assert ran_out(RuntimeError("CUDA error: out of memory"))
    assert not ran_out(RuntimeError("shapes do not match"))


class Checkpointing(nn.Module):
    """The switches that models of diffusers and transformers have."""

    is_gradient_checkpointing = False

    def enable_gradient_checkpointing(self) -> None:
        self.is_gradient_checkpointing = True

    def disable_gradient_checkpointing(self) -> None:
        self.is_gradient_checkpointing = False


def test_what_can_be_computed_anew_is_not_kept() -> None:
    net, other = nn.Sequential(Checkpointing()), Checkpointing()
    other.is_gradient_checkpointing = True  # its owner's wish: left alone
    with recomputing(net, other) as any_does:
        assert any_does
        assert net[0].is_gradient_checkpointing
    assert not net[0].is_gradient_checkpointing
    assert other.is_gradient_checkpointing
    with recomputing(nn.Linear(2, 2)) as any_does:
        assert not any_does
