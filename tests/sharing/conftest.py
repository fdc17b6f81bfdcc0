"""The runs of the experiments, audited; and a hub that is a folder."""

from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from doubleback.experiments.auditing import audit
from tests.experiments.conftest import hardened, mixture, mlp, plain, quick

__all__ = ["hardened", "mixture", "mlp", "plain"]


@dataclass
class Hub:
    """What a push asks of the hub, and the repositories that it then holds."""

    home: Path
    private: dict[str, bool] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    fault: Exception | None = None

    def create_repo(self, name: str, **settings: Any) -> None:
        self.asked.append((name, settings))
        if self.fault is not None:
            raise self.fault
        self.private.setdefault(name, settings["private"])

    def model_info(self, name: str) -> Any:
        return type("Info", (), {"private": self.private[name]})

    def upload_folder(self, *, repo_id: str, folder_path: str, commit_message: str, delete_patterns: Any) -> str:
        import shutil

        assert commit_message
        there = self.home / repo_id
        for path in list(there.rglob("*")):
            if path.is_file() and any(fnmatch(str(path.relative_to(there)), one) for one in delete_patterns):
                path.unlink()
        shutil.copytree(folder_path, self.home / repo_id, dirs_exist_ok=True)
        return f"https://huggingface.co/{repo_id}"

    def snapshot(self, name: str, **settings: Any) -> str:
        if name not in self.private:
            raise OSError(f"404: {name} is not there")
        return str(self.home / name)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """A hub that needs no network."""
    found = Hub(tmp_path / "hub")
    monkeypatch.setattr("huggingface_hub.HfApi", lambda **_: found)
    monkeypatch.setattr("doubleback.models.pulling.snapshot_download", found.snapshot)
    return found


@pytest.fixture(scope="session")
def audited(plain: Path, hardened: Path) -> Path:
    """A run with an audit in its folder; the hardened one has one, too."""
    audit(quick(plain, hardened, steps=30), ("doubleback", "audit", str(plain), "--pairs", "4"))
    return plain
