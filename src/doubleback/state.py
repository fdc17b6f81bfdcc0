"""The state in which a public function works, and in which it leaves what it found.

Attacks and measures take gradients, in full float32, of models in evaluation mode, whatever the caller has switched on.
"""

import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from doubleback.errors import InputError


@contextmanager
def at_work(*models: object, warn: bool = False) -> Iterator[None]:
    """Gradients can be taken, float32 is exact, and modules are in evaluation mode; afterwards all is as it was found.

    That is each part's mode, each buffer (statistics that a model moves as it answers), and torch's own random state.

    Args:
        models: those that are used; only a `torch.nn.Module` is changed.
        warn: say where one was in training mode: who attacks it by hand may believe that it is attacked in that.

    Raises:
        InputError: a model was made under `torch.inference_mode`, and has no gradient.
    """
    modules = [model for model in models if isinstance(model, nn.Module)]
    for module in modules:
        _check_made_outside(module)
        if warn and module.training:
            message = "the model is in training mode; it is attacked in evaluation mode (call model.eval() before)"
            warnings.warn(message, stacklevel=4)
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        exact_float32(),
        evaluating(*modules),
        kept(*modules),
        parametrize.cached(),  # weights that are computed from others are computed once
    ):
        yield


@contextmanager
def kept(*modules: nn.Module) -> Iterator[None]:
    """Buffers of these that change meanwhile, and the state of torch's random numbers, are put back."""
    parts = {id(part): part for module in modules for part in module.modules()}.values()
    held = [(part._buffers, name, buffer) for part in parts for name, buffer in part._buffers.items()]
    before = [(home, name, buffer, buffer.detach().clone()) for home, name, buffer in held if buffer is not None]
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            with torch.no_grad():
                for home, name, buffer, values in before:
                    if home.get(name) is not buffer:  # another one was put in its place
                        home[name] = buffer
                    if not torch.equal(buffer, values):  # BatchNorm moves its statistics without a new version
                        buffer.copy_(values)


@contextmanager
def in_training(module: nn.Module) -> Iterator[None]:
    """Gradients can be taken, float32 is exact, the module is in training mode and has no gradients yet.

    Afterwards each of its parts is in the mode, and each parameter has the gradient, that it had.

    Raises:
        InputError: no parameter can be trained, or as `at_work`.
    """
    _check_made_outside(module)
    refuse_untrainable(module)
    modes = [(part, part.training) for part in module.modules()]
    gradients = [(parameter, parameter.grad) for parameter in module.parameters()]
    module.train().zero_grad()
    try:
        with torch.inference_mode(False), torch.enable_grad(), exact_float32():
            yield
    finally:
        for part, mode in modes:
            part.training = mode
        for parameter, gradient in gradients:
            parameter.grad = None if gradient is None else gradient.to(parameter)


def refuse_untrainable(module: nn.Module) -> None:
    """Refuse a model of which nothing can be trained, or a weight of which cannot be written to.

    Raises:
        InputError: no parameter requires a gradient, entries of one share a number, or one has numbers of a kind that
            training cannot take.
    """
    if not any(parameter.requires_grad for parameter in module.parameters()):
        raise InputError("the model has no parameter that requires a gradient; there is nothing to train")
    for name, one in module.named_parameters():
        if any(step == 0 and size > 1 for step, size in zip(one.stride(), one.shape, strict=True)):
            raise InputError(f"entries of {name} share one number (it was expanded); make it with .clone()")
        if one.requires_grad and (one.is_complex() or one.dtype == torch.float16):
            kind = str(one.dtype).removeprefix("torch.")
            raise InputError(f"{name} is of {kind}, in which nothing can be trained here; make the model in float32")


def evaluating(*models: object) -> AbstractContextManager[None]:
    """Modules in evaluation mode; afterwards each of their parts in the mode it was in."""
    return in_mode(False, *models)


@contextmanager
def in_mode(training: bool, *models: object) -> Iterator[None]:
    """Modules in training mode, or in evaluation mode; afterwards each of their parts in the mode it was in."""
    modules = [model for model in models if isinstance(model, nn.Module)]
    modes = [(part, part.training) for module in modules for part in module.modules()]
    for part, _ in modes:
        part.training = training
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


@contextmanager
def exact_float32() -> Iterator[None]:
    """Convolutions in float32, not TF32: a line search and a difference see its last digits."""
    cudnn: Any = torch.backends.cudnn
    switches, exact = [(cudnn, "allow_tf32")], False  # type: tuple[list[tuple[Any, str]], Any]
    try:
        found = [cudnn.allow_tf32]
    except RuntimeError:  # the caller has used the newer switches, of which there is one for each kind
        switches, exact = [(cudnn.conv, "fp32_precision"), (cudnn.rnn, "fp32_precision")], "ieee"
        found = [getattr(*switch) for switch in switches]
    try:
        for owner, name in switches:
            setattr(owner, name, exact)
        yield
    finally:
        for (owner, name), value in zip(switches, found, strict=True):
            setattr(owner, name, value)


def _check_made_outside(module: nn.Module) -> None:
    if any(one.is_inference() for one in (*module.parameters(), *module.buffers())):
        raise InputError("the model was made under torch.inference_mode and has no gradient; make it outside")
