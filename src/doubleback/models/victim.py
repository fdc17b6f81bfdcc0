"""A wrapped model: an `Autoencoder` made of the parts of somebody else's (`wrapping.wrap`).

    x in [0, 1] -> scaled, normalised, padded, in the model's precision -> encode -> z -> decode -> back to [0, 1]

What is scored is the model as it is deployed, its output clamped as it would be shown. What is attacked has the same
values and a gradient through rounding and clamping (`straight`), or is the surrogate that the user gives.
"""

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor, nn

from doubleback.checkpoints import apart
from doubleback.distributions import DiagonalGaussian, Gaussian
from doubleback.errors import InputError, reason
from doubleback.models.answers import Spread, code_of, described, image_of
from doubleback.models.base import Autoencoder, Reconstruction
from doubleback.models.straight import StraightThrough, clamped_straight
from doubleback.settings.victim import Range
from doubleback.state import evaluating
from doubleback.tensors import column

Function = Callable[[Tensor], Any]
UNIT = Range(0, 1)
VARIANCE = 0.02  # of the Gaussian pixel likelihood that judges a reconstruction: as in our own models


@dataclass(frozen=True)
class Made:
    """What a decoder or a whole model has made, where there is more to say than an image.

    Attributes:
        image: (B, ...), in the model's own range, or what `image_of` can read.
        bits: of the image's code, (B,): of a codec.
        tokens: places in a codebook, (B, n): of a quantised code.
    """

    image: Any
    bits: Tensor | None = None
    tokens: Tensor | None = None


@dataclass(frozen=True)
class Parts:
    """What is known of a model: said to `wrap`, or by the adapter of its library.

    Attributes:
        modules: of which it is made.
        hidden: those of them that only a function uses: nobody has handed them in.
        encode: images in the model's range -> what `code_of` can read.
        decode: codes -> what `image_of` can read, or `Made`.
        forward: images -> the same: the whole way, where it is not decode(encode(x)).
        deployed: what is scored instead of `forward`, if that has no gradient at all.
        own: the model's own forward pass, to compare with; None: it has none.
        input: the pixels that it takes.
        output: the pixels that it gives, or a function that brings them to [0, 1]; None: as `input`; "normalised": as
            `input`, `mean` and `std` have made them.
        mean, std: of each channel, after `input`.
        multiple: of which the sides of an image must be; it is padded on the right and below.
        spread: what the second of a pair is.
        floor: log_var is at least this, where a variance next to nothing makes KL explode.
        batch: the number of rows that it takes, and no other; None: any number.
        further: images in the model's range -> what its library's training adds to the loss of the reconstruction, by
            name, (B,) each: "rate" in bits, "commitment"; None: nothing.
        save: leaves the weights in a folder, in the library's own layout; None: as safetensors, by their names.
    """

    modules: tuple[nn.Module, ...] = ()
    hidden: tuple[nn.Module, ...] = ()
    encode: Function | None = None
    decode: Function | None = None
    forward: Function | None = None
    deployed: Function | None = None
    own: Function | None = None
    input: Range = UNIT
    output: Range | Function | Literal["normalised"] | None = None
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    multiple: int = 1
    spread: Spread | None = None
    floor: float | None = None
    batch: int | None = None
    further: Callable[[Tensor], dict[str, Tensor]] | None = None
    save: Callable[[Path], None] | None = None


