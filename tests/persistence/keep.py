"""Keep files of this version, which later versions have to open.

Run it once for each release::

    python tests/persistence/keep.py
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd

import skvae

FOLDER = Path(__file__).parent / "kept"


def main() -> None:
    """Write a density of a frame, and what it scores."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "length": rng.normal(size=60),
            "count": rng.poisson(3, size=60).astype(float),
            "colour": np.where(rng.random(60) < 0.4, "red", "blue"),
        }
    )
    density = skvae.VAEDensity(
        likelihood="auto",
        companion=None,
        hidden_layer_sizes=(8,),
        decoder="mlp",
        max_iter=5,
        random_state=0,
    ).fit(frame)
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"density-{skvae.__version__}.skvae"
    skvae.save(density, path)
    rows = frame[:10]
    answers = {
        "rows": rows.to_dict(orient="list"),
        "scores": density.score_samples(rows).tolist(),
    }
    text = json.dumps(answers, indent=1)
    path.with_suffix(".json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
