"""Which attacks are asked for: those that are named, or the usual ones, and the search by scores where it is wanted."""

from collections.abc import Iterable

from doubleback.attacks import Attack, Capability, Damage, Goal, Scores, attacks_of
from doubleback.attacks.goals import goals_for
from doubleback.attacks.standard import standard_for
from doubleback.models import Autoencoder
from doubleback.settings import Auditing


def usual_goals(model: Autoencoder, settings: Auditing) -> list[Goal]:
    """The goals where none are named: with budgets the standard ensemble, else the code and the output."""
    return standard_for(model) if settings.threat.eps else goals_for(model)


def attacks_asked(
    model: Autoencoder,
    given: Iterable[str | Goal | Attack] | None,
    settings: Auditing,
    capability: Capability | None = None,
) -> list[Attack]:
    """The attacks of an audit.

    Args:
        model: the autoencoder.
        given: as in `audit`.
        settings: of the audit.
        capability: of goals that are named; None: what the settings say.

    Raises:
        InputError: one is unknown, two have the same name, or there is none.
    """
    goals = usual_goals(model, settings) if given is None else list(given)
    capability, search, queries = capability or settings.capability, settings.search, settings.threat.queries
    scores = [Attack(Damage(), capability, search, "scores", Scores(queries))] if queries else []
    return attacks_of([*goals, *scores], capability, search)
