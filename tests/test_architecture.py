"""The architecture, read from the source."""

import ast
import functools
import gc
import importlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import skvae
from skvae import ConditionalVAEDensity, VAEDensity
from skvae.base import BaseVAEDensity
from skvae.evidence import Proposal
from skvae.model.backgrounds import BackgroundSpec
from skvae.model.companions import CompanionSpec
from skvae.model.decoders import DecoderSpec
from skvae.model.likelihoods import LikelihoodSpec
from skvae.model.posteriors import PosteriorSpec
from skvae.model.priors import PriorSpec
from skvae.model.spec import ComponentSpec, registered
from skvae.training.objectives import ObjectiveSpec

ROOT = Path(skvae.__file__).parent
TESTS = Path(__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))
MAX_LINES = 500

FAMILIES: dict[str, type[ComponentSpec]] = {
    "model/backgrounds": BackgroundSpec,
    "model/companions": CompanionSpec,
    "model/priors": PriorSpec,
    "model/posteriors": PosteriorSpec,
    "model/decoders": DecoderSpec,
    "model/likelihoods": LikelihoodSpec,
    "training/objectives": ObjectiveSpec,
    "evidence/proposals": Proposal,
}
VARIANT_FILES = [
    path
    for folder in FAMILIES
    for path in sorted((ROOT / folder).glob("*.py"))
    if not path.name.startswith("_")
]

NEW_PRIOR = '''
"""A prior in a file of its own."""

import torch
from torch import nn

from skvae.model.distributions import DiagonalGaussian
from skvae.model.priors import PriorModule, PriorSpec


class WidePrior(PriorSpec):
    alias = "wide"

    def __init__(self, width=3.0):
        self.width = width

    def build(self, context):
        return WidePriorModule(self.width, context.n_components)


class WidePriorModule(PriorModule):
    def __init__(self, width, n_components):
        super().__init__()
        self.location = nn.Parameter(torch.zeros(n_components))
        self.width = width

    def forward(self):
        return DiagonalGaussian(self.location, self.width + 0 * self.location)

    def initialise(self, start):
        pass
'''


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@functools.cache
def imports_of(path: Path, *, at_once: bool = False) -> frozenset[str]:
    """Return the full names of all that a module imports, at any depth or at once."""
    names: set[str] = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if at_once else ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)} has a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(names)


# Which rooms each room may import. A file directly under skvae/ is a room of its own.
ENGINE = {"model", "training", "evidence"}
BELOW: dict[str, set[str]] = {
    "typing": set(),
    "reports": set(),
    "diagnostics": {"reports"},
    "model": set(),
    "training": {"model"},
    "evidence": {"model", "reports"},
    "arguments": {"typing"},
    "tables": {"typing", "arguments", "model", "reports"},
    "persistence": {"arguments", "tables"},
    "fitting": {
        "typing",
        "arguments",
        "model",
        "training",
        "tables",
        "persistence",
        "reports",
    },
    "scoring": {"typing", "arguments", "model", "evidence", "tables", "diagnostics"},
    "members": {"typing", "arguments", "evidence", "tables"},
    "queries": {"typing", "arguments", "model", "evidence", "tables", "scoring"},
    "detection": {
        "typing",
        "arguments",
        "model",
        "evidence",
        "tables",
        "members",
        "reports",
    },
    "display": {
        "typing",
        "arguments",
        "evidence",
        "tables",
        "diagnostics",
        "members",
        "queries",
        "detection",
    },
}


def room_of(imported: str) -> str:
    """Return the room under skvae/, or the name of another package."""
    package, *rest = imported.split(".")
    return rest[0] if package == "skvae" and rest else package


