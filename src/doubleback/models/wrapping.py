"""`wrap`: anyone's model as a victim of attacks, audits and training. A module, functions, or a library's own model."""

from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn

from doubleback.errors import InputError
from doubleback.models.adapters import parts_of
from doubleback.models.answers import Spread, described
from doubleback.models.base import Autoencoder
from doubleback.models.found import modules_in
from doubleback.models.victim import Function, Parts, Wrapped
from doubleback.settings.checks import at_least, one_of
from doubleback.settings.victim import Range, as_range, check_normalisation


def wrap(
    net: Any = None,
    *,
    encode: Function | str | None = None,
    decode: Function | str | None = None,
    forward: Function | str | None = None,
    input: Range | tuple[float, float] | None = None,
    output: Range | tuple[float, float] | Function | Literal["normalised"] | None = None,
    mean: ArrayLike | None = None,
    std: ArrayLike | None = None,
    surrogate: Any = None,
    spread: Spread | None = None,
    multiple: int | None = None,
    floor: float | None = None,
    **further: Any,
) -> "Wrapped":
    """Any model as a victim of attacks, audits and training, in one line.

    A model of diffusers, CompressAI, pythae or transformers is known, and needs no settings. Any other module is used
    by its methods `encode` and `decode`, or its parts `encoder` and `decoder`, or its forward pass.

    Args:
        net: a module, or a function from images to reconstructions; None if you give `encode` and `decode`.
        encode: images -> code, or the name of such a method; alone: latent goals only.
        decode: code -> image.
        forward: images -> reconstructions, where there is no code to attack: output goals only.
        input: the pixels that the model takes; None: [0, 1].
        output: the pixels that it gives; None: as `input`, without `mean` and `std`; "normalised": with them; or a
            function that brings them to [0, 1].
        mean, std: of each channel, or one number for all: the model takes (pixels of `input` - mean) / std.
        surrogate: another model, or another victim: it is attacked instead, and the real one is scored.
        spread: what the second of a pair (mean, second) is: "log_var", "var" or "std"; None: `answers.code_of`.
        multiple: the sides must be multiples of this: images are padded for the model, outputs cropped.
        floor: log_var is at least this.
        further: of the library's adapter, such as `bitstreams=True` for a codec.

    Returns:
        A module. It takes (B, C, H, W), (B, C, L) or (B, F) in [0, 1]; shapes are inferred from the first one.

    Raises:
        InputError: there is nothing to call, or the settings contradict each other.

    >>> import torch
    >>> victim = wrap(encode=nn.Flatten(), decode=nn.Unflatten(1, (1, 2, 2)), input=(-1, 1))
    >>> x = torch.rand(3, 1, 2, 2)
    >>> bool(victim(x).likelihood.mean.allclose(x))
    True
    """
    if isinstance(net, nn.DataParallel | nn.parallel.DistributedDataParallel):
        net = net.module
    if isinstance(net, nn.Module) and any(map(nn.parameter.is_lazy, (*net.parameters(), *net.buffers()))):
        raise InputError("a lazy layer of the model has no size yet; send an image through the model first")
    own = _parts(net, encode, decode, forward) if encode or decode or forward else parts_of(net, **further)
    if own is None or (further and (encode or decode or forward)):
        if further:
            raise InputError(f"{min(further)} is not a setting of wrap for a {type(net).__name__}; leave it out")
        own = _parts(net, encode, decode, forward)
    means, stds = (None if one is None else tuple(np.ravel(one).tolist()) for one in (mean, std))
    check_normalisation(means, stds)
    one_of(get_args(Spread), spread=spread)
    at_least(1, multiple=multiple)
    said: dict[str, Any] = {
        "input": None if input is None else as_range(input),
        "output": output if output is None or output == "normalised" or callable(output) else as_range(output),
        "mean": means,
        "std": stds,
        "spread": spread,
        "multiple": multiple,
        "floor": floor,
    }
    parts = replace(own, **{name: value for name, value in said.items() if value is not None})
    if surrogate is not None and not (isinstance(surrogate, Autoencoder) and hasattr(surrogate, "noise_shape")):
        ranges: dict[str, Any] = {"input": parts.input, "output": parts.output, "mean": means, "std": stds}
        surrogate = wrap(surrogate, **ranges)
    return Wrapped(parts, surrogate=surrogate)


def _parts(net: Any, encode: Any, decode: Any, forward: Any) -> Parts:
    """Which functions of this model are used."""
    given = [_function(net, one, name) for name, one in (("encode", encode), ("decode", decode), ("forward", forward))]
    whole = net if callable(net) and not isinstance(net, type) else None
    if not any(given):
        parts = (
            [] if isinstance(net, torch.jit.ScriptModule) else [("encoder", "decoder")]
        )  # a trace's cannot be called
        for names in (("encode", "decode"), *parts):
            pair = [getattr(net, name, None) for name in names]
            if all(map(callable, pair)):
                given[:2] = pair
                break
        else:
            given[2] = whole
    encoder, decoder, all_the_way = given
    if decoder is not None and encoder is None:
        raise InputError("decode is given without encode; give both, or forward= alone")
    if encoder is None and all_the_way is None:
        raise InputError(
            f"a {type(net).__name__} cannot be called, and has no encode and decode; give a module, a function, or "
            "encode= and decode="
        )
    modules = tuple(modules_in(net, *given))
    handed = [one for one in (net, *given) if isinstance(one, nn.Module)]
    hidden = tuple(module for module in modules if not any(module is one for one in handed))
    own = whole if decoder is not None else None
    return Parts(modules, hidden, encoder, decoder, all_the_way, own=own)


def _function(net: Any, given: Any, name: str) -> Function | None:
    """A function, or the method of this name."""
    found = getattr(net, given, None) if isinstance(given, str) else given
    if given is not None and not callable(found):
        raise InputError(f"{name} is {described(given) if not isinstance(given, str) else given!r}, which cannot be "
                         "called; give a function, or the name of a method")  # fmt: skip
    return found


def as_victim(model: Any) -> Autoencoder:
    """The model, if it follows the protocol of `Autoencoder`; any other is wrapped, without further settings.

    Raises:
        InputError: as `wrap`.
    """
    return model if isinstance(model, Autoencoder) and hasattr(model, "noise_shape") else wrap(model)
