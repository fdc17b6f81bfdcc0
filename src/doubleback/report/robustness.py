"""A robustness folder as the page shows it: figures, tables, what the checks say, adversarial examples."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from doubleback.report.accuracy_figures import model_figure, ordered, worst_figure
from doubleback.report.archives import lookup, mapping, number
from doubleback.report.cells import (
    Cell,
    Column,
    Group,
    Matrix,
    MatrixGroup,
    MatrixRow,
    Row,
    filled,
    number_cell,
    share_cell,
    written,
)
from doubleback.report.pictures import data_uri
from doubleback.report.runs import title
from doubleback.report.studies import Sees, Study
from doubleback.report.svg import Panel

FILMS = 4  # images shown with their adversarial examples
KINDS = {
    "mixture": "mixtures on an encoder",
    "mlp": "dense classifier",
    "lenet": "LeNet",
    "cvnet": "CvNet",
}


@dataclass(frozen=True)
class CheckSeen:
    """What one check measured, its threshold, and its words; `fired`: its sentence, empty if it did not fire."""

    name: str
    value: str
    threshold: str
    says: str
    fired: str


@dataclass(frozen=True)
class Judged:
    """A model, what kind it is, and what the checks found."""

    name: str
    kind: str
    checks: list[CheckSeen]

    @property
    def fired(self) -> list[CheckSeen]:
        """The checks that fired."""
        return [check for check in self.checks if check.fired]


@dataclass(frozen=True)
class Origin:
    """A column of the matrix: where its examples come from, and what a model keeps under them at an epsilon."""

    name: str
    title: str
    note: str
    cell: Callable[[str, str], Cell]


@dataclass(frozen=True)
class Film:
    """A test image (data URI) and each model's adversarial examples, one for each epsilon."""

    number: int
    source: str
    rows: list[tuple[str, list[str]]]


@dataclass(frozen=True)
class RobustnessView:
    """All that the page shows of one folder."""

    study: Study
    eps: list[str]
    columns: list[Column]
    worst: Panel | None
    panels: list[Panel]
    judged: list[Judged]
    table: list[Group]
    dashed: str
    matrix: Matrix[Origin]
    attacks: list[Group]
    films: list[Film]


def robustness_view(study: Study, key: str) -> RobustnessView:
    """Collect what the page shows of a robustness folder; `key` makes the ids in its drawings unique on the page."""
    return RobustnessView(
        study=study,
        eps=ordered(study),
        columns=[Column(model, study.place(model), _kind(study, model)) for model in study.models],
        worst=_worst(study, key),
        panels=_panels(study, key),
        judged=[_judged(study, model) for model in study.models],
        table=_table(study),
        dashed=_dashed(study),
        matrix=_matrix(study),
        attacks=_attacks(study),
        films=_films(study),
    )


def white_box(study: Study, model: str, eps: str) -> tuple[str, float] | None:
    """The gradient attack that leaves the model least, and what it leaves; None if no such attack was run."""
    record = study.model(model)
    attacks = [name for name in mapping(record, "robust_accuracy") if study.attack(name).sees == "gradient"]
    left = {attack: number(record, ("robust_accuracy", attack, eps)) for attack in attacks}
    known = [(value, attack) for attack, value in left.items() if value is not None]
    return None if not known else (min(known)[1], min(known)[0])


def _worst(study: Study, key: str) -> Panel | None:
    drawn = worst_figure(study, f"{key}-worst")
    note = "over all attacks; band: 95\u00a0% interval; at eps 0 the clean accuracy"
    return Panel("Worst case", note, drawn) if drawn else None


def _panels(study: Study, key: str) -> list[Panel]:
    drawn = [(model, model_figure(study, model, f"{key}-model{i}")) for i, model in enumerate(study.models)]
    return [Panel(model, _kind(study, model), svg) for model, svg in drawn if svg is not None]


def _kind(study: Study, model: str) -> str:
    kind = study.model(model).get("kind")
    return KINDS.get(kind, kind) if isinstance(kind, str) else ""


def _judged(study: Study, model: str) -> Judged:
    checks, flags = (mapping(study.model(model), key) for key in ("checks", "flags"))
    found = [
        CheckSeen(
            name=name.replace("_", " "),
            value=_measured(number(checks, (name, "value"))),
            threshold=_measured(number(checks, (name, "threshold"))),
            says=str(lookup(checks, (name, "says")) or ""),
            fired=str(flags.get(name) or ""),
        )
        for name in dict.fromkeys([*checks, *flags])
    ]
    return Judged(model, _kind(study, model), found)


