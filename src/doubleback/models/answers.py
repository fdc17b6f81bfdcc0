"""What anyone's model returns, read as a code or as an image: where there is one way to read it, and else not at all.

A code is a tensor, the pair (mean, log_var), a distribution, or an object or dictionary with names for these. An image
is the one tensor of the input's shape.
"""

from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from doubleback.distributions import DiagonalGaussian
from doubleback.errors import InputError

Spread = Literal["log_var", "var", "std"]
_MEANS = ("mean", "mu", "loc", "embedding", "z_mean")
_SPREADS: dict[str, Spread] = {
    "log_var": "log_var",
    "logvar": "log_var",
    "log_variance": "log_var",
    "log_covariance": "log_var",
    "z_log_var": "log_var",
    "var": "var",
    "variance": "var",
    "std": "std",
    "stddev": "std",
    "sigma": "std",
    "scale": "std",
}
_CODES = ("z", "latent", "latents", "code", "codes", "last_hidden_state", "pooler_output", "image_embeds", "features")
_IMAGES = ("reconstruction", "recon", "recon_x", "x_hat", "x_recon", "sample", "output", "out")


def code_of(returned: Any, spread: Spread | None = None) -> DiagonalGaussian:
    """What an encoder has returned, as q(z|x) over codes (B, ...); a plain code z stands for N(z, I).

    Args:
        returned: by the encoder.
        spread: what the second of a pair is; None: the logarithm of the variance, refused where it may be another.

    Raises:
        InputError: it can be read in no way, or in several; the message says what came back and what to pass.
    """
    if isinstance(returned, DiagonalGaussian):
        return returned
    if isinstance(returned, Tensor):
        _check_code(returned)
        return DiagonalGaussian(returned, torch.zeros_like(returned))
    if isinstance(returned, torch.distributions.Distribution):
        return DiagonalGaussian(returned.mean, returned.variance.log())
    names = dict(_named(returned))
    if "latent_dist" in names:
        return code_of(names["latent_dist"], spread)
    means = [name for name in _MEANS if isinstance(names.get(name), Tensor)]
    spreads = [name for name in _SPREADS if isinstance(names.get(name), Tensor)]
    if len(means) == 1 and spreads:
        return _gaussian(names[means[0]], names[spreads[0]], _SPREADS[spreads[0]])
    known = [name for name in (*means, *_CODES) if isinstance(names.get(name), Tensor)]
    if len(known) == 1:
        return code_of(names[known[0]])
    if isinstance(returned, tuple | list) and not names:
        if len(returned) == 1:
            return code_of(returned[0], spread)
        if len(returned) == 2 and _alike(returned):
            return _pair(returned[0], returned[1], spread)
    raise InputError(
        f"the encoder gave {described(returned)}, which is ambiguous or unknown; pass encode= a "
        "function that gives a tensor, or the pair (mean, log_var)"
    )


def image_of(returned: Any, shape: torch.Size | tuple[int, ...]) -> Tensor:
    """What a decoder or a whole model has returned, as the image of this shape.

    Raises:
        InputError: no tensor in it has the shape, or several have; the message says what came back and what to pass.
    """
    if isinstance(returned, torch.distributions.Distribution):
        return image_of(returned.mean, shape)
    found = {name: value for name, value in _tensors(returned) if tuple(value.shape) == tuple(shape)}
    if len(found) > 1:
        called = [name for name in found if name in _IMAGES]
        found = {name: found[name] for name in called} if len(called) == 1 else found
    if len(found) != 1:
        many = f"{len(found)} tensors" if found else "no tensor"
        raise InputError(
            f"the model gave {described(returned)}: {many} of the images' shape {tuple(shape)}; pass encode= and "
            "decode=, or forward= a function that gives the image alone"
        )
    (image,) = found.values()
    if not image.is_floating_point():
        raise InputError(f"the model gave {described(returned)}; the image must be of floats, or it has no gradient")
    return image


def described(returned: Any) -> str:
    """What came back, in a few words: its type, its names, its shapes.

    >>> described((torch.zeros(2, 3), None))
    'a tuple (float32 (2, 3), None)'
    """
    if isinstance(returned, Tensor):
        return f"{str(returned.dtype).removeprefix('torch.')} {tuple(returned.shape)}"
    names = dict(_named(returned))
    if names:
        inside = ", ".join(f"{name}: {described(value)}" for name, value in list(names.items())[:6])
        return f"a {type(returned).__name__} ({inside})"
    if isinstance(returned, tuple | list):
        return f"a {type(returned).__name__} ({', '.join(map(described, returned[:6]))})"
    return "None" if returned is None else f"a {type(returned).__name__}"


def _named(returned: Any) -> Iterator[tuple[str, Any]]:
    """The named parts of a dictionary, a named tuple, a dataclass or a plain object; nothing of a tuple."""
    if isinstance(returned, Mapping):
        yield from ((str(name), value) for name, value in returned.items())
    elif hasattr(returned, "_asdict"):
        yield from returned._asdict().items()
    elif is_dataclass(returned) or (hasattr(returned, "__dict__") and not isinstance(returned, Tensor)):
        yield from ((name, value) for name, value in vars(returned).items() if not name.startswith("_"))


def _tensors(returned: Any, name: str = "", depth: int = 0) -> Iterator[tuple[str, Tensor]]:
    """Every tensor in it, by a name of its own."""
    if isinstance(returned, Tensor):
        yield name, returned
    elif depth < 4:
        named = dict(_named(returned))
        parts = named.items() if named else enumerate(returned) if isinstance(returned, tuple | list) else ()
        for key, value in parts:
            yield from _tensors(value, str(key) if named else f"{name}[{key}]", depth + 1)


def _pair(mean: Tensor, second: Tensor, spread: Spread | None) -> DiagonalGaussian:
    if spread is None and bool((second > 0).all()):
        raise InputError(
            f"the encoder gave a pair of {tuple(mean.shape)} whose second is positive throughout: a standard "
            "deviation, or the logarithm of a variance? pass spread='std', 'var' or 'log_var'"
        )
    return _gaussian(mean, second, spread or "log_var")


def _gaussian(mean: Tensor, second: Tensor, spread: Spread) -> DiagonalGaussian:
    _check_code(mean)
    tiny = torch.finfo(second.dtype).tiny
    if spread == "log_var":
        return DiagonalGaussian(mean, second.expand_as(mean))
    log = second.clamp_min(tiny).log().expand_as(mean)
    return DiagonalGaussian(mean, 2 * log if spread == "std" else log)


def _alike(pair: Any) -> bool:
    return all(isinstance(one, Tensor) and one.is_floating_point() for one in pair) and pair[0].shape == pair[1].shape


def _check_code(code: Tensor) -> None:
    if not code.is_floating_point():
        raise InputError(
            f"the encoder gave {described(code)}: whole numbers have no gradient; pass encode= a function that gives "
            "the code before it is rounded or looked up"
        )
    if code.dim() < 2:
        raise InputError(f"the encoder gave {described(code)}; a code is (B, ...), a row for each image")