class Wrapped(nn.Module):
    """A victim: an `Autoencoder` over images (or signals) in [0, 1], made by `wrap`.

    Attributes:
        decodes: whether it gives images; an encoder alone gives its code in their place.
        encodes: whether it has a code; without one only its output can be attacked.
        noise_shape: of a code, and variational: whether it has a variance; both known after the first image (`meet`).
    """

    def __init__(self, parts: Parts, *, surrogate: Autoencoder | None = None, straight: bool = False) -> None:
        super().__init__()
        self.training = False  # its own; its members stay in the mode that they are in
        self.parts, self.straight = parts, straight
        self.decodes = parts.decode is not None or parts.forward is not None
        self.encodes = parts.encode is not None
        self.takes_signals = True
        self.variational, self.variance, self.likelihood = False, VARIANCE, "gaussian"
        self.noise_shape: tuple[int, ...] = ()
        self.met = False
        self.members = nn.ModuleList(parts.modules)
        self._given = (surrogate,)  # in a tuple, or it would be a part of this module

    # -- what the protocol asks for ------------------------------------------------------------------------------

    def encode(self, x: Float[Tensor, "B ..."], noise: Float[Tensor, "B ..."] | None = None) -> DiagonalGaussian:
        """q(z|x), over codes of any shape; independent of the noise.

        Raises:
            InputError: the model has no encoder, or its answer cannot be read as a code.
        """
        del noise
        if self.parts.encode is None:
            raise InputError("this model has no code, only an output: attack that (goals output and untargeted)")
        return self._code(self._asked(self.parts.encode, self._to_model(x)))

    def forward(self, x: Float[Tensor, "B ..."], noise: Float[Tensor, "B ..."] | None = None) -> Reconstruction:
        """Encode, draw z (None: the mean), decode; clamped to [0, 1], but not in training.

        Raises:
            InputError: the model's answer cannot be read as a code or an image.
        """
        raw = self.unclamped(x, noise)
        if self.training:
            return raw
        mean = raw.likelihood.mean
        shown = clamped_straight(mean) if self.straight else mean.clamp(0, 1)
        return replace(raw, likelihood=Gaussian(shown, self._log_variance(shown)))

    def decode_as(self, z: Float[Tensor, "B ..."], x: Float[Tensor, "B ..."]) -> Gaussian:
        """p(x|z) over images like x, clamped to [0, 1].

        Raises:
            InputError: the model has no decoder of its own.
        """
        if self.parts.decode is None or self.parts.forward is not None:
            raise InputError("this model cannot decode any given code; leave out the setting that needs it")
        given = self._to_model(x)
        _, x_hat = self._read(self._asked(self.parts.decode, z.to(given.dtype)), given, x)
        return Gaussian(clamped_straight(x_hat) if self.straight else x_hat.clamp(0, 1), self._log_variance(x_hat))

    # -- what is more than the protocol --------------------------------------------------------------------------

    def unclamped(self, x: Float[Tensor, "B ..."], noise: Float[Tensor, "B ..."] | None = None) -> Reconstruction:
        """The reconstruction as the model gives it, which may leave [0, 1]."""
        parts, given = self.parts, self._to_model(x)
        if parts.forward is not None:
            scored = parts.forward if self.straight or parts.deployed is None else parts.deployed
            posterior, answer = _no_code(x), self._asked(scored, given)
        else:
            if parts.decode is None:
                raise InputError("this model has no decoder, only a code: attack that (goal latent)")
            posterior = self.encode(x)
            z = posterior.sample(noise) if self.variational and noise is not None else posterior.mean
            answer = self._asked(parts.decode, z.to(given.dtype))
        made, x_hat = self._read(answer, given, x)
        rate = None if made.bits is None else made.bits.to(x) / math.prod(x.shape[2:])
        return Reconstruction(posterior, Gaussian(x_hat, self._log_variance(x_hat)), rate, made.tokens)

    @cached_property
    def surrogate(self) -> Autoencoder:
        """What is attacked in its place: the user's, or this model with a gradient through rounding and clamping."""
        (given,) = self._given
        if given is not None:
            return given
        twin = Wrapped(self.parts, straight=True)
        twin.variational, twin.noise_shape, twin.met = self.variational, self.noise_shape, self.met
        return twin

    def meet(self, images: Float[Tensor, "N ..."]) -> None:
        """Run the model once on the first image: its code's shape is known then, and that it can be used.

        Args:
            images: in [0, 1], where the model is.

        Raises:
            InputError: the model fails, or its answer cannot be read; the message says what to pass.
        """
        if self.met:
            return
        x = images[:1]
        with torch.no_grad(), evaluating(self):
            try:
                code = self.encode(x) if self.encodes else _no_code(x)
                self.variational = bool(code.log_var.any())
                if self.decodes:
                    self.unclamped(x)
            except InputError:
                raise
            except Exception as error:
                raise InputError(
                    f"the model fails on an image of shape {tuple(x.shape)} ({type(error).__name__}: "
                    f"{reason(error)[:200]}); give images that it takes, or encode=, decode= or forward= that take them"
                ) from error
        self.noise_shape, self.met = tuple(code.mean.shape[1:]), True
        if isinstance(self.surrogate, Wrapped):
            self.surrogate.meet(images)

    @property
    def takes(self) -> tuple[torch.device, torch.dtype]:
        """Where images have to lie, and in which precision: float32, for half precision too, or the model's float64."""
        first = next((p for p in self.members.parameters() if p.is_floating_point()), None)
        if first is None:
            return torch.device("cpu"), torch.float32
        return first.device, torch.float64 if first.dtype == torch.float64 else torch.float32

    def own(self, x: Float[Tensor, "B ..."]) -> Float[Tensor, "B ..."] | None:
        """The model's own forward pass, net(x), in [0, 1] and unclamped; None where it has none that gives an image."""
        if self.parts.own is None:
            return None
        given = self._to_model(x)
        return self._from_model(image_of(self._asked(self.parts.own, given), given.shape), x)

    @property
    def net(self) -> nn.Module:
        """What its owner knows: the module that was wrapped, or all of them as a list."""
        return self.parts.modules[0] if len(self.parts.modules) == 1 else self.members

    def further(self, x: Float[Tensor, "B ..."]) -> dict[str, Float[Tensor, "B"]]:
        """What the library's training adds to the loss of the reconstruction, by name; "rate" in bits per pixel."""
        if self.parts.further is None:
            return {}
        found = self.parts.further(self._to_model(x))
        return {name: one / math.prod(x.shape[2:]) if name == "rate" else one for name, one in found.items()}

    def save(self, folder: Path) -> None:
        """Leave the weights in a folder, in the layout of the model's library, or as `model.safetensors`."""
        folder.mkdir(parents=True, exist_ok=True)
        if self.parts.save is not None:
            self.parts.save(folder)
            return
        save_file(apart(self.net.state_dict()), str(folder / "model.safetensors"), metadata={"format": "pt"})

    # -- inside --------------------------------------------------------------------------------------------------

    def _read(self, answer: Any, given: Tensor, x: Tensor) -> tuple[Made, Tensor]:
        """What a decoder has made, and the image of it, like x."""
        made = answer if isinstance(answer, Made) else Made(answer)
        return made, self._from_model(image_of(made.image, given.shape), x)

    def _asked(self, function: Function, x: Tensor) -> Any:
        with StraightThrough() if self.straight else nullcontext():
            return function(x) if self.parts.batch is None else _in_batches(function, x, self.parts.batch)

    def _code(self, answer: Any) -> DiagonalGaussian:
        q = code_of(answer, self.parts.spread)
        mean, log_var = (part.double() if part.dtype == torch.float64 else part.float() for part in (q.mean, q.log_var))
        floor = self.parts.floor
        return DiagonalGaussian(mean, log_var if floor is None else log_var.clamp_min(floor))

    def _to_model(self, x: Tensor) -> Tensor:
        """Scaled to the model's range, normalised, padded, in its precision."""
        low, high = self.parts.input.low, self.parts.input.high
        scaled = (low + (high - low) * x - _channels(self.parts.mean, x)) / _channels(self.parts.std, x)
        parameter = next((p for p in self.members.parameters() if p.is_floating_point()), None)
        padded = _padded(scaled, self.parts.multiple)
        return padded if parameter is None else padded.to(parameter.dtype)

    def _from_model(self, image: Tensor, x: Tensor) -> Tensor:
        """Cropped to the images' size and brought to [0, 1], in their precision."""
        output = self.parts.output
        image = image[tuple(slice(size) for size in x.shape)].to(x.dtype)
        if output is None:
            output = self.parts.input
        if output == "normalised":
            image, output = image * _channels(self.parts.std, x) + _channels(self.parts.mean, x), self.parts.input
        if isinstance(output, Range):
            return (image - output.low) / (output.high - output.low)
        return output(image)  # type: ignore[no-any-return]

    def _log_variance(self, x: Tensor) -> Tensor:
        return x.new_tensor(math.log(self.variance))


