"""Densities of dask collections: fitted by all workers, read partition by partition.

Needs the packages dask and distributed: ``pip install 'skvae[dask]'``.
"""

from skvae.dask.density import DaskVAEDensity
from skvae.dask.partitions import map_rows

__all__ = ["DaskVAEDensity", "map_rows"]
