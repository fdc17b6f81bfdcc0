"""Weights from somebody's file into somebody's model: safetensors, a state_dict, TorchScript. No pickle is run."""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from doubleback.errors import InputError, reason

_WRAPPERS = ("state_dict", "model_state_dict", "model", "weights")  # keys under which a checkpoint holds the weights


def with_weights(net: Any, path: Path) -> Any:
    """The model with these weights, every one of them."""
    if not isinstance(net, nn.Module):
        raise InputError(f"--weights needs a torch module; a {type(net).__name__} has no weights to load")
    try:
        missing, unexpected = net.load_state_dict(tensors(path), strict=False)
    except RuntimeError as error:
        raise misfit(path, " ".join(str(error).split())) from error
    if missing or unexpected:
        what = [f"{len(missing)} are missing, as {missing[0]}"] if missing else []
        what += [f"{len(unexpected)} are of no use, as {unexpected[0]}"] if unexpected else []
        raise misfit(path, "; ".join(what))
    return net


def misfit(path: Path, why: str) -> InputError:
    return InputError(f"{path} does not fit the model ({why[:240]}); give the weights of this model")


def tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, of a state_dict that torch has saved, or of TorchScript."""
    if not path.is_file():
        raise InputError(f"{path} is not a file; give --weights a file of safetensors, or a state_dict")
    read: list[Callable[[], Any]] = [
        lambda: _safe(path),
        lambda: torch.load(path, map_location="cpu", weights_only=True),
        lambda: scripted(path).state_dict(),
    ]
    why = ""
    for attempt in read if path.suffix != ".safetensors" else read[:1]:
        try:
            return _state(attempt(), path)
        except InputError:
            raise
        except Exception as error:
            why = why or reason(error)[:160]
    raise InputError(
        f"{path} holds no weights that can be read safely ({why}); save them as safetensors, or a state_dict"
    )


def _safe(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return load_file(path)


def _state(stored: Any, path: Path) -> dict[str, Tensor]:
    """The weights in a checkpoint: by themselves, or under one of the usual names; `module.` of DDP is left out."""
    while isinstance(stored, Mapping) and not any(isinstance(value, Tensor) for value in stored.values()):
        inner = [stored[key] for key in _WRAPPERS if isinstance(stored.get(key), Mapping)]
        if not inner:
            break
        stored = inner[0]
    if not isinstance(stored, Mapping) or not stored or not all(isinstance(v, Tensor) for v in stored.values()):
        raise InputError(f"{path} holds no state_dict; save model.state_dict()")
    ddp = all(str(key).startswith("module.") for key in stored)
    return {str(key).removeprefix("module.") if ddp else str(key): value for key, value in stored.items()}


def scripted(path: Path) -> Any:
    load: Any = torch.jit.load
    with warnings.catch_warnings():  # TorchScript is deprecated; whoever has such a file knows
        warnings.simplefilter("ignore")
        return load(str(path), map_location="cpu")
