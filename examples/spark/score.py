"""Score a table on a Spark cluster by a saved estimator, partition by partition.

Examples::

    python examples/spark/score.py density.skvae FOLDER SCORES
    spark-submit examples/spark/score.py density.skvae s3a://bucket/rows scores

FOLDER has Parquet files with the columns of the fit; SCORES is a folder for Parquet
files of them and ``log_density``. The workers need skvae and pandas. ``--method`` is
that of the estimator, such as ``p_values`` of a detector.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from pyspark import SparkFiles
from pyspark.sql import SparkSession
from pyspark.sql.types import DoubleType, StructField, StructType

import skvae


def scorer(
    file: str, method: str, name: str
) -> Callable[[Iterable[pd.DataFrame]], Iterator[pd.DataFrame]]:
    """Return a function of data frames for ``DataFrame.mapInPandas``.

    Parameters
    ----------
    file : str
        Name of a file that ``SparkContext.addFile`` has brought to all workers.
    method : str
        Method of the estimator, which gives one number for each row.
    name : str
        Name of the column with these numbers.
    """

    def score(frames: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        estimator: Any = skvae.load(SparkFiles.get(file))  # once for many rows
        for frame in frames:
            if len(frame):
                yield frame.assign(**{name: getattr(estimator, method)(frame)})

    return score


def main() -> None:
    """Read, score, and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, help="a saved estimator")
    parser.add_argument("folder", help="where the rows are")
    parser.add_argument("scores", help="where the scores go")
    parser.add_argument("--method", default="score_samples")
    parser.add_argument("--name", default="log_density", help="of the new column")
    arguments = parser.parse_args()
    spark = SparkSession.builder.appName("skvae").getOrCreate()
    spark.sparkContext.addFile(str(arguments.file))
    rows = spark.read.parquet(arguments.folder)
    schema = StructType([*rows.schema, StructField(arguments.name, DoubleType())])
    score = scorer(arguments.file.name, arguments.method, arguments.name)
    rows.mapInPandas(score, schema).write.parquet(arguments.scores)
    spark.stop()


if __name__ == "__main__":
    main()
