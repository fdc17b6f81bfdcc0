"""The model card: what a pushed model is and what it withstands, from `results.json` and `audit/results.json`.

The head is the hub's metadata (`library_name`, `tags`, `license`, `model-index`). `.eval_results/doubleback.yaml` holds
the same figures in the hub's newer format (https://huggingface.co/docs/hub/eval-results), where the images are a data
set of the hub.
"""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from huggingface_hub.utils import yaml_dump  # type: ignore[attr-defined]  # its way to write cards

from doubleback.registry import MODELS
from doubleback.report.archives import interval, mapping, number
from doubleback.report.cells import in_markdown, written
from doubleback.report.doubts import doubts
from doubleback.report.protocol import (
    HARDENED,
    flags_of,
    images_words,
    made_words,
    search_words,
    threat_label,
    threat_words,
)
from doubleback.report.runs import WORST_CASE, AuditFolder, RunFolder, heading
from doubleback.sharing.origins import Origin, attacked_from, learned_from
from doubleback.sharing.private import without_paths
from doubleback.terminal import plain

Figure = tuple[str, str, float, tuple[float, float] | None]  # the metric's type, its name, its value, its interval


@dataclass(frozen=True)
class Card:
    """All that a card is written from.

    Attributes:
        name: owner/name on the hub.
        run: the run and its audit, as the report reads them; `run.config` may be empty for a model that is not a run.
        architecture: the class of the model.
        license: of the weights, as the hub names it.
    """

    name: str
    run: RunFolder
    architecture: str
    license: str = "unknown"

    @property
    def text(self) -> str:
        """README.md, the metadata at its top."""
        parts = [self._opening(), self._withstands(), self._limits(), self._use(), self._repeat(), self._data()]
        return f"---\n{_as_yaml(self.metadata)}---\n\n" + "\n\n".join(part for part in parts if part) + "\n"

    @property
    def metadata(self) -> dict[str, Any]:
        """The head of the card, as the hub reads it."""
        made = made_words(self.run)[0]
        kind = "autoencoder" if self.run.reconstructs else "image-classification"
        tags = ["doubleback", kind, "adversarial-robustness", made]
        found: dict[str, Any] = {
            "library_name": "doubleback",
            "license": self.license,
            "tags": list(dict.fromkeys(tags)),
        }
        if (where := self._images.repository) is not None:
            found["datasets"] = [where]
        if index := [*self._index()]:
            found["model-index"] = [{"name": self.name.partition("/")[2], "results": index}]
        return found

    def _index(self) -> Iterator[dict[str, Any]]:
        """What was measured on which images. The head has no place for flags, so it has no flagged figure."""
        task = {"type": "image-to-image" if self.run.reconstructs else "image-classification"}
        if self._audit is not None and not flags_of(self._audit):
            where = attacked_from(self.run)
            data = {"name": images_words(self.run), "type": where.repository or where.name}
            named = task | {"name": f"robustness: {threat_label(self._audit)}"}
            yield {"task": named, "dataset": data, "metrics": [_metric(*one) for one in self._attacked]}
        if metrics := [_metric(*one) for one in self._untouched]:
            data = {"name": f"{self._images.name}, test images", "type": self._images.repository or self._images.name}
            yield {"task": task, "dataset": data, "metrics": metrics}

    @property
    def eval_results(self) -> str | None:
        """`.eval_results/doubleback.yaml`; None without an audit, of a flagged one, or of images that no hub holds."""
        where = attacked_from(self.run).repository
        if where is None or self._audit is None or flags_of(self._audit):
            return None
        note = f"{threat_words(self._audit)} {search_words(self._audit)}."
        return _as_yaml(
            [
                {"dataset": {"id": where, "task_id": kind}, "value": round(value, 6), "notes": f"{name}. {note}"}
                for kind, name, value, _ in self._attacked
            ]
        )

    @property
    def figures(self) -> list[Figure]:
        """All that the card names: the worst case, damage, reconstruction, accuracy, as far as there."""
        return [*self._attacked, *self._untouched]

    @property
    def _attacked(self) -> list[Figure]:
        """Of the audit."""
        audit: AuditFolder | None = self._audit
        found: list[Figure] = []
        if audit is not None:
            if (value := audit.withstands) is not None:
                ends = interval(audit.results, ("attacks", WORST_CASE, "auddc", "envelope", "ci95"))
                found.append(("worst_case_auddc", "worst-case AUDDC", value, ends if audit.targeted else None))
            for norm, eps, value, ends in damages(audit):
                named = "damage, area over the distortion" if norm == "area" else f"damage at {norm} {eps}"
                kind = (
                    "damage_area" if norm == "area" else f"damage_{norm}_{eps}".replace(" ", "_").replace("/", "_of_")
                )
                found.append((kind, named, value, ends))
            if (l2 := number(audit.results, "reconstruction_l2")) is not None:
                found.append(("reconstruction_l2", "reconstruction error, L2, attacked images", l2, None))
        return found

    @property
    def _untouched(self) -> list[Figure]:
        """Of the run, on the test images of what it learned from."""
        found: list[Figure] = []
        if (l2 := number(self.run.results, "test.reconstruction_l2")) is not None:
            found.append(("reconstruction_l2", "reconstruction error, L2, test images", l2, None))
        if (accuracy := number(self.run.results, "test.accuracy")) is not None:
            found.append(("accuracy", "accuracy, test images", accuracy, None))
        return found

    # -- the parts of the text -----------------------------------------------------------------------------------

    @property
    def _audit(self) -> AuditFolder | None:
        return self.run.audit

    @property
    def _images(self) -> Origin:
        return learned_from(self.run)

    def _opening(self) -> str:
        made, how = made_words(self.run)
        said = [f"# {self.name.partition('/')[2]}"]
        if self._audit is not None and (flags := flags_of(self._audit)):
            rows = "\n".join(f"> - {in_markdown(says)}" for says in flags)
            said.append(f"> **The figures below are not to be trusted.** A check has flagged this audit:\n>\n{rows}")
        kind = "an autoencoder" if self.run.reconstructs else "a classifier"
        shape = self.run.config.get("image_shape")
        size = f" of {' x '.join(map(str, shape))} (channels, height, width)" if isinstance(shape, list) else ""
        opening = f"This is {kind} of the class {self.architecture}. "
        opening += f"It learned from {in_markdown(self._images.name)} images{size}. "
        said.append(opening + _training(self.run, made, in_markdown(how)))
        return "\n\n".join(said)

    def _withstands(self) -> str:
        if self._audit is None:
            rows = _rows(self.figures)
            nothing = "No audit lies beside this run, so nobody has measured how well it withstands attacks."
            return "## What it withstands\n\n" + "\n\n".join(filter(None, (nothing, rows)))
        audit = self._audit
        attacked = f"{images_words(self.run)}; {search_words(audit)}."
        lines = [f"- Threat: {in_markdown(threat_words(audit))}", f"- Attacked: {in_markdown(attacked)}"]
        told = [(heading(name), audit.about(name)) for name in audit.attacks]
        lines += [f"- {in_markdown(name)} attack: {in_markdown(about)}." for name, about in told if about]
        lines.append("- Flags: " + (in_markdown("; ".join(flags_of(audit))) or "none; every check passed") + ".")
        reading = (
            "The worst case (AUDDC, 0 to 1) says how far the reconstruction stays from the attacker's target, "
            "the worst of all attacks for each pair: higher is better. Damage says how far an attack moves the "
            "reconstruction: lower is better. In brackets: 95 % interval over pairs."
        )
        return "\n\n".join(["## What it withstands", "\n".join(lines), _rows(self.figures), reading])

    def _limits(self) -> str:
        said = [note.partition(": ")[2] for note in doubts(self.run)]
        said = [note[:1].upper() + note[1:] for note in said if not note.startswith("a check fired")]
        said += [
            "These figures hold for this threat and these images. Another attack may find more.",
            "An autoencoder that reconstructs badly can look robust: read the worst case beside the reconstruction.",
        ]
        if self._audit is None:
            said = said[1:]
        return "## Limits\n\n" + "\n".join(f"- {one}" for one in said)

    def _use(self) -> str:
        kind = self.architecture
        lines = [
            "```python",
            "import doubleback",
            "",
            f'model = doubleback.{kind}.from_pretrained("{self.name}")',
            "```",
        ]
        shell = ["```sh", f"doubleback audit hub:{self.name} --data {self._images.asked} --output audits", "```"]
        if kind not in _PUBLIC:
            return "\n".join(["## Use it", "", *shell])
        return "\n".join(["## Use it", "", *lines, *(["", *shell] if self.run.reconstructs else [])])

    def _repeat(self) -> str:
        configs = [self.run.config, self._audit.config if self._audit else {}]
        lines = [_command(config.get("command")) for config in configs]
        lines = list(dict.fromkeys(line for line in lines if line))
        versions = sorted({str(config["version"]) for config in configs if config.get("version")})
        if not lines:
            return ""
        made = f"\n\nMade with doubleback {' and '.join(versions)}." if versions else ""
        note = "These commands made the model and measured it. The commands name folders without their path."
        fence = max([*re.findall("`+", "".join(lines)), "``"], key=len) + "`"
        return "\n".join(["## Repeat it", "", note, "", f"{fence}sh", *lines, fence]) + made

    def _data(self) -> str:
        images, weights = self._images, self.license
        said = f"Licence of the weights: {weights}."
        if weights == "unknown":
            said = "Licence of the weights: unknown; ask the owner before you use them."
        return "\n".join(["## Data and licences", "", f"- {in_markdown(images.sentence)}", f"- {said}"])


