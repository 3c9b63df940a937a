"""How much of p(x) each companion gets: by rows that it was not fitted to."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from skvae.model.companions import Companion, CompanionFit, CompanionPool

__all__ = ["Pool", "beside_pool", "fit_pool", "mixture_weights"]

N_ITERATIONS = 300
# Rows that members are taken to have explained besides their own: each companion, the
# first of them as a share of all rows, the latent part, and all companions as they
# share the rows without it.
COMPANION_ROWS = 0.1
FIRST_SHARE = 0.005
LATENT_ROWS, POOL_ROWS = 0.3, 3.0
# A series ends where the score of held-out rows is so much below its best one.
BEHIND = 0.5  # nats
# Of a companion that is kept: its share of all companions, and of p(x).
LEAST_WEIGHT, LEAST_SHARE = 1e-3, 1e-3


@dataclass(frozen=True)
class Pool:
    """Companions, each fitted to all rows, and what they say of rows held out.

    Attributes
    ----------
    names : list of M str
        What they are.
    companions : list of M Companion
        Fitted to all rows. The first is broad.
    log_p : Tensor of shape (N, M)
        Log-density of each row under the companions that were fitted without it.
    weight : Tensor of shape (M,)
        How they share p(x) among themselves.
    row_weight : Tensor of shape (N,)
        Weights of the rows.
    """

    names: list[str]
    companions: list[Companion]
    log_p: Tensor
    weight: Tensor
    row_weight: Tensor

    def held_out_log_p(self) -> Tensor:
        """Return the log-density of each row under the mixture, shape (N,)."""
        return (self.log_p + self.weight.log()).logsumexp(1)

    def beside(
        self, latent: Tensor, rows: Tensor, row_weight: Tensor
    ) -> tuple[float, CompanionPool, dict[str, float]]:
        """Return the companions' share of p(x), their mixture, and the share of each.

        Parameters
        ----------
        latent : Tensor of shape (n,)
            Log-density of some rows under the latent part; there may be none.
        rows : Tensor of int of shape (n,)
            Their numbers.
        row_weight : Tensor of shape (n,)
            Their weights.
        """
        latent = latent.nan_to_num(nan=-torch.inf)  # of a training that failed
        log_p = torch.cat([latent[:, None], self.log_p[rows]], 1)
        prior = torch.cat([log_p.new_tensor([LATENT_ROWS]), POOL_ROWS * self.weight])
        weight = mixture_weights(log_p, row_weight, prior)[1:]
        share = float(weight.sum())
        is_kept = weight >= max(LEAST_WEIGHT * share, LEAST_SHARE)
        is_kept[0] = True
        kept = is_kept.nonzero().squeeze(1)
        weight = share * weight[kept] / weight[kept].sum()
        chosen = [self.companions[j] for j in kept.tolist()]
        names = [self.names[j] for j in kept.tolist()]
        mixture = CompanionPool.of(chosen, weight / share)
        return share, mixture, dict(zip(names, weight.tolist(), strict=True))


def fit_pool(
    series: Sequence[Sequence[CompanionFit]],
    x: Tensor,
    weight: Tensor,
    held_out: Tensor,
) -> Pool:
    """Fit companions to all rows, and to all but those of each fold.

    Parameters
    ----------
    series : sequence of sequence of CompanionFit
        What to fit, each series in the order of its flexibility. The rest of a series
        is left out once held-out rows are worse off by half a nat.
    x : Tensor of shape (N, D)
        Rows, in model units, float64.
    weight : Tensor of shape (N,)
        Positive weights.
    held_out : Tensor of bool of shape (F, N)
        The rows of each fold. No row is in two folds, and each fold leaves some rows.
    """
    judged = held_out.any(0)
    weights = torch.cat([~held_out, torch.ones_like(held_out[:1])]) * weight
    names, companions, columns = [], [], []
    for fits in series:
        best = -torch.inf
        for fit in fits:
            *without, of_all = fit.fit(x, weights)
            log_p = x.new_full((len(x),), torch.nan)
            for fold, companion in zip(held_out, without, strict=True):
                log_p[fold] = companion.log_prob(x[fold])
            names.append(fit.name)
            companions.append(of_all)
            columns.append(log_p)
            score = float(weight[judged] @ log_p[judged] / weight[judged].sum())
            if score < best - BEHIND:
                break
            best = max(best, score)
    every = torch.stack(columns, 1)
    prior = every.new_full((len(names),), COMPANION_ROWS)
    prior[0] = max(COMPANION_ROWS, FIRST_SHARE * float(weight[judged].sum()))
    shares = mixture_weights(every[judged], weight[judged], prior)
    return Pool(names, companions, every, shares, weight)


def beside_pool(latent: Tensor, log_p: Tensor, weight: Tensor) -> Tensor:
    """Return log-densities of the mixture of the latent part and the companions.

    Parameters
    ----------
    latent, log_p : Tensor of shape (n,)
        Log-density of each row under the latent part, and under the companions; the
        latter is nan where it is not known, and then the former is returned.
    weight : Tensor of shape (n,)
        Weights of the rows.
    """
    known = log_p.isfinite() & latent.isfinite()
    both = torch.stack([latent, log_p], 1)[known]
    prior = both.new_tensor([LATENT_ROWS, POOL_ROWS])
    shares = mixture_weights(both, weight[known], prior)
    mixed = latent.clone()
    mixed[known] = (both + shares.log()).logsumexp(1)
    return mixed


def mixture_weights(log_p: Tensor, weight: Tensor, prior: Tensor) -> Tensor:
    """Return the weights of a mixture by expectation–maximisation.

    Parameters
    ----------
    log_p : Tensor of shape (N, M)
        Log-density of each row under each member.
    weight : Tensor of shape (N,)
        Positive weights of the rows.
    prior : Tensor of shape (M,)
        Rows that each member is taken to have explained besides.

    Returns
    -------
    weights : Tensor of shape (M,)
        They sum to one.
    """
    share = prior / prior.sum()
    total = weight.sum() + prior.sum()
    for _ in range(N_ITERATIONS):
        responsibility = (log_p + share.log()).softmax(1)
        share = (weight @ responsibility + prior) / total
    return share
