"""The prior over the codes of a codebook: a discrete latent variable."""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from skvae.model.context import BuildContext, LinearStart
from skvae.model.distributions import (
    CodeDistribution,
    LatentDistribution,
    SlotDistribution,
    numbers_of,
    vectors_of,
)
from skvae.model.dtype import BUILD_DTYPE
from skvae.model.memory import check_weights
from skvae.model.networks import SlotTables
from skvae.model.posteriors import (
    CodePosteriorModule,
    PosteriorModule,
    PosteriorSpec,
)
from skvae.model.priors._base import PriorModule, PriorSpec
from skvae.model.priors.mixture import k_means
from skvae.model.spec import layer_sizes, positive_int

__all__ = ["MOST_CODES", "CodebookPrior", "CodesModule"]

MOST_CODES = 2**16  # combinations, over which sums are exact
ROUNDS = 10  # of k-means
MOST_ROWS = 20_000  # that k-means reads
# Codes "auto": one for so many rows, and no more; fewer beside a decoder that reads
# columns, which every code runs for every row.
ROWS_PER_CODE, MANY_CODES, FEW_CODES = 10, 128, 8


class CodebookPrior(PriorSpec):
    r"""Discrete latents: every row has one of C codes in each of M slots.

    .. math:: p(x) = \sum_c \pi_c\, p(x \mid e_c)

    over all C^M combinations c, whose vectors e are learnt; those of M slots are the
    vectors of the slots, one after the other. While there are at most 2¹⁶ of them, the
    sum is computed: log-densities have no error, training maximises log p(x) itself,
    whatever the objective, and the posterior of the codes, p(c | x), is known, so that
    no encoder is trained. `VAEDensity.transform` gives the most probable codes.

    Of more combinations, codes are drawn. The prior is then autoregressive,

    .. math:: p(c) = \prod_m \operatorname{softmax}\Bigl(b_m
              + \sum_{l<m} T_{lm}[c_l]\Bigr)_{c_m}

    with tables T of pairs of slots, and the encoder is of the same form, its logits b a
    network of the row; of the estimator's `posterior`, only the hidden layers count.
    Log-densities are estimates with errors, as for continuous latents.

    Codes start at the centres of k-means on the latents of the linear start. In the
    first third of the training, codes that hardly any row uses are restarted on rows
    that have a low log-density.

    Parameters
    ----------
    n_codes : int or "auto", default="auto"
        Number of codes of a slot, C. "auto" is one per 10 distinct training rows, at
        most 128; at most 8 beside a decoder that reads columns. For several slots, it
        is at most the number that gives 4,096 combinations.
    n_slots : int, default=1
        Number of slots, M; it divides the number of latents.
    masses : {"auto", "table", "autoregressive"}, default="auto"
        What gives combinations their probabilities: a number for each, or the tables T.
        "auto" is "table" up to 2¹⁶ combinations, which "table" cannot exceed.

    References
    ----------
    A. van den Oord, O. Vinyals and K. Kavukcuoglu, 2017. Neural discrete representation
    learning. (Codebooks; there, the density is a bound, and a row has one code.)

    P. F. Lazarsfeld and N. W. Henry, 1968. Latent structure analysis.

    B. J. Frey, G. E. Hinton and P. Dayan, 1996. Does the wake-sleep algorithm produce
    good density estimators? (Autoregressive masses.)

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

    def __init__(
        self, n_codes: int | str = "auto", n_slots: int = 1, masses: str = "auto"
    ) -> None:
        self.n_codes = n_codes
        self.n_slots = n_slots
        self.masses = masses

    def build(self, context: BuildContext) -> "CodebookPriorModule | SlotPriorModule":
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
        few = _is_few(n_codes, n_slots)
        masses = self.masses
        if masses not in ("auto", "table", "autoregressive"):
            raise ValueError(
                f"masses of CodebookPrior must be 'auto', 'table' or "
                f"'autoregressive', got {masses!r}."
            )
        if masses == "table" and not few:
            raise ValueError(
                f"masses='table' of CodebookPrior has a number for each combination of "
                f"codes, at most {MOST_CODES:,}; got n_codes={n_codes} to the power of "
                f"n_slots={n_slots}. Use 'autoregressive'."
            )
        if masses == "table" or (masses == "auto" and few):
            return CodebookPriorModule(n_codes, n_slots, context.n_components)
        return SlotPriorModule(n_codes, n_slots, context.n_components)


class CodesModule(PriorModule, ABC):
    """Vectors of the codes of each slot.

    Attributes
    ----------
    codes : Parameter of shape (M, C, L / M)
        The vectors.
    """

    n_slots: int
    n_codes: int

    def __init__(self, n_codes: int, n_slots: int, n_components: int) -> None:
        super().__init__()
        self.n_slots, self.n_codes = n_slots, n_codes
        # Distinct vectors, or all codes would get the same gradient for ever.
        spread = torch.linspace(-1, 1, n_codes, dtype=BUILD_DTYPE)
        width = n_components // n_slots
        self.codes = nn.Parameter(spread[:, None].repeat(n_slots, 1, width))

    def embed(self, posterior: LatentDistribution) -> Tensor:
        """Return the numbers (B, M) of the most probable codes."""
        mode = posterior.mode
        return numbers_of(self.codes, mode).to(mode.dtype)

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
        return vectors_of(self.codes, numbers)

    @abstractmethod
    def _share_mass(self, slot: int, source: int, target: int) -> None:
        """Let a code have half the mass of another, in place of its own."""

    @torch.no_grad()
    def restart(self, slot: int, source: int, target: int, vector: Tensor) -> None:
        """Move a code to a vector (L / M,), and give it half the mass of another."""
        self.codes[slot, target] = vector
        self._share_mass(slot, source, target)

    def _start_codes(self, start: LinearStart) -> Tensor:
        """Move codes to k-means of the start's latents; return shares (M, C)."""
        z = start.z.unflatten(1, (self.n_slots, -1))
        w = start.sample_weight / start.sample_weight.sum()
        masses = []
        for slot, points in enumerate(z.unbind(1)):
            centres, mass = _separate_centres(points, w, self.n_codes)
            with torch.no_grad():
                self.codes[slot] = centres
            masses.append(mass)
        return torch.stack(masses)


