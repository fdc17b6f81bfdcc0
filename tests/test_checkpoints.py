"""Tensors come back bit for bit, and only to where they belong."""

import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from doubleback import processes
from doubleback.checkpoints import (
    load_tensors,
    load_weights,
    pack_optimizer,
    save_tensors,
    unpack_optimizer,
    weights_digest,
)
from doubleback.errors import InputError


def test_tensors_and_state_come_back(tmp_path: Path) -> None:
    tensors = {"a": torch.randn(3, 2).mT, "b": torch.tensor([1, 2])}
    save_tensors(tmp_path / "t.safetensors", tensors, "me", {"step": 3})
    found, state = load_tensors(tmp_path / "t.safetensors", "me")
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    assert state == {"step": 3}


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_adam_goes_on_bit_for_bit(tmp_path: Path, layout: torch.memory_format) -> None:
    """Two steps, saved and loaded after the first, are two steps, however the weights lie in memory."""

    def built(learning_rate: float = 1e-3) -> tuple[nn.Conv2d, torch.optim.Adam]:
        layer = nn.Conv2d(3, 2, 2).to(memory_format=layout)  # type: ignore[call-overload]  # torch's hint has no layout
        return layer, torch.optim.Adam(layer.parameters(), lr=learning_rate, fused=True)

    def stepped(layer: nn.Conv2d, optimizer: torch.optim.Adam) -> None:
        optimizer.zero_grad()
        layer(torch.linspace(0, 1, 27).view(1, 3, 3, 3)).square().sum().backward()
        optimizer.step()

    torch.manual_seed(0)
    layer, optimizer = built()
    stepped(layer, optimizer)
    moments, groups = pack_optimizer(optimizer)
    save_tensors(tmp_path / "o.safetensors", {**moments}, "me", {"groups": groups})
    twin, other = built(0.5)
    twin.load_state_dict(layer.state_dict())
    tensors, state = load_tensors(tmp_path / "o.safetensors", "me")
    unpack_optimizer(other, tensors, state["groups"])
    stepped(layer, optimizer)
    stepped(twin, other)
    assert torch.equal(layer.weight, twin.weight)


def test_foreign_damaged_and_missing_files(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    with pytest.raises(InputError, match="does not exist"):
        load_tensors(path, "me")
    save_tensors(path, {"a": torch.zeros(1000)}, "another")
    with pytest.raises(InputError, match=r"does not belong to config.json"):
        load_tensors(path, "me")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="is damaged"):
        load_tensors(path, "another")
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(InputError, match="not written by doubleback"):
        load_tensors(path, "me")
    path.write_bytes(b"\x80\x04not a pickle we would read")
    with pytest.raises(InputError, match="is damaged"):
        load_tensors(path, "me")


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ({"weight": torch.zeros(2, 3)}, "bias is nothing"),
        ({"weight": torch.zeros(3, 3), "bias": torch.zeros(2)}, r"weight is \(3, 3\) where \(2, 3\)"),
        ({"weight": torch.zeros(2, 3), "bias": torch.zeros(2), "extra": torch.zeros(1)}, "extra is"),
    ],
)
def test_weights_that_do_not_fit(weights: dict[str, torch.Tensor], said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        load_weights(nn.Linear(3, 2), weights, tmp_path)


def batched() -> nn.Sequential:
    """A layer, and a normalisation with buffers."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def flip_a_bit(module: nn.Sequential) -> None:
    """The last bit of one weight."""
    module[0].weight.detach().view(torch.int32)[1, 2] ^= 1  # type: ignore[operator, union-attr]


def change_a_buffer(module: nn.Sequential) -> None:
    module[1].running_mean[0] = 0.5  # type: ignore[index, operator, union-attr]


def negate_a_zero(module: nn.Sequential) -> None:
    """-0.0 == 0.0, but it is another bit."""
    module[1].bias.detach()[0] = -0.0  # type: ignore[index, operator, union-attr]


@pytest.mark.parametrize("change", [flip_a_bit, change_a_buffer, negate_a_zero, nn.Module.double])
def test_every_bit_of_the_weights_and_buffers_is_in_their_digest(change: Callable[[nn.Module], object]) -> None:
    changed = batched()
    change(changed)
    assert weights_digest(changed) != weights_digest(batched())


def test_the_digest_is_of_names_and_values_alone(tmp_path: Path) -> None:
    """Neither of how they lie in memory nor of what is not saved; written and read, they have the same."""
    layer = nn.Conv2d(3, 2, 2)
    expected = weights_digest(layer)
    assert weights_digest(layer.to(memory_format=torch.channels_last).eval()) == expected  # type: ignore[call-overload]
    save_tensors(tmp_path / "t.safetensors", layer.state_dict(), "me")
    other = nn.Conv2d(3, 2, 2)
    assert weights_digest(other) != expected
    load_weights(other, load_tensors(tmp_path / "t.safetensors", "me")[0], tmp_path)
    assert weights_digest(other) == expected
    assert weights_digest(nn.Sequential(layer)) != expected


def test_no_pickle_is_in_the_house() -> None:
    """Nothing in the package names a reader or writer of pickles."""
    import doubleback

    home = Path(str(doubleback.__file__)).parent
    weights = (home / "experiments" / "weights.py").read_text()  # somebody's own state_dict: tensors alone
    assert weights.count("torch.load(") == weights.count("weights_only=True)") == 1
    text = "".join(path.read_text() for path in home.rglob("*.py") if path.name != "weights.py")
    assert "torch.load(" not in text
    assert "torch.save(" not in text
    assert "import pickle" not in text
    assert "allow_pickle=True" not in text


def test_full_disk_is_an_input_error(tmp_path: Path) -> None:
    """In a process of its own: the file size limit stands in for the disk's end."""
    code = f"""
import resource, signal, torch
from pathlib import Path
from doubleback.checkpoints import save_tensors
from doubleback.errors import InputError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    save_tensors(Path({str(tmp_path / "t.safetensors")!r}), {{"a": torch.zeros(10000)}}, "me")
except InputError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "cannot write" in done.stdout
    assert "free some space" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ({"bias": torch.tensor([0.0, math.nan])}, r"holds weights that are not finite \(bias\)"),
        ({"weight": torch.full((2, 3), -math.inf)}, r"holds weights that are not finite \(weight\)"),
        ({"bias": torch.zeros(2, dtype=torch.int64)}, r"bias holds torch\.int64"),
        ({"bias": torch.zeros(2, dtype=torch.complex64)}, r"bias holds torch\.complex64"),
    ],
)
def test_weights_on_which_nothing_can_be_measured(weights: dict[str, torch.Tensor], said: str, tmp_path: Path) -> None:
    layer = nn.Linear(3, 2)
    before = weights_digest(layer)
    with pytest.raises(InputError, match=said):
        load_weights(layer, layer.state_dict() | weights, tmp_path)
    assert weights_digest(layer) == before


def test_a_checkpoint_that_is_no_file_or_larger_than_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="is a pipe, not a file"):
        load_tensors(tmp_path / "pipe", "me")
    save_tensors(tmp_path / "t", {"a": torch.zeros(1000)}, "me")
    monkeypatch.setattr(processes, "free_memory", lambda: 100)
    with pytest.raises(InputError, match="GB of memory"):
        load_tensors(tmp_path / "t", "me")


@pytest.mark.parametrize("state", ["", "{", "[" * 100_000])
def test_a_state_that_is_no_json(state: str, tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "t", metadata={"identity": "me", "state": state})
    with pytest.raises(InputError, match="is damaged"):
        load_tensors(tmp_path / "t", "me")