_PUBLIC = {architecture.home.rpartition(":")[2] for architecture in MODELS.values()}


def damages(audit: AuditFolder) -> list[tuple[str, str, float, tuple[float, float] | None]]:
    """Norm, eps, mean damage and its interval of every budget; ("area", "", ...) of the area over the distortion."""
    damage = mapping(audit.results, "damage")
    places = [("area",), *((norm, eps) for norm in damage if norm not in ("area", "relative")
                           for eps in mapping(damage, (norm,)))]  # fmt: skip
    found = []
    for place in places:
        value = number(audit.results, ("damage", *place, "mean"))
        if value is not None:
            ends = interval(audit.results, ("damage", *place, "ci95"))
            found.append((place[0], "".join(place[1:]), value, ends))
    return found


def _training(run: RunFolder, made: str, how: str) -> str:
    """How it was made, in a sentence or two."""
    harden = mapping(run.results, "harden")
    if made == HARDENED and harden:
        start, end = (number(harden, f"{key}.reconstruction_l2") for key in ("start", "end"))
        said = f"It was hardened by `doubleback harden` ({how})"
        if start and end:
            said += f": on validation images its reconstruction error changed by {end / start - 1:+.1%}"
        return said + "."
    if made == HARDENED:
        return f"It was trained to withstand attacks, with double backpropagation ({how})."
    return "It was trained without a defence."


def _rows(figures: Sequence[Figure]) -> str:
    if not figures:
        return ""
    rows = [f"| {name} | {written(value)}{_ends(ends)} |" for _, name, value, ends in figures]
    return "\n".join(["| figure | value |", "|---|---:|", *rows])


def _ends(ends: tuple[float, float] | None) -> str:
    return f" [{written(ends[0])}, {written(ends[1])}]" if ends else ""


def _metric(kind: str, name: str, value: float, ends: tuple[float, float] | None) -> dict[str, Any]:
    extra: Mapping[str, Any] = {"args": {"ci95": [round(end, 6) for end in ends]}} if ends else {}
    return {"type": kind, "name": name, "value": round(value, 6), **extra}


def _as_yaml(value: Any) -> str:
    text: str = yaml_dump(value, sort_keys=False)
    return text


def _command(said: object) -> str:
    return shlex.join(plain(str(without_paths(word))) for word in said) if isinstance(said, list) else ""
