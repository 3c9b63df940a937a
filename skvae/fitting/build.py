"""A new model for the rows of a fit, moved to its linear start."""

import math

import torch

from skvae.fitting.components import posterior_scale
from skvae.fitting.gaps import without_gaps
from skvae.fitting.plan import FitPlan
from skvae.fitting.split import MappedRows
from skvae.fitting.torch_state import global_state_for
from skvae.model import VAE, BuildContext
from skvae.training import linear_start

__all__ = ["new_model"]

# Model units. Wider noise than the column's own is the background's part. Without
# this ceiling the decoder would keep latents for it, whose modes are hard to find.
SCALE_CEILING = 1.5


def new_model(
    plan: FitPlan,
    rows: MappedRows,
    names: tuple[str, ...],
    generator: torch.Generator,
) -> VAE:
    """Build the components and move them to the linear start of the rows.

    Parameters
    ----------
    plan : FitPlan
        Components and sizes.
    rows : MappedRows
        Rows, in model units.
    names : tuple of str
        Names of the columns that have a density.
    generator : torch.Generator
        Source of first weights, and of the noise of the start.
    """
    specs, columns = plan.specs, rows.columns
    floor = torch.from_numpy(columns.floor).float()
    n_features = len(floor)
    context = BuildContext(
        n_features=n_features,
        n_components=plan.settings.n_components,
        n_rows=len(rows.x_start),
        hidden_layer_sizes=plan.settings.hidden_layer_sizes,
        dropout=plan.settings.dropout,
        scale_floor=floor,
        column_scale=torch.from_numpy(columns.scale).float(),
        generator=generator,
        scale_ceiling=math.inf if specs.background is None else SCALE_CEILING,
        kinds=columns.kinds,
        names=names,
    )
    components = (
        specs.prior,
        specs.posterior,
        specs.decoder,
        specs.likelihood,
        specs.background,
    )
    with global_state_for(components, generator.initial_seed()):
        model = VAE.build(context, *components)
    weight = rows.weight_start
    if model.background is not None:
        # Rows that only the background explains do not bend the start.
        modelled = rows.x_start[:, :n_features]
        model.background.initialise(modelled, weight)
        weight = weight * model.background.typicality(modelled)
    bottom, *above = plan.settings.latent_levels
    owner = model.features.owner
    model.initialise(
        linear_start(
            without_gaps(
                model.features.with_gaps(rows.x_start), weight, generator.initial_seed()
            ),
            weight,
            bottom,
            floor[owner[owner < n_features]],
            generator,
            posterior_scale=posterior_scale(specs, columns.kinds),
            n_above=sum(above),
            n_given=context.n_given_inputs,
        )
    )
    return model.to(plan.device)
