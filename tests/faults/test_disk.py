"""Full and read-only disks end a run with a message, and the same command continues it when there is space."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from stores import differences

from hbcoop_dist.core.yaml_source import dump_yaml

HBCOOP = str(Path(sys.executable).with_name("hbcoop"))
Mount = Callable[[str], None]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[tuple[Path, Mount]]:
    """A small disk, and a function that remounts it with other options; requires root."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options: str) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True, capture_output=True)

    try:
        mount("size=50m")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no disk of a few kilobytes: mounting one takes root")
    try:
        yield folder, lambda options: mount(f"remount,{options}")
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture
def run(tmp_path: Path) -> Callable[[Path], subprocess.CompletedProcess[str]]:
    spec = tmp_path / "spec.yaml"
    spec.write_text(dump_yaml({"campaign": "disk", "models": ["toy", "toy-additive"], "lengths": "2..5"}))

    def start(store: Path) -> subprocess.CompletedProcess[str]:
        command = [HBCOOP, "run", str(spec), str(store), "--serial"]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    return start


def test_a_full_disk_costs_nothing_that_was_computed(
    disk: tuple[Path, Mount], run: Callable[[Path], subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    folder, mount = disk
    store, found, sizes = folder / "a.zarr", None, []
    # the store's empty arrays, the journal, and the chunks of the first flush each meet the end of the disk
    for size in ("100k", "500k", "800k"):
        mount(f"size={size}")
        found = run(store)
        assert (found.returncode == 0) or "No space left on device" in found.stderr
        if found.returncode:
            assert found.returncode == 1
            assert str(store) in found.stderr.splitlines()[-1]
            assert "the same command continues from here" in found.stderr
            sizes.append(size)
    assert len(sizes) >= 2, "the disk was never full"
    mount("size=50m")
    assert run(store).returncode == 0
    assert run(tmp_path / "calm.zarr").returncode == 0
    assert differences(store, tmp_path / "calm.zarr") == []


def test_a_store_that_cannot_be_written_is_refused_and_not_touched(
    disk: tuple[Path, Mount], run: Callable[[Path], subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    folder, mount = disk
    store = folder / "a.zarr"
    assert run(store).returncode == 0
    mount("ro")
    found = run(store)
    assert found.returncode == 2
    assert f"{store}.lock: expected a folder in which files can be locked" in found.stderr
    assert "Read-only file system" in found.stderr
    status = subprocess.run([HBCOOP, "status", str(store)], capture_output=True, text=True, check=False)
    assert status.returncode == 0, "reading must not require write permission"
    mount("rw")
    assert run(store).returncode == 0
