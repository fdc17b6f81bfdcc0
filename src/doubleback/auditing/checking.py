"""Is a model ready to be attacked? What would make its figures wrong is found in seconds, before the first attack.

Every finding says what is wrong and how to fix it. An audit runs them all and keeps those that spoil its figures
as flags.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from doubleback.attacks import Attack, Goal
from doubleback.attacks.rows import value_and_gradient
from doubleback.attacks.weighing import FEW, asked, bounded
from doubleback.auditing.asked import attacks_asked
from doubleback.auditing.cost import cost
from doubleback.auditing.ranges import ranges
from doubleback.data import ImageData, Split
from doubleback.data.given import handed, is_batches
from doubleback.defences import as_deployed
from doubleback.errors import reason
from doubleback.evaluation import reconstruct
from doubleback.memory import rows_within
from doubleback.models import Autoencoder
from doubleback.models.base import acquaint, attacked, decodes, encodes, is_variational
from doubleback.settings import Auditing
from doubleback.settings.checks import as_bytes
from doubleback.state import at_work, kept
from doubleback.tensors import Images, as_images, placed, rows_at_once
from doubleback.trust import NO_GRADIENT, SAME_ANSWER, Finding

LOOKED_AT = 8  # images
ALIKE = 2e-4  # of the answers' range, on average: two answers that differ by less are the same
OWN = 0.02  # of the answers' range: how far decode(encode(x)) may be from net(x), on average
_SIZES = "it fails on batches of another size ({}): let it take any, export it with a dynamic batch"


def check(
    victim: Autoencoder | nn.Module,
    images: ImageData | Split | Images | Iterable[Any],
    *,
    attacks: Iterable[str | Goal | Attack] | None = None,
    settings: Auditing | None = None,
) -> list[Finding]:
    """Check a model before an attack: does it do what the figures will claim?

    Args:
        victim: any autoencoder, wrapped or not.
        images: some of those for the audit, as in `audit`; the first eight are used.
        attacks: those of the audit; None: as in `audit`.
        settings: of the audit, to estimate its time.

    Returns:
        One finding for each check, with `name`, `ok` and `message`: `runs`, `evaluation`, `finite`,
        `deterministic`, `rows`, `reconstruction` (is the audited one the model's own?), `ranges`, `gradient_<goal>` for
        every goal, `double_backward` (for hardening), `cost` (memory and minutes).

    Raises:
        InputError: the images cannot be used (`tensors.as_images`), or a goal is unknown.
    """
    settings = settings or Auditing()
    victim = as_deployed(victim, settings.threat)
    with at_work():
        x = as_images(_first_of(images), victim)[:LOOKED_AT]
    tried = attacks_asked(victim, attacks, settings, x)
    training = _training(victim, x)
    budget = None if settings.memory is None else as_bytes(settings.memory)
    with at_work(victim, attacked(victim)), bounded(victim, placed(victim, x[:1]), budget):
        return list(findings_of(victim, placed(victim, x), tried, settings.pairing.pairs, training))


def _first_of(images: ImageData | Split | Images | Iterable[Any]) -> Images:
    """Enough images to look at."""
    if isinstance(images, ImageData):
        return images.test.images
    x: Images = handed(islice(images, 1) if is_batches(images) else images)[0]  # type: ignore[arg-type]
    return x


def findings_of(
    victim: Autoencoder, x: Tensor, attacks: Sequence[Attack], pairs: int, training: Sequence[str] = ()
) -> Iterator[Finding]:
    """Every finding, of images that lie where the model is; `training` names hidden modules that were in that mode."""
    try:
        acquaint(victim, x)
        reconstruct(victim, x[:1])
    except Exception as error:  # a model of somebody else may raise anything, here and below
        failed = f"it fails on {tuple(x.shape)}: {type(error).__name__}: {reason(error)[:300]}"
        yield Finding("runs", False, failed, stops=True)
        return
    try:
        together = reconstruct(victim, x)
    except Exception as error:
        yield Finding("rows", False, _SIZES.format(reason(error)[:200]))
        return
    yield Finding("runs", True, f"{tuple(x.shape)} -> {tuple(together.shape)}{_code_in_words(victim)}")
    if size := getattr(getattr(victim, "parts", None), "batch", None):
        yield Finding(
            "batch",
            False,
            f"it was exported for batches of {size} and no other: it is run in such, filled up; "
            "export it with a dynamic batch to save the time",
            spoils=False,
        )
    before = _buffers(victim)
    again = reconstruct(victim, x)
    yield _evaluation(victim, before, training)
    raw = _unclamped(victim, x, together)
    finite = bool(together.isfinite().all() and raw.isfinite().all())
    bad = "its answer holds NaN or infinity: find the layer that makes it, or the weights that are missing"
    yield _found("finite", finite, "no NaN, no infinity", bad)
    yield _deterministic(victim, x, together, again)
    yield _rows(victim, x, together, _apart(together, again))
    if decodes(victim) and finite:
        yield _own(victim, x, together)
        yield ranges(victim, x, together, raw)
    for attack in [one for one in attacks if one.knowledge.queries == 0]:  # whoever sees answers alone needs none
        some = slice(max(1, rows_within()))
        yield _gradient(victim, x[some], x.roll(1, 0)[some], attack)
    yield _double_backward(victim, x)
    yield cost(victim, x, attacks, pairs)


def _unclamped(victim: Any, x: Tensor, together: Tensor) -> Tensor:
    """The answer before it is clamped, where it is."""
    asked_raw = getattr(victim, "unclamped", None)
    if asked_raw is None or not decodes(victim):
        return together
    with torch.no_grad():
        return torch.cat([asked_raw(some).likelihood.mean for some in torch.split(x, rows_at_once(x))])


def _found(name: str, ok: bool, well: str, bad: str, *, spoils: bool = True) -> Finding:
    return Finding(name, ok, well if ok else bad, spoils)


def _code_in_words(victim: Autoencoder) -> str:
    if not encodes(victim):
        return ", without a code"
    shape = tuple(getattr(victim, "code_shape", victim.noise_shape))
    return f", code {shape}{'' if is_variational(victim) else ', without a variance'}"


def _training(victim: Any, images: Tensor) -> list[str]:
    """Modules that only a function uses, which were found in training mode, where that changes an answer."""
    hidden = [module for module in getattr(getattr(victim, "parts", None), "hidden", ()) if module.training]
    if not hidden:
        return []
    try:
        x = placed(victim, images)
        with kept(victim):
            found = reconstruct(victim, x)
        with at_work(victim):
            same = _apart(found, reconstruct(victim, x)) <= ALIKE
    except Exception:  # the next findings report it
        return []
    return [] if same else [type(module).__name__ for module in hidden]


def _modules(victim: Autoencoder) -> list[nn.Module]:
    return [one for one in (victim, attacked(victim)) if isinstance(one, nn.Module)]


def _buffers(victim: Autoencoder) -> list[tuple[Tensor, Tensor]]:
    """Each buffer, and a copy of what it holds now."""
    return [(buffer, buffer.clone()) for module in _modules(victim) for buffer in module.buffers()]


def _evaluation(victim: Autoencoder, before: Sequence[tuple[Tensor, Tensor]], training: Sequence[str]) -> Finding:
    """Evaluation mode is reached: nothing is in training mode, and no buffer has moved as the model answered."""
    if not all(torch.equal(buffer, values) for buffer, values in before):
        return Finding("evaluation", False, "its buffers change as it answers, in evaluation mode, too: let none move")
    if any(part.training for module in _modules(victim) for part in module.modules()):
        return Finding("evaluation", False, "a part of it stays in training mode: let .eval() reach every part")
    bad = (
        f"a function uses a module ({', '.join(training)}) in training mode, which changes its answers; it is audited "
    )
    bad += "in evaluation mode: call .eval() on it, as where it is deployed"
    return _found("evaluation", not training, "in evaluation mode, nothing moves", bad, spoils=False)


def _deterministic(victim: Autoencoder, x: Tensor, first: Tensor, again: Tensor) -> Finding:
    difference = _over_range((first - again).abs().amax(), first)
    if difference <= SAME_ANSWER and (apart := _with_gradient(victim, x[:1])) > ALIKE:
        bad = f"with a gradient its answer differs by {apart:.2g} of its range: let it not depend on "
        return Finding("deterministic", False, bad + "torch.is_grad_enabled()")
    bad = (
        f"two answers to the same images differ by {difference:.2g} of their range: pass encode= a function that gives "
    )
    bad += "(mean, log_var) and not a sample; switch dropout off"
    return _found("deterministic", difference <= SAME_ANSWER, "the same answer twice", bad)


def _with_gradient(victim: Autoencoder, x: Tensor) -> float:
    """How far the answer is from that of an attack, which asks for its gradient; 0 where it has none."""
    before = reconstruct(victim, x)
    try:
        out = victim(x.clone().requires_grad_()).likelihood.mean if decodes(victim) else before
    except Exception:  # the gradient's own finding reports it
        return 0.0
    return _apart(before, out.detach())


def _rows(victim: Autoencoder, x: Tensor, together: Tensor, noise: float) -> Finding:
    """Each row by itself: one image alone, and in two batches; `noise` is how far two equal questions are apart."""
    try:
        alone = torch.cat([reconstruct(victim, one[None]) for one in x[:3]])
        turned = reconstruct(victim, x.flip(0)[: max(1, len(x) - 1)])
        pairs = torch.cat([reconstruct(victim, two) for two in torch.split(x, 2)])
    except Exception as error:
        return Finding("rows", False, _SIZES.format(reason(error)[:200]))
    same = [(alone, together[:3]), (turned, together.flip(0)[: len(turned)]), (pairs, together)]
    difference = max(_apart(*answers) for answers in same)
    bad = f"an image's answer depends on the others of its batch, by {difference:.2g} of its range: put BatchNorm into "
    bad += "evaluation mode, and normalise (and quantise) each image by itself"
    return _found("rows", difference <= ALIKE + 3 * noise, "an image's answer is its own", bad)


def _own(victim: Any, x: Tensor, together: Tensor) -> Finding:
    """Is what is audited what the model's own forward pass gives?"""
    name, own = "reconstruction", getattr(victim, "own", None)
    try:
        with torch.no_grad():
            answers = [] if own is None else [own(x), own(x)]
    except Exception:  # a forward pass with other arguments: there is nothing to compare with
        answers = []
    if not answers or answers[0] is None:
        return Finding(name, True, "the model has no forward pass of its own to compare with")
    one, other = (answer.clamp(0, 1) for answer in answers)
    noise, difference = _apart(one, other), min(_apart(together, one), _apart(together, other))
    well = f"that of net(x), within {difference:.2g} of its range"
    bad = f"decode(encode(x)) differs from the model's own net(x) by {difference:.2g} of its range: pass forward=, or "
    bad += "the encode= and decode= of which net(x) is made"
    return _found(name, difference <= OWN + 3 * noise, well, bad)


def _gradient(victim: Autoencoder, x: Tensor, target: Tensor, attack: Attack) -> Finding:
    """Does this goal's loss lead anywhere?"""
    name, rows = f"gradient_{attack.goal.name}", torch.arange(len(x), device=x.device)
    try:
        loss = attack.goal.loss(attack.knowledge.followed(victim), x, target)
        _, gradient = value_and_gradient(lambda z, rows: loss(z, rows, None), x.lerp(target, 0.01), rows)
    except Exception as error:
        failed = f"the gradient fails: {type(error).__name__}: {reason(error)[:200]}"
        return Finding(name, False, failed, stops=True)
    largest = gradient.flatten(1).abs().amax(1)
    none = int((~(largest.isfinite() & (largest > NO_GRADIENT))).sum()) if bool((target != x).any()) else 0
    bad = f"{none} of {len(x)} images give no gradient to follow (the model rounds, looks up or detaches): pass "
    return _found(name, not none, "there is one", bad + "surrogate=, a twin that passes the gradient through")


def _double_backward(victim: Autoencoder, x: Tensor) -> Finding:
    name = "double_backward"
    if rows_within() < FEW:
        return Finding(name, True, "not tried: a row takes too much memory")
    try:
        with sdpa_kernel(SDPBackend.MATH):
            few = x[:2].detach().requires_grad_()
            out = asked(victim, few)
            (gradient,) = torch.autograd.grad(out.square().sum(), few, create_graph=True)
            torch.autograd.grad(gradient.square().sum(), few)
    except Exception as error:
        return Finding(name, False, f"it cannot be hardened by an exact penalty ({reason(error)[:160]})", spoils=False)
    return Finding(name, True, "it can be hardened by an exact penalty")


def _apart(one: Tensor, other: Tensor) -> float:
    """How far two answers are apart, on average, over their range."""
    return _over_range((one - other).abs().mean(), one)


def _over_range(value: Tensor, answers: Tensor) -> float:
    spread = (answers.amax() - answers.amin()).clamp_min(torch.finfo(answers.dtype).tiny)
    share = (value / spread).item()
    return share if math.isfinite(share) else 0.0
