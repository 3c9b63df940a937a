"""The variational autoencoder: its components and the draws they make."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from skvae.model.backgrounds import BackgroundModule, BackgroundSpec
from skvae.model.cell_noise import CellNoise
from skvae.model.closed_form import ClosedFormPart
from skvae.model.context import BuildContext, LinearStart
from skvae.model.decoders import DecoderModule, DecoderSpec
from skvae.model.distributions import (
    CodeDistribution,
    LatentDistribution,
    SharedDistribution,
)
from skvae.model.draw import Aggregate, LatentDraw
from skvae.model.dtype import BUILD_DTYPE
from skvae.model.features import RowFeatures
from skvae.model.likelihoods import LikelihoodModule, LikelihoodSpec
from skvae.model.posteriors import PosteriorModule, PosteriorSpec
from skvae.model.priors import PriorModule, PriorSpec

__all__ = ["VAE"]

PACKAGE = __name__.partition(".")[0]


class VAE(nn.Module):
    r"""A latent-variable density with an encoder.

    .. math:: p(x) = \int p(x \mid z)\, p(z)\, dz, \qquad q(z \mid x) \approx
              p(z \mid x)

    With a background, the integral is the latent part of a mixture: p(x) is 1 − ε
    times the integral plus ε p₀(x). Draws and their weights always belong to the
    latent part.

    Tensors in, tensors out: rows are in model units (standardised columns), noise
    comes from outside, and nothing here knows how the model is trained or scored.

    A row may have more columns than the D that have a density. The further columns
    are given: every density is conditional on them.

    A missing cell is NaN, and every density is that of the observed cells. Where
    columns are independent given z, nothing else changes. Where the decoder reads
    columns, each missing cell before an observed one is drawn from its own conditional
    density, as one more latent whose factor cancels from the weight (likelihood
    weighting: R. Fung and K.-C. Chang, 1990. Weighing and integrating evidence for
    stochastic simulation in Bayesian networks).

    Parameters
    ----------
    features : RowFeatures
        What the networks read of a row.
    prior : PriorModule
        p(z).
    posterior : PosteriorModule
        q(z | x).
    decoder : DecoderModule
        Latents to raw likelihood parameters.
    likelihood : LikelihoodModule
        p(x | z), given the raw parameters.
    background : BackgroundModule or None, default=None
        ε and p₀.
    n_features : int
        Number of columns that have a density, D.
    """

    def __init__(
        self,
        features: RowFeatures,
        prior: PriorModule,
        posterior: PosteriorModule,
        decoder: DecoderModule,
        likelihood: LikelihoodModule,
        background: BackgroundModule | None = None,
        *,
        n_features: int,
    ) -> None:
        super().__init__()
        self.features = features
        self.n_features = n_features
        self.prior = prior
        self.posterior = posterior
        self.decoder = decoder
        self.likelihood = likelihood
        self.background = background
        prior.connect(posterior)

    @classmethod
    def build(
        cls,
        context: BuildContext,
        prior: PriorSpec,
        posterior: PosteriorSpec,
        decoder: DecoderSpec,
        likelihood: LikelihoodSpec,
        background: BackgroundSpec | None = None,
    ) -> "VAE":
        """Build the modules of these specs for a table of these sizes."""
        context = replace(context, autoregressive=decoder.autoregressive)
        likelihood_module = likelihood.build(context)
        return cls(
            context.features(),
            prior.build(context),
            posterior.build(context),
            decoder.build(
                context, likelihood_module.n_parameters, likelihood_module.n_linear
            ),
            likelihood_module,
            None if background is None else background.build(context),
            n_features=context.n_features,
        )

    def initialise(self, start: LinearStart) -> None:
        """Move the components of the latent part to the linear start."""
        for_encoder = start.for_encoder(self.features.n_flags)
        self.prior.initialise(for_encoder)
        self.posterior.initialise(for_encoder)
        modelled = (self.features.owner < self.n_features).nonzero().squeeze(1)
        linear = self.decoder.regress(start)
        slope, offset = self.likelihood.initialise(linear.of_features(modelled))
        self.decoder.initialise(slope, offset)

    @property
    def encoder_is_exact(self) -> bool:
        """Whether each importance weight of the encoder's draws is p(x) itself.

        This holds where the decoder does not read latents: their posterior is then
        the prior, and `encode` returns it. It holds where latents have few values, too:
        their posterior is computed.
        """
        return not self.decoder.reads_latents or self.prior.is_finite

    @property
    def reads_in_single(self) -> bool:
        """Whether log-densities of rows near the data may be read in single precision.

        The likelihood says whether it has the digits. The networks have to be ours: of
        others it is not known whether the bits of a row depend on its place. Where no
        latents have to be drawn, log-densities have all digits of double precision.
        """
        if self.encoder_is_exact or not self.likelihood.reads_in_single:
            return False
        return all(
            type(part).__module__.partition(".")[0] == PACKAGE
            or isinstance(part, nn.ModuleList)
            for part in self.modules()
        )

    def encode(self, x: Tensor, *, training: bool = False) -> LatentDistribution:
        """Return q(z | x) for rows (B, columns).

        Where the decoder does not read latents, this is the prior, and where they have
        few values, p(z | x); but the prior if missing cells would have to be drawn.
        Where a posterior has no density, one that has stands for it, but in training.
        """
        if not self.encoder_is_exact:
            features = self.features.for_encoder(x)
            if training:
                return self.posterior.for_training(features)
            return self.posterior(features)
        prior = self.prior()
        if not self.decoder.reads_latents or bool(self.drawn_cells(x).any()):
            return SharedDistribution(prior, len(x))
        log_weight = self._log_joint_of_codes(x).log_softmax(0).T
        return CodeDistribution(prior.points, log_weight)

    def raw_of_codes(self) -> Tensor | None:
        """Return the raw parameters (N, 1, P, D) for each of the few values of z.

        It is None where values are many, or a row's other columns matter as well.
        """
        if not self.prior.is_finite or self.decoder.order is not None:
            return None
        if not self.decoder.reads_latents or len(self.features.kinds) > self.n_features:
            return None
        points = self.prior().points
        return self.raw(points.new_zeros(1, self.n_features), points[:, None])

    def exact_log_prob(self, x: Tensor, raw: Tensor | None = None) -> Tensor:
        """Return log p(x) of the latent part, shape (B,), where encoders are exact.

        `raw` are `raw_of_codes`, if they are known already.
        """
        if self.decoder.reads_latents:
            return self._log_joint_of_codes(x, raw=raw).logsumexp(0)
        return self.log_likelihood(x, self.prior().mean[None, None]).squeeze(0)

    def _log_joint_of_codes(
        self, x: Tensor, cells: CellNoise | None = None, raw: Tensor | None = None
    ) -> Tensor:
        """Return log p(x, z) for each of the few values of z, shape (N, B)."""
        prior = self.prior()
        log_likelihood = self.log_likelihood(x, prior.points[:, None], cells, raw)
        return log_likelihood + prior.log_weight[:, None]

    def raw(self, x: Tensor, z: Tensor) -> Tensor:
        """Return the likelihood's raw parameters, shape (K, B, P, D).

        K is 1 where the decoder does not read latents. B is 1 where all rows share the
        latents and the decoder reads nothing else of a row.
        """
        return self.decoder(z, self.features(x))

    def log_likelihood(
        self,
        x: Tensor,
        z: Tensor,
        cells: CellNoise | None = None,
        raw: Tensor | None = None,
    ) -> Tensor:
        """Return log p(x | z), shape (K, B).

        Parameters
        ----------
        x : Tensor of shape (B, columns)
            Rows.
        z : Tensor of shape (K, B, L) or (K, 1, L)
            Latents, of each row or for all rows.
        cells : CellNoise, default=None
            By which missing cells are drawn, where the decoder reads columns.
        raw : Tensor, default=None
            What `raw` returns for z, if it is known and the decoder reads no columns.
        """
        modelled = x[:, : self.n_features]
        observed = ~modelled.isnan()
        complete = bool(observed.all())
        if complete or self.decoder.order is None:
            mask = None if complete else observed
            raw = self.raw(x, z) if raw is None else raw
            if raw.shape[1] == 1 < len(x):
                log_prob = self.likelihood.shared_log_prob(
                    modelled, raw.squeeze(1), mask
                )
            else:
                log_prob = self.likelihood.log_prob(modelled, raw, mask)
        else:
            log_prob = self._weighted_likelihood(x, z, cells)
        return log_prob.expand(len(z), -1)

    def _weighted_likelihood(
        self, x: Tensor, z: Tensor, cells: CellNoise | None
    ) -> Tensor:
        """Return log p(observed | cells before them, z), by a decoder with an order."""
        filled = self.fill_in(x, z, cells)
        raw = self.raw_of_each(filled, z)
        observed = ~x[:, : self.n_features].isnan()
        rows = filled[..., : self.n_features].flatten(0, 1)
        raw = raw.flatten(0, 1)[None]

        def log_prob(chosen: Tensor) -> Tensor:
            chosen = chosen.expand(len(z), -1, -1).flatten(0, 1)
            return self.likelihood.log_prob(rows, raw, chosen).view(len(z), -1)

        weight = log_prob(observed)
        if not weight.requires_grad:
            return weight
        # The density that a cell was drawn from is a proposal, which gradients do not
        # see, and cancels from the weight; its factor in p(x, z) has a gradient.
        drawn = log_prob(self.drawn_cells(x))
        return weight + drawn - drawn.detach()

    def fill_in(
        self,
        x: Tensor,
        z: Tensor,
        cells: CellNoise | None,
        *,
        trailing: bool = False,
    ) -> Tensor:
        """Return rows (K, B, columns) whose missing cells are drawn given z.

        Where columns are independent given z, all of them are. Where the decoder reads
        columns, each is drawn given those before it.

        Parameters
        ----------
        x : Tensor of shape (B, columns)
            Rows; columns beyond the first D stay as they are.
        z : Tensor of shape (K, B, L) or (K, 1, L)
            Latents.
        cells : CellNoise
            What the draws are made of.
        trailing : bool, default=False
            Whether cells are drawn, too, that no observed cell follows in the order.
        """
        if cells is None:
            raise ValueError(
                "Missing cells are drawn by a CellNoise, and there is none."
            )
        n_draws, n_rows = len(z), len(x)
        z = z.expand(-1, n_rows, -1)
        filled = x.expand(n_draws, -1, -1).clone()
        observed = ~x[:, : self.n_features].isnan()
        order = self.decoder.order
        if order is None:
            rows = (~observed).any(1).nonzero().squeeze(1)
            raw = self.raw(x[rows], z[:, rows])
            drawn = cells.draw(self.likelihood, raw.detach(), rows)
            kept = filled[:, rows, : self.n_features]
            filled[:, rows, : self.n_features] = kept.where(observed[rows], drawn)
            return filled
        wanted = ~observed if trailing else self.drawn_cells(x)
        for column in order.tolist():
            rows = wanted[:, column].nonzero().squeeze(1)
            if len(rows):
                with torch.no_grad():
                    raw = self.raw_of_each(filled[:, rows], z[:, rows])
                    drawn = cells.draw(self.likelihood, raw, rows)
                filled[:, rows, column] = drawn[..., column]
        return filled

    def drawn_cells(self, x: Tensor) -> Tensor:
        """Return which missing cells (B, D) a likelihood weighting has to draw."""
        observed = ~x[:, : self.n_features].isnan()
        if self.decoder.order is None:
            return torch.zeros_like(observed)
        return ~observed & _before_an_observed(observed, self.decoder.order)

    def raw_of_each(self, x: Tensor, z: Tensor) -> Tensor:
        """Return raw parameters (K, B, P, D) where each draw has its own rows.

        Parameters
        ----------
        x : Tensor of shape (K, B, columns)
            Rows.
        z : Tensor of shape (K, B, L) or (K, 1, L)
            Latents.
        """
        z = z.expand(-1, x.shape[1], -1)
        raw = self.raw(x.flatten(0, 1), z.flatten(0, 1)[None])
        return raw.view(*x.shape[:2], *raw.shape[-2:])

    def log_joint(self, x: Tensor, z: Tensor) -> Tensor:
        """Return log p(x, z), shape (K, B)."""
        return self.log_likelihood(x, z) + self.prior().log_prob(z)

    def draw(
        self,
        x: Tensor,
        noise: Tensor,
        *,
        path_gradient: bool = False,
        cells: CellNoise | None = None,
        training: bool = False,
    ) -> LatentDraw:
        """Draw latents from the encoder, with the log-densities that weigh them.

        Parameters
        ----------
        x : Tensor of shape (B, columns)
            Rows.
        noise : Tensor of shape (K, B, noise_dim)
            Standard-normal noise; `noise_dim` is the encoder distribution's.
        path_gradient : bool, default=False
            Whether gradients of the weights reach the encoder through the latents
            alone. If so, a detached copy of the encoder's distribution gives
            log q(z | x), and `kl` is None.
        cells : CellNoise, default=None
            By which missing cells are drawn, where the decoder reads columns.
        training : bool, default=False
            Whether log q(z | x) may be a critic's estimate, where the posterior has no
            density. Its gradients are path gradients in any case.
        """
        if self.prior.is_finite and self.decoder.reads_latents:
            return replace(self._sum(x, cells), closed_form=self.closed_form(x))
        proposal = self.encode(x, training=training)
        draw = self.draw_from(proposal, x, noise, cells)
        if path_gradient and proposal.has_score:
            log_q_z = proposal.detached().log_prob(draw.z)
            draw = replace(draw, log_q_z=log_q_z, kl=None)
        return replace(
            draw,
            closed_form=self.closed_form(x),
            path_gradient=path_gradient or not proposal.has_score,
            critic_loss=proposal.critic_loss(draw.z, noise),
        )

    def aggregate(self, x: Tensor, generator: torch.Generator) -> Aggregate | None:
        """Draw a latent of each row and of the prior; None if no encoder is learnt."""
        if self.encoder_is_exact:
            return None
        return Aggregate.drawn(self.encode(x, training=True), self.prior(), generator)

    def _sum(self, x: Tensor, cells: CellNoise | None) -> LatentDraw:
        """Return a sum over the few values of z, as one draw whose weight is p(x).

        log p(x) is the mean of log p(x, z) − log p(z | x) over the posterior, and its
        gradient the mean of that of log p(x, z).
        """
        prior = self.prior()
        log_joint = self._log_joint_of_codes(x, cells)
        share = log_joint.detach().softmax(0)
        log_prior = share.T @ prior.log_weight
        return LatentDraw(
            z=(share.T @ prior.points)[None],
            log_p_x=((share * log_joint).sum(0) - log_prior)[None],
            log_p_z=log_prior[None],
            log_q_z=-torch.special.entr(share).sum(0)[None],
        )

    def draw_from(
        self,
        proposal: LatentDistribution,
        x: Tensor,
        noise: Tensor,
        cells: CellNoise | None = None,
    ) -> LatentDraw:
        """Draw latents from any proposal; the record leaves out the closed form."""
        prior = self.prior()
        z, log_q_z = proposal.rsample(noise)
        return LatentDraw(
            z=z,
            log_p_x=self.log_likelihood(x, z, cells),
            log_p_z=prior.log_prob(z),
            log_q_z=log_q_z,
            kl=prior.kl_from(proposal),
        )

    def closed_form(self, x: Tensor) -> ClosedFormPart:
        """Return the part of p(x) that needs no latents, for rows (B, columns)."""
        if self.background is None:
            return ClosedFormPart()
        log_prob = self.background.log_prob(x[:, : self.n_features])
        return ClosedFormPart.weighted(log_prob, self.background.weight)

    def embed(self, x: Tensor) -> Tensor:
        """Return the encoder's mean, (B, D) to (B, L), or the numbers of codes."""
        return self.prior.embed(self.encode(x))

    def decode(self, z: Tensor, given: Tensor | None = None) -> Tensor:
        """Return the decoder's mean for what `embed` returns, (B, D).

        Where the decoder has an order, each column's mean is the one given the means
        of the columns before it.
        """
        z = self.prior.latents(z)
        return self._column_by_column(z, given, self.likelihood.mean)

    def generate(
        self, n_samples: int, generator: torch.Generator, given: Tensor | None = None
    ) -> Tensor:
        """Draw rows from p(x), shape (n_samples, D).

        Parameters
        ----------
        n_samples : int
            Number of rows.
        generator : torch.Generator
            Source of randomness.
        given : Tensor of shape (n_samples, columns − D), default=None
            The given columns; None where there are none.
        """
        prior = self.prior()
        like = prior.mean
        noise = torch.empty(
            1, n_samples, prior.noise_dim, dtype=like.dtype, device=like.device
        ).normal_(generator=generator)
        z, _ = prior.rsample(noise)

        def sample(raw: Tensor) -> Tensor:
            return self.likelihood.sample(raw, generator)

        rows = self._column_by_column(z[0], given, sample)
        if self.background is None:
            return rows
        uniform = torch.empty(n_samples, 1, dtype=BUILD_DTYPE, device=rows.device)
        uniform.uniform_(generator=generator)
        others = self.background.sample(n_samples, generator)
        return torch.where(uniform < self.background.weight, others, rows)

    def _column_by_column(
        self, z: Tensor, given: Tensor | None, choose: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """Fill rows (B, D), each cell with what `choose` makes of its raw parameters.

        A decoder with an order reads the columns before a column, so that these have
        to be filled first.
        """
        empty = z.new_zeros(len(z), self.n_features)
        x = empty if given is None else torch.cat([empty, given], 1)
        if self.decoder.order is None:
            return choose(self.raw(x, z[None])).squeeze(0)
        for column in self.decoder.order.tolist():
            x[:, column] = choose(self.raw(x, z[None]))[0, :, column]
        return x[:, : self.n_features]


def _before_an_observed(observed: Tensor, order: Tensor) -> Tensor:
    """Return which cells (B, D) some observed cell of the row follows in the order."""
    ordered = observed[:, order].flip(1).to(torch.int64).cumsum(1).flip(1)
    before = torch.zeros_like(observed)
    before[:, order] = (ordered - observed[:, order].to(torch.int64)) > 0
    return before