def room_of_file(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").parts[0]


ENGINE_MODULES = [path for path in MODULES if room_of_file(path) in ENGINE]


def packages_of(path: Path, *, at_once: bool = False) -> set[str]:
    return {name.split(".")[0] for name in imports_of(path, at_once=at_once)}


def test_every_folder_is_a_room_with_known_neighbours() -> None:
    rooms = {p.relative_to(ROOT).parts[0] for p in MODULES if p.parent != ROOT}
    # These stand above all rooms, like the public estimators.
    above = {"compression", "dask"}
    assert rooms == BELOW.keys() - {"typing", "reports", "diagnostics"} | above


def test_rooms_stand_above_one_another() -> None:
    """There is an order in which every room comes after those that it imports."""
    placed: set[str] = set()
    for _ in BELOW:
        placed |= {room for room, below in BELOW.items() if below <= placed}
    assert placed == BELOW.keys()


def test_rooms_import_only_rooms_below() -> None:
    for path in MODULES:
        room = room_of_file(path)
        if room not in BELOW:
            continue  # a public estimator, which stands above all rooms
        names = {name for name in imports_of(path) if name.startswith("skvae.")}
        assert {room_of(name) for name in names} <= BELOW[room] | {room}, name_of(path)


def test_no_room_imports_private_names_of_another() -> None:
    for path in MODULES:
        own_folder = path.parent.relative_to(ROOT.parent).parts
        for name in imports_of(path):
            if name.startswith("skvae."):
                *modules, last = name.split(".")
                private = [part for part in modules[1:] if part.startswith("_")]
                where = f"{name_of(path)} imports {name}"
                assert not last.startswith("_") or tuple(modules) == own_folder, where
                inside = tuple(modules[: len(own_folder)]) == own_folder
                assert not private or inside, where


def test_engine_takes_parameter_objects_and_clusters_from_scikit_learn() -> None:
    """Estimators of scikit-learn's kind are the face's."""
    allowed = ("sklearn.base.", "sklearn.cluster.")
    for path in ENGINE_MODULES:
        for imported in imports_of(path):
            if imported.split(".")[0] == "sklearn":
                where = f"{name_of(path)} imports {imported}"
                assert imported.startswith(allowed), where


def test_engine_knows_no_tables_figures_or_progress_bars() -> None:
    unknown = {"pandas", "polars", "matplotlib", "tqdm", "joblib"}
    for path in ENGINE_MODULES:
        assert not packages_of(path) & unknown, name_of(path)


def test_heavy_optional_packages_are_imported_only_where_used() -> None:
    heavy = {"pandas", "polars", "matplotlib", "zuko", "dask", "distributed"}
    for path in MODULES:
        assert not packages_of(path, at_once=True) & heavy, name_of(path)


def test_modules_are_short() -> None:
    for path in MODULES:
        n_lines = len(path.read_text(encoding="utf-8").splitlines())
        assert n_lines <= MAX_LINES, name_of(path)


def test_modules_say_what_they_are_for_and_what_they_offer() -> None:
    for path in MODULES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree), name_of(path)
        assigned = {
            target.id
            for node in tree.body
            if isinstance(node, (ast.Assign, ast.AnnAssign))
            for target in (
                node.targets if isinstance(node, ast.Assign) else [node.target]
            )
            if isinstance(target, ast.Name)
        }
        assert "__all__" in assigned, name_of(path)


@pytest.mark.parametrize("estimator", [VAEDensity, ConditionalVAEDensity])
def test_a_density_shows_its_methods_in_its_own_file(estimator: type) -> None:
    methods = {name for name in dir(estimator) if name[0] != "_"}
    for name in ("fit", "score_samples", "score", "evidence", "bounds", "sample"):
        assert name in methods
        assert getattr(estimator, name).__module__ == estimator.__module__
    assert issubclass(estimator, BaseVAEDensity)


def spec_of(path: Path) -> type[ComponentSpec]:
    """Return the one spec that is defined in a variant's file."""
    folder = path.parent.relative_to(ROOT).as_posix()
    name = f"skvae.{folder.replace('/', '.')}.{path.stem}"
    (spec,) = [
        value
        for value in vars(importlib.import_module(name)).values()
        if isinstance(value, type)
        and issubclass(value, FAMILIES[folder])
        and value.__module__ == name
    ]
    return spec


