"""Weights and training state on disk, as safetensors with JSON in the header: no pickle is written or read.

One file holds all of a state, so that replacing it is atomic. The header names the identity (a digest of the
configuration) that the tensors belong to, so that an edited configuration or a stray file is noticed.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from doubleback.errors import InputError, reason
from doubleback.files import opened, replacing
from doubleback.processes import refuse_too_large


def save_tensors(path: Path, tensors: Mapping[str, Tensor], identity: str, state: dict[str, Any] | None = None) -> None:
    """Write named tensors with their identity and a JSON-able `state` in one file."""
    header = {"format": "pt", "identity": identity, "state": json.dumps(state or {})}
    with replacing(path) as scratch:
        try:
            save_file(apart(tensors), scratch, metadata=header)
        except SafetensorError as error:  # its only way to say that the disk is full
            raise OSError(str(error)) from error


def apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors on the CPU, each with memory of its own: tied weights are written twice, and load into any model."""
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        flat = tensor.detach().cpu().contiguous()
        place = flat.untyped_storage().data_ptr()
        found[name] = flat.clone() if place in seen else flat
        seen.add(place)
    return found


def load_tensors(path: Path, identity: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_tensors` wrote: the tensors and the state.

    Raises:
        InputError: the file is missing, damaged, not doubleback's, belongs to another identity, or is larger than the
            memory.
    """
    tensors, header = read_tensors(path)
    with told_as_damage(path):
        state = json.loads(header.get("state", "{}"))
    if "identity" not in header:
        raise InputError(f"{path} was not written by doubleback; wrap its model with `AutoencoderAdapter` instead")
    if header["identity"] != identity:
        raise InputError(
            f"{path} does not belong to config.json beside it (edited, or from another run); restore config.json"
        )
    return tensors, state


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a safetensors file, whoever wrote it, and its header.

    Raises:
        InputError: the file is missing, damaged, no regular file, or larger than the memory.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist; give a folder that `doubleback train` has finished")
    with told_as_damage(path):
        with opened(path) as stream:
            refuse_too_large(stream.seek(0, os.SEEK_END), f"{path}; train a smaller model")
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            return {name: file.get_tensor(name) for name in file.keys()}, header  # noqa: SIM118 (not a mapping)


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """Its weights and buffers, by name.

    Raises:
        InputError: its state holds something else, too, which a file of weights could not hold.
    """
    state: dict[str, Any] = module.state_dict()
    for name, one in state.items():
        if not isinstance(one, Tensor):
            raise InputError(
                f"the model's state holds {name}, a {type(one).__name__}, and files of weights hold tensors alone; "
                "leave it out of the state_dict"
            )
    return state


def weights_digest(module: nn.Module) -> str:
    """A digest of a module's weights, buffers among them: names, types, shapes and every bit."""
    found = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(tensors_of(module).items()):
        flat = tensor.detach().cpu().contiguous().flatten()
        found.update(repr((name, str(tensor.dtype), tuple(tensor.shape))).encode())
        found.update(flat.view(torch.uint8).numpy().data)
    return found.hexdigest()


def load_weights(module: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Put the tensors into the module.

    Raises:
        InputError: names, shapes or kinds of numbers differ, or a weight is not finite; the message names the first.
    """
    expected = module.state_dict()
    for name in sorted(expected.keys() | tensors.keys()):
        have = tuple(tensors[name].shape) if name in tensors else "nothing"
        want = tuple(expected[name].shape) if name in expected else "nothing"
        if have != want:
            raise InputError(
                f"{path} does not fit the model: {name} is {have} where {want} is expected; use its own run"
            )
        if tensors[name].is_floating_point() != expected[name].is_floating_point() or tensors[name].is_complex():
            raise InputError(f"{path} does not fit the model: {name} holds {tensors[name].dtype}; use its own run")
        if not (tensors[name].isfinite() | ~expected[name].isfinite()).all():  # a mask may hold -inf
            raise InputError(
                f"{path} holds weights that are not finite ({name}), so nothing can be measured; train again, "
                "with a lower learning rate"
            )
    module.load_state_dict(tensors)


@contextmanager
def told_as_damage(path: Path) -> Iterator[None]:
    """Say in one line of whatever is stumbled over in a file's content that the file is damaged, or forged.

    Raises:
        InputError: instead of any other error.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path} is damaged ({reason(error)}); restore it, or train again") from error


def alike(stored: Any, ours: Any) -> bool:
    """Whether JSON data has the kinds of values that ours has: under the keys of both, in lists that are not empty.

    >>> alike({"lr": 1, "betas": [0.9, 0.99]}, {"lr": 0.1, "betas": (0.5, 0.5), "new": None})
    True
    >>> alike({"lr": "1"}, {"lr": 1})
    False
    """
    if isinstance(ours, dict):
        return isinstance(stored, dict) and all(alike(stored[key], ours[key]) for key in stored.keys() & ours.keys())
    if isinstance(ours, (list, tuple)):
        return isinstance(stored, (list, tuple)) and all(map(alike, stored, ours))
    numbers = [isinstance(one, (int, float)) and not isinstance(one, bool) for one in (stored, ours)]
    return all(numbers) or type(stored) is type(ours)


def pack_optimizer(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """An optimiser's state as named tensors and JSON-able parameter groups."""
    packed = optimizer.state_dict()
    tensors = {f"{index}.{name}": value for index, row in packed["state"].items() for name, value in row.items()}
    return tensors, packed["param_groups"]


def unpack_optimizer(
    optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], groups: list[dict[str, Any]]
) -> None:
    """Undo `pack_optimizer`: a moment gets its parameter's strides, as fused steps walk both in the order of memory."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, key = name.split(".", 1)
        parameter = parameters[int(index)]
        moment = key != "step"
        state.setdefault(int(index), {})[key] = torch.empty_like(parameter).copy_(value) if moment else value
    optimizer.load_state_dict({"state": state, "param_groups": groups})
