"""Hub ids: what is asked of huggingface_hub, and what its errors become."""

from __future__ import annotations

import shutil
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from segship.common.errors import InputError
from segship.models.checkpoints import load_checkpoint


class Hub:
    """Stands where the network is: `snapshot_download` from a folder, with the same filter."""

    def __init__(self, content: Path, cache: Path) -> None:
        self.content, self.cache = content, cache
        self.asked: list[str] = []

    def snapshot_download(self, repo_id: str, *, allow_patterns: list[str]) -> str:
        self.asked.append(repo_id)
        self.cache.mkdir(exist_ok=True)
        for path in self.content.iterdir():
            if any(fnmatch(path.name, pattern) for pattern in allow_patterns):
                shutil.copy(path, self.cache / path.name)
        return str(self.cache)


def _hub(monkeypatch: pytest.MonkeyPatch, content: Path) -> Hub:
    hub = Hub(content, content.parent / "cache")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub.snapshot_download)
    monkeypatch.chdir(content.parent)
    return hub


def test_a_hub_id_is_downloaded_without_what_is_not_needed(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("pytorch_model.bin", "tf_model.h5", "notes.md", "model.fp16.safetensors"):
        (tiny / name).write_bytes(b"x")
    hub = _hub(monkeypatch, tiny)
    checkpoint = load_checkpoint("someone/segformer")
    assert sorted(path.name for path in hub.cache.iterdir()) == ["config.json", "model.safetensors"]
    assert checkpoint.spec.provenance.source == "someone/segformer"
    assert "unknown" in checkpoint.spec.provenance.licence_note
    assert checkpoint.path == hub.cache and hub.asked == ["someone/segformer"]


def test_bin_files_are_fetched_only_where_nothing_safer_is(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from safetensors.torch import load_file

    torch.save(load_file(tiny / "model.safetensors"), tiny / "pytorch_model.bin")
    (tiny / "model.safetensors").unlink()
    hub = _hub(monkeypatch, tiny)
    assert load_checkpoint("someone/old").spec.depths == (1, 2, 1, 1)
    assert len(hub.asked) == 2


def test_weights_of_nvidia_are_not_for_commercial_use(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _hub(monkeypatch, tiny)
    note = load_checkpoint("nvidia/segformer-b0").spec.provenance.licence_note
    assert "no commercial use" in note


def test_an_unknown_or_unreachable_id_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub.errors import LocalEntryNotFoundError

    def fail(*_: Any, **__: Any) -> str:
        raise LocalEntryNotFoundError("Got: ConnectError\nlong advice\non more lines")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        load_checkpoint("nobody/nothing")
    message = str(caught.value)
    assert "no path nobody/nothing exists" in message and "Got: ConnectError" in message
    assert "\n" not in message and caught.value.exit_code == 2
    assert not list(tmp_path.iterdir())


def test_a_local_folder_wins_over_a_hub_id(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = _hub(monkeypatch, tiny)
    (tiny.parent / "someone").mkdir()
    tiny.rename(tiny.parent / "someone" / "segformer")
    assert load_checkpoint("someone/segformer").path == Path("someone/segformer")
    assert hub.asked == []


def test_the_real_hub_client_fails_in_one_line_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="the hub did not give it") as caught:
        load_checkpoint("nobody/nothing-of-this-name")
    assert "\n" not in str(caught.value)
