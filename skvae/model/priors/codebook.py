"""The prior over the codes of a codebook: a discrete latent variable."""

import math

import torch
from torch import Tensor, nn

from skvae.model.context import BuildContext, LinearStart
from skvae.model.distributions import CodeDistribution, LatentDistribution
from skvae.model.dtype import BUILD_DTYPE
from skvae.model.memory import check_weights
from skvae.model.priors._base import PriorModule, PriorSpec
from skvae.model.priors.mixture import k_means
from skvae.model.spec import positive_int

__all__ = ["MOST_CODES", "CodebookPrior"]

MOST_CODES = 2**16  # combinations, over which sums are exact
ROUNDS = 10  # of k-means
MOST_ROWS = 20_000  # that k-means reads
# Codes "auto": one for so many rows, and no more; fewer beside a decoder that reads
# columns, which every code runs for every row.
ROWS_PER_CODE, MANY_CODES, FEW_CODES = 20, 64, 8


class CodebookPrior(PriorSpec):
    r"""Discrete latents: every row has one of C codes in each of M slots.

    .. math:: p(x) = \sum_c \pi_c\, p(x \mid e_c)

    over all C^M combinations c, whose vectors e are learnt; those of M slots are the
    vectors of the slots, one after the other. While there are at most 2¹⁶ of them, the
    sum is computed: log-densities have no error, training maximises log p(x) itself,
    whatever the objective, and the posterior of the codes, p(c | x), is known, so that
    no encoder is trained. `VAEDensity.transform` gives the most probable codes.

    Codes start at the centres of k-means on the latents of the linear start.

    Parameters
    ----------
    n_codes : int or "auto", default="auto"
        Number of codes of a slot, C. "auto" is one per 20 distinct training rows, at
        most 64; at most 8 beside a decoder that reads columns. For several slots, it is
        at most the number that gives 4,096 combinations.
    n_slots : int, default=1
        Number of slots, M; it divides the number of latents.

    References
    ----------
    A. van den Oord, O. Vinyals and K. Kavukcuoglu, 2017. Neural discrete representation
    learning. (Codebooks; there, the density is a bound, and a row has one code.)

    P. F. Lazarsfeld and N. W. Henry, 1968. Latent structure analysis.

    Examples
    --------
    >>> import numpy as np
    >>> from skvae import CodebookPrior, VAEDensity
    >>> rng = np.random.default_rng(0)
    >>> X = rng.choice([-2.0, 2.0], (300, 2)) + 0.1 * rng.normal(size=(300, 2))
    >>> density = VAEDensity(
    ...     prior=CodebookPrior(4), decoder="mlp", max_iter=20, random_state=0
    ... ).fit(X)
    >>> density.transform(X).shape
    (300, 1)
    >>> density.evidence(X).standard_error.max()
    np.float64(0.0)
    """

    alias = "codebook"

    def __init__(self, n_codes: int | str = "auto", n_slots: int = 1) -> None:
        self.n_codes = n_codes
        self.n_slots = n_slots

    def build(self, context: BuildContext) -> "CodebookPriorModule":
        """Return the module."""
        n_slots = positive_int(self.n_slots, "n_slots of CodebookPrior")
        if context.n_components % n_slots:
            raise ValueError(
                f"n_slots of CodebookPrior must divide the number of latents, "
                f"n_components={context.n_components}; got {n_slots}."
            )
        if self.n_codes == "auto":
            most = FEW_CODES if context.autoregressive else MANY_CODES
            n_codes = min(max(context.n_rows // ROWS_PER_CODE, 1), most)
            n_codes = min(n_codes, max(2, math.floor(4096 ** (1 / n_slots))))
        else:
            n_codes = positive_int(
                self.n_codes, "n_codes of CodebookPrior", also=" or 'auto'"
            )
        if n_slots * math.log(n_codes) > math.log(MOST_CODES) + 1e-9:
            raise ValueError(
                f"CodebookPrior sums over all combinations of codes, at most "
                f"{MOST_CODES:,}; got n_codes={n_codes} to the power of "
                f"n_slots={n_slots}."
            )
        return CodebookPriorModule(n_codes, n_slots, context.n_components)


class CodebookPriorModule(PriorModule):
    """Vectors of the codes of each slot, and a weight for each combination."""

    is_finite = True
    n_slots: int
    n_codes: int
    combinations: Tensor

    def __init__(self, n_codes: int, n_slots: int, n_components: int) -> None:
        super().__init__()
        check_weights(
            n_codes**n_slots + n_codes * n_components,
            f"CodebookPrior with {n_codes} codes in {n_slots} slots",
        )
        self.n_slots, self.n_codes = n_slots, n_codes
        # Distinct vectors, or all codes would get the same gradient for ever.
        spread = torch.linspace(-1, 1, n_codes, dtype=BUILD_DTYPE)
        width = n_components // n_slots
        self.codes = nn.Parameter(spread[:, None].repeat(n_slots, 1, width))
        self.logit = nn.Parameter(torch.zeros(n_codes**n_slots, dtype=BUILD_DTYPE))
        numbers = torch.arange(n_codes)
        self.register_buffer(
            "combinations",
            torch.cartesian_prod(*[numbers] * n_slots).view(-1, n_slots),
            persistent=False,
        )

    def forward(self) -> CodeDistribution:
        """Return p(z)."""
        return CodeDistribution(
            self._vectors(self.combinations), self.logit.log_softmax(0)
        )

    def _vectors(self, numbers: Tensor) -> Tensor:
        """Return the vectors (N, L) of codes (N, M)."""
        slots = torch.arange(self.n_slots, device=numbers.device)
        return self.codes[slots, numbers].flatten(1)

    def embed(self, posterior: LatentDistribution) -> Tensor:
        """Return the numbers (B, M) of the most probable codes."""
        slots = posterior.mode.unflatten(1, (self.n_slots, -1)).transpose(0, 1)
        return torch.cdist(slots, self.codes).argmin(-1).T.to(slots.dtype)

    def latents(self, embedded: Tensor) -> Tensor:
        """Return the vectors (B, L) of codes (B, M).

        Raises
        ------
        ValueError
            If there is no such code.
        """
        numbers = embedded.long()
        is_code = (numbers == embedded) & (numbers >= 0) & (numbers < self.n_codes)
        if not is_code.all():
            wrong = float(embedded[~is_code][0])
            raise ValueError(
                f"Z has codes, whole numbers from 0 to {self.n_codes - 1}; got "
                f"{wrong:g}."
            )
        return self._vectors(numbers)

    def initialise(self, start: LinearStart) -> None:
        """Move to k-means of the start's latents, slot by slot."""
        z = start.z.unflatten(1, (self.n_slots, -1))
        w = start.sample_weight / start.sample_weight.sum()
        log_weight = torch.zeros((), dtype=BUILD_DTYPE)
        for slot, points in enumerate(z.unbind(1)):
            centres, mass = _separate_centres(points, w, self.n_codes)
            with torch.no_grad():
                self.codes[slot] = centres
            log_mass = mass.log()[self.combinations[:, slot].cpu()]
            log_weight = log_weight + log_mass
        with torch.no_grad():
            self.logit.copy_(log_weight)


def _separate_centres(points: Tensor, w: Tensor, n_codes: int) -> tuple[Tensor, Tensor]:
    """Return centres (C, L), no two of them equal, and their shares of the weight.

    Everything is a deterministic function of points and weights.
    """
    if len(points) > MOST_ROWS:
        chosen = torch.arange(MOST_ROWS, device=w.device) * len(points) // MOST_ROWS
        points, w = points[chosen], w[chosen] / w[chosen].sum()
    centres, mass = k_means(points, w, n_codes, ROUNDS)
    # More codes than distinct points: the others lie beside one.
    spread = torch.linspace(0, 1e-3, n_codes, dtype=centres.dtype)
    centres = centres + spread.to(centres.device)[:, None]
    mass = mass + 0.1 / n_codes
    return centres, mass / mass.sum()