@pytest.mark.parametrize("path", VARIANT_FILES, ids=name_of)
def test_variant_file_has_one_spec_which_its_folder_exports(path: Path) -> None:
    spec = spec_of(path)
    module = importlib.import_module(spec.__module__)
    folder = importlib.import_module(spec.__module__.rpartition(".")[0])
    for offered in (module, folder, skvae):
        assert spec.__name__ in offered.__all__
        assert getattr(offered, spec.__name__) is spec


@pytest.mark.parametrize("path", VARIANT_FILES, ids=name_of)
def test_variant_is_named_after_its_file(path: Path) -> None:
    spec = spec_of(path)
    if spec.alias:
        assert spec.alias == path.stem
        assert spec in registered(spec.__mro__[1]).values()
    else:
        assert spec.__name__.lower().startswith(path.stem)


@pytest.fixture
def new_prior(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Write a package with one new prior, import it, and forget it afterwards."""
    package = tmp_path / "priors_of_a_user"
    package.mkdir()
    (package / "wide.py").write_text(NEW_PRIOR.lstrip(), encoding="utf-8")
    (package / "__init__.py").write_text(
        "from priors_of_a_user.wide import WidePrior\n", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module(package.name)
    yield "wide"
    for name in [name for name in sys.modules if name.startswith(package.name)]:
        del sys.modules[name]
    gc.collect()
    assert "wide" not in registered(PriorSpec)


def test_new_prior_needs_one_file_and_one_export(new_prior: str) -> None:
    assert new_prior in registered(PriorSpec)
    table = np.random.default_rng(0).normal(size=(40, 2))
    density = VAEDensity(
        prior=new_prior,
        hidden_layer_sizes=(4,),
        companion=None,
        marginal_transform=None,
        max_iter=2,
        n_importance_samples=4,
        max_evidence_samples=4,
        random_state=0,
    ).fit(table)
    assert type(density.prior_).__name__ == "WidePrior"
    assert np.isfinite(density.score_samples(table)).all()
    density.set_params(prior=type(density.prior_)(), prior__width=3.0).fit(table)
    assert density.model_.prior.width == 3.0


def test_contract_tests_find_a_new_file_and_what_is_wrong_with_it(
    tmp_path: Path,
) -> None:
    """In a copy of the package: one new file and one line that imports it."""
    copied = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT, tmp_path / "skvae", ignore=copied)
    shutil.copytree(TESTS / "model", tmp_path / "tests" / "model", ignore=copied)
    shutil.copy(TESTS / "conftest.py", tmp_path / "tests")
    folder = tmp_path / "skvae" / "model" / "priors"
    (folder / "wide.py").write_text(NEW_PRIOR.lstrip(), encoding="utf-8")
    with (folder / "__init__.py").open("a", encoding="utf-8") as exports:
        exports.write("from skvae.model.priors.wide import WidePrior\n")
    options = "-q -p no:cacheprovider --import-mode=importlib -k WidePrior -rf"
    tests = tmp_path / "tests" / "model" / "test_latent_components.py"
    result = subprocess.run(
        [sys.executable, "-m", "pytest", *options.split(), tests],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    (n_passed,) = re.findall(r"(\d+) passed", result.stdout)
    assert int(n_passed) >= 5, result.stdout
    # Its width is three wherever the latents of the start are.
    failures = re.findall(r"FAILED \S+::(\w+)\[WidePrior\]", result.stdout)
    assert failures == ["test_prior_starts_close_to_the_latents_of_the_start"]


def test_unknown_prior_is_told_of_the_new_one(new_prior: str) -> None:
    table = np.random.default_rng(0).normal(size=(10, 2))
    with pytest.raises(ValueError, match="'wide'"):
        VAEDensity(prior="nonsense").fit(table)
