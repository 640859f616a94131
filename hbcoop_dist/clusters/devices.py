"""What this machine has to work with: cores, CUDA devices that torch sees or that the driver lists, open files."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import subprocess


class DeviceError(ValueError):
    """A device that is not there, or is none; the message says what there is."""


def usable_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def raise_open_files() -> None:
    """Allow this process as many open files as it may have: a driver has a few connections to every worker.

    Usual is 1,024, which four hundred workers use up.
    """
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    # systems that say "unlimited" and do not mean it refuse
    with contextlib.suppress(ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def visible_gpus() -> list[str]:
    """What CUDA_VISIBLE_DEVICES may be set to for one GPU each; asks NVIDIA's tool, so that no torch is needed."""
    if (chosen := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [name for name in chosen.split(",") if name]
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    return found.stdout.split() if found.returncode == 0 else []


def check_device(device: str) -> None:
    """Raise `DeviceError` unless `device` is ``cpu``, or a CUDA device torch sees here."""
    if device == "cpu":
        return
    match = re.fullmatch(r"cuda(?::(\d+))?", device)
    if match is None:
        raise DeviceError(f"device: expected cpu, cuda or cuda:N, found {device!r}")
    count = 0
    if importlib.util.find_spec("torch") is not None:
        import torch

        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(match[1] or 0) >= count:
        raise DeviceError(f"device: expected one of the {count} CUDA devices torch sees here, found {device!r}")
