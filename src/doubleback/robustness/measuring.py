"""What do classifiers still get right? Attacks on every model -> accuracies, a matrix, and checks: one record.

White box: the model's own gradient. Black box: its scores alone (Square), and examples made on the other models. An
image counts as withstood only if nothing that was tried fooled the model on it: the worst case, image by image.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from doubleback.attacks.classifiers import (
    Adversarial,
    ClassifierAttack,
    Misclassification,
    apgd,
    fgsm,
    margin,
    pgd,
    random_noise,
    square,
    usable_losses,
)
from doubleback.errors import InputError
from doubleback.evaluation import JACOBIAN_IMAGES
from doubleback.metrics.described import Described
from doubleback.metrics.smoothness import input_gradient_norm, jacobian_spectral
from doubleback.mixture import LatentMixtureClassifier
from doubleback.models import Classifier
from doubleback.progress import Update, progress_bar
from doubleback.robustness.record import Withstood
from doubleback.settings.ball import BallSearch
from doubleback.settings.robustness import Threats, WhiteBox
from doubleback.state import at_work
from doubleback.tensors import Images, Labels, as_images, as_labels, as_pixels, placed
from doubleback.trust import MORE, UNBOUNDED, Check, beaten, single_noise, vanishing_gradients

WHITE_BOX: dict[WhiteBox, ClassifierAttack] = {"fgsm": fgsm, "pgd": pgd, "apgd": apgd}
SQUARE, NOISE, LONGER = "square", "noise", "longer"
SHOWN = 8  # images kept to be shown
_STAGES = 6  # of a model beside its white-box attacks: examples, noise, square, longer, unbounded, transferred


def robust_accuracy(
    models: Mapping[str, Classifier],
    images: Images,
    y: Labels,
    *,
    black_box: Mapping[str, Classifier] | None = None,
    threats: Threats | None = None,
    known: Mapping[str, Withstood] | None = None,
    finished: Callable[[str, Withstood], None] | None = None,
    progress: bool = True,
) -> dict[str, Withstood]:
    """Attack every model on the same images.

    Args:
        models: by name; a module is put into evaluation mode meanwhile.
        images: (N, C, H, W), a tensor or a NumPy array, uint8 or in [0, 1].
        y: (N,), the place of each image's class among the models' classes: a tensor, a NumPy array or a list.
        black_box: further models to make examples on.
        threats: how every model is attacked; None: the defaults of `Threats`.
        known: what models of an earlier call with the same arguments withstood, as `finished` was told.
        finished: told of each model whose own attacks are done, before any transferred example.
        progress: show a bar with the time left.

    Returns:
        What each of `models` withstands.

    Raises:
        InputError: there is no model, one is both attacked and a black box, they do not know the same classes, or an
            image or a label cannot be used (`tensors`).
    """
    threats = threats or Threats()
    black_box = dict(black_box or {})
    everyone = black_box | dict(models)
    if twice := sorted(set(models) & set(black_box)):
        raise InputError(f"{twice[0]} is both attacked and a black box; every model makes examples for the others")
    with at_work():
        x, classes = as_images(images), as_labels(y, len(images), classes=_classes(everyone), name="y")
    stages = len(models) * (len(threats.attack) + _STAGES) + len(black_box)
    found: dict[str, Withstood] = dict(known or {})
    examples: dict[str, Tensor] = {}
    with progress_bar("attacking", stages, progress) as advance:
        for name, model in everyone.items():
            with at_work(model):
                one = _Attacked(model, placed(model, x), classes, threats, partial(_stage, advance, name))
                examples[name] = one.examples()
                if name in found:
                    advance(len(threats.attack) + _STAGES - 2)
                elif name in models:
                    found[name] = one.withstood()
                    if finished:
                        finished(name, found[name])
        for name, model in models.items():
            with at_work(model), _stage(advance, name, "examples of the others"):
                _transfer(found[name], name, model, placed(model, x[:1]), classes, examples, threats)
    return found


def _transfer(
    one: Withstood,
    name: str,
    model: Classifier,
    like: Tensor,
    y: Tensor,
    examples: dict[str, Tensor],
    threats: Threats,
) -> None:
    """Try the examples made on every other model, and see whether what knows no gradient does better than what does."""
    goal = Misclassification(model, y.to(like.device), samples=threats.noise_samples)
    for other, x_adv in examples.items():
        rights = torch.stack([goal.at(x.to(like)) > 0 for x in x_adv]).cpu()
        if other == name:
            one.attacks[LONGER] = one.attacks[LONGER] & rights
        else:
            one.transfer[other] = rights
    white = torch.stack([~one.attacks[attack] for attack in (*threats.attack, LONGER)]).any(0)
    black = [~one.attacks[attack] for attack in (SQUARE,) if attack in one.attacks]
    black += [~rights for rights in one.transfer.values()]
    if black:
        one.checks.append(beaten("black_box_beats_white_box", torch.stack(black).any(0), white))


@contextmanager
def _stage(advance: Update, name: str, stage: str) -> Iterator[None]:
    """Say beside the bar what is going on; count it when it is done."""
    advance(0, f"{name}: {stage}")
    yield
    advance(1)


def _classes(models: Mapping[str, Classifier]) -> int:
    """How many classes all of them know."""
    if not models:
        raise InputError("no model to attack; give one or more")
    for name, model in models.items():
        if not hasattr(model, "classes"):
            kind = type(model).__name__
            raise InputError(
                f"{name} is a {kind}, no classifier; give load_classifier(...).model, or one with `classes`"
            )
    (first, one), *others = models.items()
    for name, other in others:
        if other.classes != one.classes:
            raise InputError(f"{first} and {name} know different classes; attack them separately")
    return len(one.classes)


Stage = Callable[[str], AbstractContextManager[None]]


class _Attacked:
    """One model under attack."""

    def __init__(self, model: Classifier, x: Tensor, y: Tensor, threats: Threats, stage: Stage) -> None:
        self.model, self.x, self.y, self.threats, self.stage = model, x, y.to(x.device), threats, stage
        self.goal = Misclassification(model, self.y, samples=threats.noise_samples)
        self.search = BallSearch(
            steps=threats.steps, restarts=threats.restarts, samples=threats.noise_samples, seed=threats.seed
        )

    def examples(self) -> Float[Tensor, "E N C H W"]:
        """What is tried on the other models: PGD to its last step, far beyond what fools this one."""
        return self._tried("examples for the others", pgd, restarts=1, losses=("margin",), keep=True).x_adv

    def withstood(self) -> Withstood:
        """Every attack, every check."""
        threats = self.threats
        clean = self.goal.at(self.x) > 0
        margins, first = zip(*(self._white_box(name) for name in threats.attack), strict=True)
        least = torch.stack(margins)
        fooled = (least <= 0).any(0)
        rights: dict[str, Tensor] = {name: ~(margin <= 0) for name, margin in zip(threats.attack, margins, strict=True)}
        rights[NOISE] = ~self._tried("random noise", random_noise).fooled
        if threats.queries:
            rights[SQUARE] = ~self._tried("score-only search", square, queries=threats.queries).fooled
        longer = self._longer(fooled)
        rights[LONGER] = ~(fooled | longer)
        checks = [
            self._vanishing_gradients(clean),
            beaten("noise_beats_gradient", ~rights[NOISE], fooled),
            beaten("more_steps_help", longer, fooled),
            self._unbounded(),
            single_noise(self.model, self.x[:JACOBIAN_IMAGES], threats.noise_samples),
        ]
        return Withstood(
            kind=kind(self.model),
            clean=clean.cpu(),
            attacks={name: right.cpu() for name, right in rights.items()},
            checks=checks,
            gradients=gradient_norms(self.model, self.x[:JACOBIAN_IMAGES], self.y[:JACOBIAN_IMAGES]),
            shown=as_pixels(_of_the_strongest(torch.stack(first), least)),
        )

    def _tried(self, stage: str, attack: ClassifierAttack, **changes: Any) -> Adversarial:
        """The attack on all images at every epsilon, as a stage of its own."""
        with self.stage(stage):
            return self._by(attack, **changes)

    def _by(
        self, attack: ClassifierAttack, *, rows: Tensor | None = None, eps: float | None = None, **changes: Any
    ) -> Adversarial:
        """The attack on these rows (None: all) at this epsilon (None: every one), with these changes of the search."""
        x, y = (self.x, self.y) if rows is None else (self.x[rows], self.y[rows])
        radii = self.threats.radii if eps is None else [eps]
        return attack(self.model, x, y, self.search, eps=radii, norm=self.threats.norm, **changes)

    def _white_box(self, name: WhiteBox) -> tuple[Float[Tensor, "E N"], Float[Tensor, "E M C H W"]]:
        """Margins, and the first images: of all attacks' images at once there would be too many."""
        found = self._tried(name, WHITE_BOX[name])
        return found.margin, found.x_adv[:, :SHOWN].clone()

    def _longer(self, fooled: Bool[Tensor, "E N"]) -> Bool[Tensor, "E N"]:
        """Who is fooled by four times the steps of the strongest attack that was used; of those left at any epsilon."""
        threats = self.threats
        rows = torch.nonzero(~fooled.all(0)).squeeze(1)
        more = torch.zeros_like(fooled)
        with self.stage("more steps"):
            if len(rows):
                strongest = apgd if "apgd" in threats.attack else pgd
                more[:, rows] = self._by(strongest, rows=rows, steps=MORE * threats.steps).fooled
        return more

    def _unbounded(self) -> Check:
        """An attack whose ball holds every image."""
        eps = UNBOUNDED if self.threats.norm == "Linf" else float(self.x[0].numel() ** 0.5)
        with self.stage("unbounded"):
            left = ~self._by(pgd, eps=eps).fooled
            if left.any():
                left = left & ~self._by(apgd, eps=eps).fooled
        return beaten("unbounded_attack_fails", left, torch.zeros_like(left))

    def _vanishing_gradients(self, clean: Bool[Tensor, "N"]) -> Check:
        """At the images that are classified rightly, by all losses."""
        rows = torch.nonzero(clean).squeeze(1)
        losses = [self.goal.at_rows(rows).loss(name) for name in usable_losses(len(self.model.classes))]
        return vanishing_gradients([lambda x, at, loss=loss: loss(x, at)[0] for loss in losses], self.x[rows])  # type: ignore[misc]


