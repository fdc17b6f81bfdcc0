"""Which attacks are asked for: those that are named, or the usual ones, and the search by scores where it is wanted."""

from collections.abc import Iterable

from torch import Tensor

from doubleback.attacks import Attack, Capability, Damage, Goal, Scores, attacks_of
from doubleback.attacks.goals import goals_for
from doubleback.attacks.standard import QUERIES, looks_up, standard_for
from doubleback.models import Autoencoder
from doubleback.settings import Auditing


def usual_attacks(
    model: Autoencoder, settings: Auditing, x: Tensor, capability: Capability | None = None
) -> list[Goal | Attack]:
    """What runs where nothing is named: with budgets the standard ensemble, else the code and the output.

    Args:
        model: the autoencoder.
        settings: of the audit.
        x: an image (1, ...) or more.
        capability: None: what the settings say.
    """
    if not settings.threat.eps:
        return [*goals_for(model)]
    scores = [] if settings.threat.queries or not looks_up(model, x) else [_by_scores(QUERIES, settings, capability)]
    return [*standard_for(model), *scores]


def attacks_asked(
    model: Autoencoder,
    given: Iterable[str | Goal | Attack] | None,
    settings: Auditing,
    x: Tensor,
    capability: Capability | None = None,
) -> list[Attack]:
    """The attacks of an audit.

    Args:
        model: the autoencoder.
        given: as in `audit`.
        settings: of the audit.
        x: an image (1, ...) or more.
        capability: of goals that are named; None: what the settings say.

    Raises:
        InputError: one is unknown, two have the same name, or there is none.
    """
    goals = usual_attacks(model, settings, x, capability) if given is None else list(given)
    queries = settings.threat.queries
    scores = [_by_scores(queries, settings, capability)] if queries else []
    return attacks_of([*goals, *scores], capability or settings.capability, settings.search)


def _by_scores(queries: int, settings: Auditing, capability: Capability | None) -> Attack:
    return Attack(Damage(), capability or settings.capability, settings.search, "scores", Scores(queries))
