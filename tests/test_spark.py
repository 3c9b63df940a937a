"""The example for Spark gives the scores of one process."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skvae import VAEDensity, save
from tests.test_distributed import ROOT, SETTINGS, bent


@pytest.mark.slow
def test_the_example_gives_the_scores_of_one_process(tmp_path: Path) -> None:
    pytest.importorskip("pyspark", reason="pyspark is not installed")
    frame = pd.DataFrame(bent(300), columns=["a", "b"])
    density = VAEDensity(**{**SETTINGS, "max_iter": 3}, random_state=0).fit(frame)
    save(density, tmp_path / "density.skvae")
    (tmp_path / "rows").mkdir()
    for number in range(3):
        part = frame.iloc[100 * number : 100 * (number + 1)]
        part.to_parquet(tmp_path / "rows" / f"{number}.parquet")
    done = subprocess.run(
        [
            *(sys.executable, ROOT / "examples" / "spark" / "score.py"),
            *(tmp_path / name for name in ("density.skvae", "rows", "scores")),
        ],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "PYSPARK_PYTHON": sys.executable,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    scored = pd.read_parquet(tmp_path / "scores")
    columns = list(frame)
    expected = frame.assign(log_density=density.score_samples(frame))
    pd.testing.assert_frame_equal(
        scored[[*columns, "log_density"]].sort_values(columns, ignore_index=True),
        expected.sort_values(columns, ignore_index=True),
        check_exact=True,
    )
    assert np.isfinite(scored["log_density"]).all()
