"""
Missing cells, and some columns given others
============================================

A fifth of the cells of a table of wines is taken away. ``VAEDensity`` is fitted to what
is left, as it is. It then fills in the gaps, and says how sure it is; it has the
distribution of any column given the others; and it knows which columns tell of one
another.

Run it with ``python examples/plot_missing.py [FIGURE]``.
"""

# %%
# A table with gaps
# -----------------

import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_wine

from skvae import DependenceDisplay, VAEDensity

columns = ["alcohol", "color_intensity", "hue", "flavanoids", "total_phenols"]
wines = load_wine()
complete = wines.data[:, [wines.feature_names.index(name) for name in columns]]
missing = np.random.default_rng(0).random(complete.shape) < 0.2
gaps = np.where(missing, np.nan, complete)

density = VAEDensity(max_iter=100, random_state=0).fit(gaps)

# %%
# Intervals for cells that were taken away
# ----------------------------------------
#
# Each is of its own row: it is narrow where the other columns say much of the cell.

column = columns.index("flavanoids")
lost = missing[:, column]
given = density.conditional(gaps[lost], column)
low, high = given.interval(0.9).T
truth = complete[lost, column]
held = np.mean((low <= truth) & (truth <= high))
print(f"{held:.0%} of {len(truth)} cells are within their 90 % intervals")

# %%
# The distribution of a column given others
# -----------------------------------------
#
# What is not given is missing, too: here all columns but one.

values = [0.7, 2.0, 3.2]
some = np.full((3, len(columns)), np.nan)
some[:, column] = values
hue = density.conditional(some, columns.index("hue"))
grid = np.linspace(0.3, 1.8, 200)
densities = hue.pdf(np.tile(grid, (3, 1)))
for value, mean in zip(values, hue.mean(), strict=True):
    print(f"flavanoids {value:g}: a hue of {mean:.2f} is expected")

# %%
# Which columns tell of one another?
# ----------------------------------
#
# The mutual information of two columns is zero where they are independent, whatever
# their units and the shape of their dependence.

information = density.dependence(100, random_state=0)

# %%
# All three in pictures
# ---------------------

figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
order = np.argsort(given.mean())
place = np.arange(len(order))
axes[0].vlines(place, low[order], high[order], color="#9ecae1", lw=3)
axes[0].plot(place, given.mean()[order], "_", color="#08519c", ms=7)
axes[0].plot(place, truth[order], ".", color="#d95f02")
axes[0].set(xlabel="wine", ylabel="flavanoids", title="Missing cells: 90 % intervals")
axes[0].legend(["90 % interval", "mean", "truth"], loc="upper left", frameon=False)
for value, curve, shade in zip(
    values, densities, ["#d95f02", "#7570b3", "#1b9e77"], strict=True
):
    axes[1].plot(grid, curve, color=shade, label=f"flavanoids = {value:g}")
axes[1].set(xlabel="hue", ylabel="density", title="p(hue | flavanoids)")
axes[1].legend(frameon=False)
DependenceDisplay.from_predictions(information, columns, ax=axes[2])

default_path = Path(tempfile.gettempdir()) / "skvae-missing.png"
path = Path(sys.argv[1]) if len(sys.argv) > 1 else default_path
figure.savefig(path, dpi=150)
print(f"Figure: {path}")

# %%
# A completed table
# -----------------

print(density.impute(gaps)[:5].round(2))
