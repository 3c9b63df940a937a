"""Pages of the API reference, one for each public name, made from the package.

What `skvae.__all__` has, the reference has: components are grouped by what they derive
from, everything else by the lists below, and a name without a group stops the build.
"""

import importlib
import inspect
import shutil
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

import skvae

FOLDER = "reference"

# Title and introduction of each group, and its names.
GROUPS: dict[tuple[str, str], list[str]] = {
    ("Densities", "Estimators of log p(x), or of log p(y | X)."): [
        "skvae.VAEDensity",
        "skvae.ConditionalVAEDensity",
        "skvae.StackedDensity",
        "skvae.DistilledDensity",
    ],
    ("Around any density", "Estimators that take a density as a part."): [
        "skvae.DensityOutlierDetector",
        "skvae.OutlierCommittee",
        "skvae.DriftAlarm",
        "skvae.DensityImputer",
        "skvae.DensityClassifier",
    ],
    ("Functions, files and rows", "Comparisons, persistence, tables on disk."): [
        "skvae.compare_densities",
        "skvae.save",
        "skvae.load",
        "skvae.Batches",
        "skvae.compression.compress",
        "skvae.compression.decompress",
        "skvae.compression.pack",
        "skvae.compression.unpack",
        "skvae.persistence.TRUSTED_TYPES",
    ],
    ("Results", "What methods return."): [
        "skvae.Evidence",
        "skvae.Bounds",
        "skvae.Diagnosis",
        "skvae.DensityComparison",
        "skvae.detection.explain.Explanation",
        "skvae.queries.conditional.ConditionalDistribution",
        "skvae.queries.marginal.MarginalDensity",
        "skvae.queries.records.CodeLengths",
        "skvae.queries.records.MeanEstimate",
        "skvae.queries.records.Surprise",
        "skvae.compression.files.PackedSizes",
    ],
    ("Displays", "Pictures of densities and of their answers."): [
        "skvae.DensityDisplay",
        "skvae.ScoreDisplay",
        "skvae.CalibrationDisplay",
        "skvae.EvidenceDisplay",
        "skvae.TrainingDisplay",
        "skvae.ComparisonDisplay",
        "skvae.ExplanationDisplay",
        "skvae.LatentDisplay",
        "skvae.DependenceDisplay",
    ],
    ("Several processes", "One training by several processes or workers."): [
        "skvae.distributed.fit_together",
        "skvae.distributed.LostProcessError",
        "skvae.dask.DaskVAEDensity",
        "skvae.dask.map_rows",
    ],
    ("For components of your own", "Base classes of modules, and what is a density."): [
        "skvae.model.distributions.LatentDistribution",
        "skvae.model.priors.PriorModule",
        "skvae.model.posteriors.PosteriorModule",
        "skvae.model.decoders.DecoderModule",
        "skvae.model.likelihoods.LikelihoodModule",
        "skvae.model.backgrounds.BackgroundModule",
        "skvae.typing.Density",
        "skvae.typing.SamplingDensity",
    ],
}
# Groups of which the members are found: subclasses, the base class itself last.
FAMILIES = {
    ("Priors", "`VAEDensity(prior=...)`."): "PriorSpec",
    ("Posteriors", "`VAEDensity(posterior=...)`."): "PosteriorSpec",
    ("Decoders", "`VAEDensity(decoder=...)`."): "DecoderSpec",
    ("Likelihoods", "`VAEDensity(likelihood=...)`."): "LikelihoodSpec",
    ("Backgrounds", "`VAEDensity(background=...)`."): "BackgroundSpec",
    ("Companions", "`VAEDensity(companion=...)`."): "CompanionSpec",
    ("Objectives", "`VAEDensity(objective=...)`."): "ObjectiveSpec",
    ("Proposals", "`evidence(X, proposal=...)`."): "Proposal",
}


def find(name: str) -> Any:
    """Return the object of a full name."""
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def groups() -> dict[tuple[str, str], list[str]]:
    """Return all groups, with the full names of their members in order."""
    found = {group: list(names) for group, names in GROUPS.items()}
    for group, base in FAMILIES.items():
        derived = [
            name
            for name in skvae.__all__
            if inspect.isclass(getattr(skvae, name))
            and issubclass(getattr(skvae, name), getattr(skvae, base))
        ]
        derived.sort(key=lambda name: name == base)
        found[group] = [f"skvae.{name}" for name in derived]
    missing = {f"skvae.{name}" for name in skvae.__all__}
    missing -= {name for names in found.values() for name in names}
    if missing:
        raise ValueError(
            f"The reference has no group for {sorted(missing)}: add it to GROUPS in "
            f"docs/_ext/reference_pages.py."
        )
    return found


def own_members(owner: type) -> list[str]:
    """Return public methods and properties that the package itself defines."""
    members = []
    for name, value in inspect.getmembers(owner):
        function = getattr(value, "fget", None) or getattr(value, "fn", value)
        if name.startswith("_") or not (
            callable(function) or isinstance(value, property)
        ):
            continue
        if getattr(function, "__module__", "").startswith("skvae"):
            if not inspect.isclass(function):
                members.append(name)
    return members


def inherited_members(owner: type) -> list[str]:
    """Return public methods that come from scikit-learn."""
    return [
        name
        for name, value in inspect.getmembers(owner, inspect.isfunction)
        if not name.startswith("_") and value.__module__.startswith("sklearn")
    ]


def page_of(name: str) -> str:
    """Return the page of a class, a function or a constant."""
    module, _, short = name.rpartition(".")
    value = find(name)
    heading = [short, "=" * len(short), "", f".. currentmodule:: {module}", ""]
    if not inspect.isclass(value):
        kind = "autofunction" if callable(value) else "autodata"
        body = [f".. {kind}:: {short}", ""]
    else:
        body = [f".. autoclass:: {short}", ""]
        members = own_members(value)
        if members:
            body += [".. rubric:: Methods and properties", "", ".. autosummary::", ""]
            body += [f"   {short}.{member}" for member in members] + [""]
        if inherited := inherited_members(value):
            listed = ", ".join(f"`{member}`" for member in inherited)
            body += [f"From scikit-learn: {listed}.", ""]
        for member in members:
            a_property = isinstance(inspect.getattr_static(value, member), property)
            kind = "autoproperty" if a_property else "automethod"
            body += [f".. {kind}:: {short}.{member}", ""]
    examples = [f".. minigallery:: {name}", "   :add-heading: Examples", ""]
    return "\n".join([*heading, *body, *examples])


def write(folder: Path) -> None:
    """Write the pages of all public names, and a page that lists them."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    lines = ["API reference", "=============", ""]
    lines += ["Everything that the package offers, by what it is for.", ""]
    pages = []
    for (title, introduction), names in groups().items():
        lines += [title, "-" * len(title), "", introduction, "", ".. autosummary::", ""]
        lines += [f"   {name}" for name in names] + [""]
        for name in names:
            (folder / f"{name}.rst").write_text(page_of(name), encoding="utf-8")
            pages.append(name)
    lines += [".. toctree::", "   :hidden:", ""]
    lines += [f"   {name.rpartition('.')[2]} <{name}>" for name in pages] + [""]
    (folder / "index.rst").write_text("\n".join(lines), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Write the pages before Sphinx looks for sources."""
    app.connect("config-inited", lambda app, _: write(Path(app.srcdir) / FOLDER))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
