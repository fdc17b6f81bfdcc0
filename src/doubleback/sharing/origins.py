"""Where the images of a run are from, and under which licence, as far as that is known."""

import re
from dataclasses import dataclass

from doubleback.report.archives import lookup
from doubleback.report.runs import RunFolder


@dataclass(frozen=True)
class Origin:
    """A data set.

    Attributes:
        name: what to call it.
        repository: its id on the hub, where it is there.
        license: in words; None: unknown.
        asked: how `--data` names it.
    """

    name: str
    repository: str | None = None
    license: str | None = None
    asked: str = "DATA"

    @property
    def sentence(self) -> str:
        """Name and licence in one sentence."""
        where = f" ({self.repository} on the hub)" if self.repository else ""
        if self.license is None:
            return f"Images: {self.name}{where}. Licence: unknown; ask whoever owns them before you use them."
        return f"Images: {self.name}{where}. Licence, as its page on the hub or its authors say: {self.license}."


_KNOWN = {
    "digits": Origin("digits", None, "CC BY 4.0 (UCI, optical recognition of handwritten digits)", "digits"),
    "mnist": Origin("mnist", "ylecun/mnist", "MIT", "mnist"),
    "svhn": Origin("svhn", "ufldl-stanford/svhn", "for non-commercial use only", "svhn"),
    "celeba": Origin("celeba", "flwrlabs/celeba", "for non-commercial research only", "celeba"),
}


def learned_from(run: RunFolder) -> Origin:
    """The images that a run was trained on; or else those that its audit attacked. A folder is named without its path.

    >>> from pathlib import Path
    >>> learned_from(RunFolder("plain", Path("plain"), {"train": {"data": "/home/me/photos"}})).sentence
    'Images: photos. Licence: unknown; ask whoever owns them before you use them.'
    """
    return _origin(*_trained_on(run), _audited_on(run))


def attacked_from(run: RunFolder) -> Origin:
    """The images that its audit attacked: other ones, or else those that it was trained on."""
    return _origin(_audited_on(run), *_trained_on(run))


def _trained_on(run: RunFolder) -> tuple[object, object]:
    return lookup(run.config, "train.data"), lookup(run.config, "harden.data")


def _audited_on(run: RunFolder) -> object:
    return lookup(run.audit.config if run.audit else {}, "audit.data")


def _origin(*said: object) -> Origin:
    """The first that is named."""
    named = next((one for one in said if isinstance(one, str) and one), None)
    if named is None:
        return Origin("unknown")
    if named in _KNOWN:
        return _KNOWN[named]
    for one in _KNOWN.values():
        if named == one.repository:
            return one
    if re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", named):
        return Origin(named, named, None, named)
    return Origin(re.split(r"[\\/]", named.rstrip("\\/"))[-1] or "unknown")
