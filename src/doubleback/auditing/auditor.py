"""`audit`: from a model, images and what is asked, to a plan that can be run (`plan`)."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from doubleback.attacks import Attack, Goal
from doubleback.auditing.asked import attacks_asked
from doubleback.auditing.measures import DAMAGE
from doubleback.auditing.pairs import draw_pairs, label_of, own_pairs
from doubleback.auditing.plan import Plan
from doubleback.auditing.record import BLEND, CEILING, WORST_CASE, Audited
from doubleback.data import ImageData, Split
from doubleback.data.given import handed
from doubleback.defences import as_deployed
from doubleback.errors import InputError
from doubleback.models import Autoencoder
from doubleback.models.base import acquaint, attacked
from doubleback.settings import Auditing
from doubleback.settings.checks import as_bytes
from doubleback.state import at_work
from doubleback.tensors import Images, Labels, let_in, placed

_OF_ATTACKS = {
    "coefficients",
    "steps",
    "restarts",
    "samples",
    "norm",
    "eps",
    "relative",
}  # settings that whole attacks bring themselves


def audit(
    model: Autoencoder | nn.Module,
    images: ImageData | Split | Images | Iterable[Any] | None = None,
    labels: Labels | None = None,
    settings: Auditing | None = None,
    *,
    pairs: int | Iterable[tuple[Any, Any]] | None = None,
    attacks: Iterable[str | Goal | Attack] | None = None,
    progress: bool = True,
    **changes: Any,
) -> Audited:
    """Attack pairs of images and measure what the model withstands.

    Where `torch.distributed` is running, every one of its processes has to call this: they share the work.

    Args:
        model: any autoencoder; a module that is not wrapped is wrapped, and put into evaluation mode meanwhile.
        images: the test images, (N, C, H, W), a tensor or a NumPy array, uint8 or in [0, 1]; a `Split` or a DataLoader
            of such; or a data set, whose test split is taken. Of a wrapped model signals, too: (N, C, L) or (N, F).
        labels: (N,), any whole numbers but -1; source and target then differ in label. A data set brings its own.
        settings: the pairs, the price and the search of goals that are named; None: the defaults.
        pairs: how many are drawn; or your own, (source, target) each: two images, (C, H, W), or two places in `images`.
        attacks: names of goals ("latent", "output", "untargeted", ...), goals, functions (out, x) -> (n,) that fall as
            an attack succeeds, or whole attacks; None: latent and output, as far as the model has a code and an output,
            or, where `eps` are given, `STANDARD`.
        progress: show a bar with the time left.
        changes: fields of `settings` by name: `memory`, `source_label`, `target_label`, `coefficients`, `norm`,
            `eps`, `relative`, `queries`, `survive`, `defend`, `steps`, `restarts`, `samples`, `seed`.

    Raises:
        InputError: a setting is out of range, images or labels are not to be used (`tensors`), the images do not fit
            the model, or there are too few of them.

    >>> import torch, doubleback
    >>> images = torch.randint(256, (8, 1, 8, 8), dtype=torch.uint8)
    >>> found = doubleback.audit(doubleback.VAE((1, 8, 8)), images, pairs=2, coefficients=3, steps=5, progress=False)
    >>> sorted(found.results()["attacks"])
    ['latent', 'output', 'worst_case']
    """
    chosen = pairs if pairs is None or isinstance(pairs, int) else list(pairs)
    counted = {} if chosen is None else {"pairs": chosen if isinstance(chosen, int) else max(1, len(chosen))}
    settings = (settings or Auditing()).changed(**counted, **changes)
    attacks = None if attacks is None else list(attacks)
    given: Any = images
    names = None
    if isinstance(images, ImageData):
        if labels is not None:
            raise InputError("labels are given, but the data set brings its own; leave them out")
        given, labels, names = images.test.images, images.test.labels, images.label_names
    else:
        given, own = handed(images)
        labels = own if labels is None else labels
    places = None
    if isinstance(chosen, list):
        given, labels, places = own_pairs(given, labels, chosen)
    elif given is None:
        raise InputError("images are missing; give the test images, or pairs=[(source, target), ...]")
    plan = _plan(model, given, labels, settings, attacks, names, places)
    unread = (
        sorted(set(changes) & _OF_ATTACKS)
        if attacks is not None and all(isinstance(one, Attack) for one in attacks)
        else []
    )
    if unread:
        raise InputError(f"{unread[0]} has no effect on whole attacks, which have their own; say it there: Attack(...)")
    return plan.run(progress=progress)


def plan_audit(
    model: Autoencoder | nn.Module,
    split: Split,
    settings: Auditing,
    *,
    attacks: Iterable[str | Goal | Attack] | None = None,
    names: Sequence[str] | None = None,
) -> Plan:
    """An audit that can be run: what it cannot do is refused here, before the first attack.

    `model`, `settings` and `attacks` as in `audit`; `names` are those of the labels, where they have any.
    """
    return _plan(model, split.images, split.labels, settings, attacks, names)


def _plan(
    model: Autoencoder | nn.Module,
    images: Images,
    labels: Labels | None,
    settings: Auditing,
    attacks: Iterable[str | Goal | Attack] | None,
    names: Sequence[str] | None,
    places: tuple[Tensor, Tensor] | None = None,
) -> Plan:
    """The plan; `places` of sources and of targets, where they are not drawn."""
    model = as_deployed(model, settings.threat)
    with at_work():
        x, own = let_in(images, labels, model)
    tried = attacks_asked(model, attacks, settings, x)
    if taken := {BLEND, WORST_CASE, CEILING, DAMAGE}.intersection(attack.name for attack in tried):
        raise InputError(
            f"no attack can be called {min(taken)}, which every audit has; give another: Attack(..., name=)"
        )
    ends = [label_of(end, names) for end in (settings.pairing.source_label, settings.pairing.target_label)]
    source, target = places or draw_pairs(len(x), own, settings.pairing.pairs, settings.search.seed, *ends)
    samples = max(attack.search.samples for attack in tried)
    with at_work(model, attacked(model)), torch.no_grad():
        first = placed(model, x[source[:1]])
        acquaint(model, first)
        for attack in tried:
            attack.try_on(model, first)
    memory = None if settings.memory is None else as_bytes(settings.memory)
    return Plan(model, x, source, target, tried, samples, settings.search.seed, memory)