class CodebookPriorModule(CodesModule):
    """A weight for each combination of codes."""

    is_finite = True
    combinations: Tensor

    def __init__(self, n_codes: int, n_slots: int, n_components: int) -> None:
        check_weights(
            n_codes**n_slots + n_codes * n_components,
            f"CodebookPrior with {n_codes} codes in {n_slots} slots",
        )
        super().__init__(n_codes, n_slots, n_components)
        self.logit = nn.Parameter(torch.zeros(n_codes**n_slots, dtype=BUILD_DTYPE))
        combinations = _combinations(n_codes, n_slots)
        self.register_buffer("combinations", combinations, persistent=False)

    def forward(self) -> CodeDistribution:
        """Return p(z)."""
        points = vectors_of(self.codes, self.combinations)
        return CodeDistribution(points, self.logit.log_softmax(0))

    def _share_mass(self, slot: int, source: int, target: int) -> None:
        n_codes, n_slots = self.n_codes, self.n_slots
        logit = self.logit.view([n_codes] * n_slots).transpose(0, slot)
        logit[source] -= math.log(2)
        logit[target] = logit[source]

    def initialise(self, start: LinearStart) -> None:
        """Move to k-means of the start's latents, slot by slot."""
        log_mass = self._start_codes(start).log()
        slots = torch.arange(self.n_slots)
        with torch.no_grad():
            self.logit.copy_(log_mass[slots, self.combinations.cpu()].sum(1))


class SlotPriorModule(CodesModule):
    """The codes of each slot given those of earlier slots, by tables.

    Attributes
    ----------
    bias : Parameter of shape (M, C)
        Log-odds of the codes of each slot, but for the tables.
    """

    combinations: Tensor | None

    def __init__(self, n_codes: int, n_slots: int, n_components: int) -> None:
        super().__init__(n_codes, n_slots, n_components)
        self.is_finite = _is_few(n_codes, n_slots)
        self.bias = nn.Parameter(torch.zeros(n_slots, n_codes, dtype=BUILD_DTYPE))
        self.tables = SlotTables(n_codes, n_slots)
        few = _combinations(n_codes, n_slots) if self.is_finite else None
        self.register_buffer("combinations", few, persistent=False)
        # torch registers no module that is in a tuple: the encoder's parameters must
        # not count as the prior's, too.
        self._encoder: tuple[CodePosteriorModule, ...] = ()

    def forward(self) -> CodeDistribution | SlotDistribution:
        """Return p(z)."""
        prior = SlotDistribution(self.codes, self.bias, self.tables())
        if self.combinations is None:
            return prior
        log_mass = prior.log_mass(self.combinations[:, None]).squeeze(1)
        return CodeDistribution(vectors_of(self.codes, self.combinations), log_mass)

    def posterior(self, spec: PosteriorSpec, context: BuildContext) -> PosteriorModule:
        """Return an encoder of codes, with the hidden layers of the spec."""
        if self.is_finite:
            return spec.build(context)
        sizes = layer_sizes(
            spec.get_params().get("hidden_layer_sizes"),
            context.hidden_layer_sizes,
            f"hidden_layer_sizes of {type(spec).__name__}",
        )
        return CodePosteriorModule(self.n_codes, self.n_slots, context, sizes)

    def connect(self, posterior: PosteriorModule) -> None:
        """Show the encoder the codes."""
        if isinstance(posterior, CodePosteriorModule):
            posterior.follow(self)
            self._encoder = (posterior,)

    def _share_mass(self, slot: int, source: int, target: int) -> None:
        self.bias[slot, source] -= math.log(2)
        self.bias[slot, target] = self.bias[slot, source]
        self.tables.copy_code(slot, source, target)
        for encoder in self._encoder:
            encoder.copy_code(slot, source, target)

    def initialise(self, start: LinearStart) -> None:
        """Move to k-means of the start's latents, slot by slot."""
        with torch.no_grad():
            self.bias.copy_(self._start_codes(start).log())


def _is_few(n_codes: int, n_slots: int) -> bool:
    """Return whether sums over all combinations are computed."""
    return n_slots * math.log(n_codes) <= math.log(MOST_CODES) + 1e-9


def _combinations(n_codes: int, n_slots: int) -> Tensor:
    """Return all combinations of codes (N, M)."""
    numbers = [torch.arange(n_codes)] * n_slots
    return torch.cartesian_prod(*numbers).view(-1, n_slots)


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