def _measured(value: float | None) -> str:
    return "\u2013" if value is None else written(value)


def _table(study: Study) -> list[Group]:
    """The main figures, a column for each model."""
    norms = {
        "score": ("Margin in the input", "norm of d margin / dx"),
        "latent": ("Code in the input", "spectral norm of dz/dx"),
        "mixture": ("Margin in the code", "norm of d margin / dz"),
    }
    worst = [
        Row(f"Worst case, eps {eps}", "of the images", "higher", _shares(study, "worst_case", eps))
        for eps in ordered(study)
    ]
    gradients = [
        Row(name, note, "", [number_cell(study.model(model), "gradients", key) for model in study.models])
        for key, (name, note) in norms.items()
    ]
    clean = Row("Clean accuracy", "of the images attacked", "higher", _shares(study, "clean_accuracy"))
    return filled({"Accuracy": [clean, *worst], "Gradient norms, mean over the images": gradients})


def _shares(study: Study, *path: str) -> list[Cell]:
    return [share_cell(study.model(model), *path) for model in study.models]


def _matrix(study: Study) -> Matrix[Origin]:
    """Who withstands whose examples; on the diagonal each model's own, the worst of its gradient attacks."""
    records = [study.model(model) for model in study.models]
    made_on = dict.fromkeys([*study.models, *(other for record in records for other in mapping(record, "transfer"))])
    columns = [
        Origin(other, title(other), "" if other in study.places else "black box", _made_on(study, other))
        for other in made_on
    ]
    for attack in _blind(study, "scores") + _blind(study, "nothing"):
        said = study.attack(attack)
        columns.append(Origin(attack, said.title, said.about, _under(study, attack)))
    groups = []
    for eps in ordered(study):
        rows = [
            MatrixRow(
                Column(model, study.place(model)),
                [replace(column.cell(model, eps), own=column.name == model) for column in columns],
            )
            for model in study.models
        ]
        if any(cell.value is not None for row in rows for cell in row.cells):
            groups.append(MatrixGroup(eps, rows))
    return Matrix(columns, groups)


def _made_on(study: Study, other: str) -> Callable[[str, str], Cell]:
    def cell(model: str, eps: str) -> Cell:
        if model != other:
            return share_cell(study.model(model), "transfer", other, eps)
        worst = white_box(study, model, eps)
        if worst is None:
            return Cell()
        return share_cell(study.model(model), "robust_accuracy", worst[0], eps, note=study.attack(worst[0]).title)

    return cell


def _under(study: Study, attack: str) -> Callable[[str, str], Cell]:
    return lambda model, eps: share_cell(study.model(model), "robust_accuracy", attack, eps)


def _attacks(study: Study) -> list[Group]:
    """Every attack's figure at every epsilon, a column for each model."""
    known = {attack: study.attack(attack) for attack in study.attacks}
    groups = {}
    for eps in ordered(study):
        groups[f"eps {eps}"] = [
            Row(said.title, said.about, "higher", _shares(study, "robust_accuracy", attack, eps))
            for attack, said in known.items()
        ]
    return filled(groups)


def _blind(study: Study, sees: Sees) -> list[str]:
    """The attacks that see this much of a model."""
    return [attack for attack in study.attacks if study.attack(attack).sees == sees]


def _dashed(study: Study) -> str:
    """What the dashed curves see, for the end of a sentence: `scores only (square) or another model (transfer)`."""
    kinds: tuple[tuple[str, Sees], ...] = (("scores only", "scores"), ("nothing", "nothing"))
    seen = [(words, [study.attack(attack).title for attack in _blind(study, sees)]) for words, sees in kinds]
    named = ", ".join(f"{words} ({', '.join(titles)})" for words, titles in seen if titles)
    return " or ".join(filter(None, [named, "another model (transfer)"]))


def _films(study: Study) -> list[Film]:
    images = study.images
    if not images:
        return []
    order: Sequence[int] = [study.eps.index(eps) for eps in ordered(study)]
    return [
        Film(
            m + 1,
            data_uri(source),
            [(model, [data_uri(images[f"{model}/x_adv"][m, e]) for e in order]) for model in study.models],
        )
        for m, source in enumerate(images["source"][:FILMS])
    ]
