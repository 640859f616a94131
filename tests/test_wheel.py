"""The wheel: our package with its bundled files, and nothing else at the top of site-packages."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]


def test_wheel_contents_and_bundled_campaigns(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path), str(CHECKOUT)],
        check=True,
        capture_output=True,
        timeout=300,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"hbcoop_dist", wheel.name.removesuffix("-py3-none-any.whl") + ".dist-info"}
    assert {"quickstart.yaml", "nma.yaml"} <= {
        Path(n).name for n in names if n.startswith("hbcoop_dist/_data/campaigns/")
    }
    assert {"README.md", "my_model.py", "pyproject.toml", "test_my_model.py"} == {
        Path(n).name for n in names if n.startswith("hbcoop_dist/_data/templates/model/")
    }
    assert not [name for name in names if "/tests/" in name or name.endswith((".model", ".pt", ".zarr"))]
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    code = "import hbcoop_dist as hb; print(hb.__file__); print(len(hb.load_campaign('nma').lengths))"
    found = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert str(site) in found.stdout
    assert found.stdout.strip().endswith("11")
    shutil.rmtree(site)
