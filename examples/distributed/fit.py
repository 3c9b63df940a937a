"""Fit a density by several processes, each of which has some of the rows.

Examples::

    torchrun --nproc-per-node 2 examples/distributed/fit.py density.skvae FOLDER
    torchrun --nnodes 4 --nproc-per-node 8 --rdzv-backend c10d \
        --rdzv-endpoint HOST:29400 examples/distributed/fit.py density.skvae FOLDER

FOLDER has Parquet files. Process r of n reads every n-th file, from the r-th on. The
first process writes the density. Ray Train, Slurm's ``srun`` and others that set the
variables of torch.distributed (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT) run it as
well.
"""

import argparse
from pathlib import Path

import torch
import torch.distributed

import skvae
from skvae.distributed import fit_together


def main() -> None:
    """Read this process's files, fit, and save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, help="where the density is saved")
    parser.add_argument("folder", type=Path, help="folder of Parquet files")
    parser.add_argument("--max-iter", type=int)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.distributed.init_process_group("gloo")
    rank = torch.distributed.get_rank()
    n_processes = torch.distributed.get_world_size()
    files = sorted(arguments.folder.glob("*.parquet"))
    if len(files) < n_processes:
        parser.error(f"{len(files)} files are too few for {n_processes} processes")
    own = files[rank::n_processes]

    def batches():  # type: ignore[no-untyped-def]
        for file in own:
            yield from skvae.Batches(file)

    density = skvae.VAEDensity(
        max_iter=arguments.max_iter or "auto",
        batch_size=arguments.batch_size,
        random_state=arguments.seed,
        verbose=int(rank == 0),
    )
    fit_together(density, skvae.Batches(batches))
    if rank == 0:
        skvae.save(density, arguments.file)
        print(f"{type(density).__name__} of {n_processes} processes: {arguments.file}")
        seconds = ", ".join(f"{record['seconds']:.1f}" for record in density.history_)
        print(f"seconds of each epoch: {seconds}")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
