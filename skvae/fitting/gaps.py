"""Features of training rows without gaps, for the start of a training."""

import torch
from torch import Tensor

from skvae.model.backgrounds.student_t import StudentTBackgroundModule

__all__ = ["without_gaps"]

DF = 5.0  # of the t distribution: nearly normal, but not bent by a few far rows
FLOOR = 1e-3
# The work grows with the rows and with the cube of the features.
MAX_ROWS, MAX_FEATURES = 4000, 128


def without_gaps(features: Tensor, sample_weight: Tensor, seed: int) -> Tensor:
    """Return features with draws in the place of missing ones.

    They are drawn from a multivariate t distribution, fitted to the observed features,
    given the observed features of the row: means would make the columns look less wide
    than they are. Of more than 128 features, they are the columns' means.

    Parameters
    ----------
    features : Tensor of shape (N, F)
        What networks read of rows; NaN where cells are missing.
    sample_weight : Tensor of shape (N,)
        Positive weights.
    seed : int
        Decides about the draws.
    """
    missing = features.isnan()
    if not missing.any():
        return features
    x, weight = features.double(), sample_weight.double()
    if x.shape[1] > MAX_FEATURES:
        share = weight[:, None] * ~missing
        mean = (share * x.where(~missing, 0.0)).sum(0) / share.sum(0).clamp(min=1e-300)
        return x.where(~missing, mean).to(features)
    floor = torch.full_like(x[0], FLOOR)
    module = StudentTBackgroundModule(0.5, DF, floor).double()
    generator = torch.Generator().manual_seed(seed)
    some = torch.randperm(len(x), generator=generator)[:MAX_ROWS]
    module.initialise(x[some], weight[some])
    seeds = torch.randint(2**62, (len(x),), generator=generator).tolist()
    generators = [torch.Generator().manual_seed(number) for number in seeds]
    return module.complete(x, generators).to(features)