def _in_batches(function: Function, x: Tensor, size: int) -> Tensor:
    """The answer of a function that takes batches of one size, and gives a tensor."""
    missing = -len(x) % size
    filled = torch.cat([x, x[-1:].expand(missing, *x.shape[1:])])
    answers = [function(batch) for batch in torch.split(filled, size)]
    if not all(isinstance(answer, Tensor) for answer in answers):
        raise InputError(f"the exported program gave {described(answers[0])}; export one that gives the image alone")
    return torch.cat(answers)[: len(x)]


def _no_code(x: Tensor) -> DiagonalGaussian:
    return DiagonalGaussian(x.new_zeros(len(x), 0), x.new_zeros(len(x), 0))


def _channels(values: tuple[float, ...], x: Tensor) -> Tensor:
    """(C,) -> (C, 1, ...), to go with (B, C, ...)."""
    numbers = x.new_tensor(values)
    if len(values) > 1 and len(values) != x.shape[1]:
        raise InputError(f"mean or std has {len(values)} numbers, the images have {x.shape[1]} channels; give one each")
    return column(numbers, x[0])


def _padded(x: Tensor, multiple: int) -> Tensor:
    """x with sides that are multiples, its last pixels repeated on the right and below."""
    if multiple == 1 or x.dim() != 4:
        return x
    bottom, right = (-side % multiple for side in x.shape[-2:])
    return F.pad(x, (0, right, 0, bottom), mode="replicate") if bottom or right else x
