"""Every test has a cache of its own, and no hub."""

from pathlib import Path

import datasets
import huggingface_hub
import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DOUBLEBACK_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("DOUBLEBACK_DATA", raising=False)
    # The hub's client reads HF_HUB_OFFLINE when it is imported, which another test may have done.
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    return tmp_path / "cache"