def _of_the_strongest(
    x_adv: Float[Tensor, "A E M C H W"], margins: Float[Tensor, "A E N"]
) -> Float[Tensor, "M E C H W"]:
    """Of A attacks' examples the one of the least margin, image by image."""
    strongest = margins[:, :, : x_adv.shape[2]].argmin(0)  # (E, M)
    e, m = (torch.arange(count, device=x_adv.device) for count in strongest.shape)
    return x_adv[strongest, e[:, None], m].transpose(0, 1)


def kind(model: Classifier) -> str:
    """What sort of classifier it is, for people: `mixture`, or the name of its class."""
    return "mixture" if isinstance(model, LatentMixtureClassifier) else type(model).__name__.lower()


def gradient_norms(model: Classifier, x: Float[Tensor, "N C H W"], y: Int[Tensor, "N"]) -> dict[str, Any]:
    """Mean norms over the images.

    Returns:
        `score`: of d margin / d x, per unit of a pixel; of a mixture also `latent`, the spectral norm of d z / d x, and
        `mixture`, of d margin / d z. None where the model does not allow it; `not_measured` then says why, by name.
    """
    norms: dict[str, Callable[[], Tensor]] = {
        "score": lambda: input_gradient_norm(lambda moving: margin(model(moving), y), x)
    }
    if isinstance(model, LatentMixtureClassifier):

        def of_mixture() -> Tensor:
            with torch.no_grad():
                z = model.code(x)
            return input_gradient_norm(lambda moving: margin(model.mixtures(moving), y), z)

        generator = torch.Generator().manual_seed(0)
        norms["latent"] = lambda: jacobian_spectral(model.code, x, generator=generator, tolerance=1e-3)
        norms["mixture"] = of_mixture
    described = Described()
    for name, norm in norms.items():
        described.measure(name, lambda norm=norm: norm().double().mean().item())  # type: ignore[misc]
    return described.results()
