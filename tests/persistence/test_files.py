"""Files of estimators: the same scores to the bit; errors, if others made them."""

import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from torch import nn

import skvae
from skvae import (
    AutoregressiveDecoder,
    ConditionalVAEDensity,
    DensityClassifier,
    DensityImputer,
    DensityOutlierDetector,
    DistilledDensity,
    DriftAlarm,
    LadderPosterior,
    LadderPrior,
    MixturePrior,
    OutlierCommittee,
    StackedDensity,
    VAEDensity,
    load,
    save,
)
from skvae.model.backgrounds import BackgroundSpec
from skvae.model.companions import CompanionSpec
from skvae.model.decoders import DecoderSpec
from skvae.model.distributions import DiagonalGaussian
from skvae.model.likelihoods import LikelihoodSpec
from skvae.model.posteriors import PosteriorSpec
from skvae.model.priors import PriorModule, PriorSpec
from skvae.model.spec import registered
from skvae.persistence import TRUSTED_TYPES, ArrayState
from tests.conftest import GIVEN_QUICK, QUICK

FAMILIES = {
    "prior": PriorSpec,
    "posterior": PosteriorSpec,
    "decoder": DecoderSpec,
    "likelihood": LikelihoodSpec,
    "background": BackgroundSpec,
    "companion": CompanionSpec,
}
TINY = {**QUICK, "max_iter": 1, "hidden_layer_sizes": (4,)}
BINARY = (np.random.default_rng(0).random((60, 3)) < 0.4).astype(float)
FRAME = pd.DataFrame(
    {
        "number": np.random.default_rng(1).normal(size=60),
        "text": np.where(BINARY[:, 0] > 0, "yes", "no"),
        "category": pd.Categorical(np.where(BINARY[:, 1] > 0, "u", "v")),
    }
)
KEPT = Path(__file__).parent / "kept"

Cases = dict[str, tuple[BaseEstimator, Any]]


def answer(estimator: Any, rows: Any) -> NDArray[Any]:
    """Return what an estimator says of rows, by whichever method it has."""
    if isinstance(estimator, ConditionalVAEDensity):
        return np.asarray(estimator.score_samples(rows[:, :2], rows[:, 2:]))
    for method in ("score_samples", "predict_proba", "transform"):
        if hasattr(estimator, method):
            return np.asarray(getattr(estimator, method)(rows))
    return np.asarray(estimator.log_capital_)


@pytest.fixture(scope="module")
def cases(table: NDArray[Any]) -> Cases:
    """Return fitted estimators, of each class and with each component, and rows."""
    rows = table[:80]
    vae = VAEDensity(**TINY)
    gmm = GaussianMixture(2, random_state=0)
    exact = clone(vae).set_params(
        decoder=AutoregressiveDecoder((4,), reads_latents=False)
    )
    labels = (rows[:, 0] > 0).astype(int)
    committee = OutlierCommittee(max_iter=1, random_state=0)
    detector = DensityOutlierDetector(gmm, reference="held_out", random_state=0)
    whole = {"bernoulli", "categorical", "poisson", "negative_binomial"}
    of_whole = {"independent", "tree"}
    found: Cases = {
        "conditional": (
            ConditionalVAEDensity(**GIVEN_QUICK).fit(rows[:, :2], rows[:, 2:]),
            rows,
        ),
        "classifier": (DensityClassifier(vae).fit(rows, labels), rows),
        "committee": (clone(committee).fit(FRAME), FRAME),
        "detector": (detector.fit(rows), rows),
        "alarm": (DriftAlarm(detector, random_state=0).update(rows[:9]), rows),
        "imputer": (DensityImputer(vae).fit(rows), rows),
        "stack": (StackedDensity([("a", vae), ("b", gmm)], cv=2).fit(rows), rows),
        "student": (
            DistilledDensity(vae, student=exact, n_samples=20).fit(rows),
            rows,
        ),
        "frame": (VAEDensity(**{**TINY, "likelihood": "auto"}).fit(FRAME), FRAME),
        "whitened": (
            VAEDensity(**{**TINY, "marginal_transform": "whitened"}).fit(rows),
            rows,
        ),
        "ladder": (
            VAEDensity(
                6,
                prior=LadderPrior((4, 2)),
                posterior=LadderPosterior((4, 2)),
                **TINY,
            ).fit(rows),
            rows,
        ),
        "pipeline": (make_pipeline(StandardScaler(), vae).fit(rows), rows),
    }
    for family, spec in FAMILIES.items():
        for alias in sorted(registered(spec)):
            of_table: Any = BINARY if alias in whole | of_whole else rows
            settings: dict[str, Any] = {family: alias}
            if alias in of_whole:
                settings["likelihood"] = "bernoulli"
            if alias == "mixed":
                if family == "likelihood":
                    continue  # "frame" has it
                of_table, settings["likelihood"] = FRAME, "auto"
            density = VAEDensity(**{**TINY, **settings}).fit(of_table)
            found[f"{family} {alias}"] = density, of_table
    return found


def test_every_public_estimator_is_saved(cases: Cases) -> None:
    """The list of trusted types is that of the public estimators."""
    names = {f"{type(e).__module__}.{type(e).__qualname__}" for e, _ in cases.values()}
    assert set(TRUSTED_TYPES) | {"sklearn.pipeline.Pipeline"} == names
    public = {getattr(skvae, name) for name in skvae.__all__}
    fitted = {kind for kind in public if hasattr(kind, "fit")} | {DriftAlarm}
    assert {f"{kind.__module__}.{kind.__qualname__}" for kind in fitted} == set(
        TRUSTED_TYPES
    )
    assert all(issubclass(kind, ArrayState) for kind in fitted)


READER = """
import sys, pickle
from pathlib import Path
import skvae, torch
torch.set_num_threads(1)
folder = Path(sys.argv[1])
cases = pickle.loads((folder / "rows.pkl").read_bytes())
sys.path.insert(0, sys.argv[2])
from tests.persistence.test_files import answer
for name, (rows, expected) in cases.items():
    found = answer(skvae.load(folder / f"{name}.skvae"), rows)
    assert (found == expected).all() or (found != found).any(), name
print(len(cases))
"""


def test_scores_are_the_same_to_the_bit_in_another_process(
    cases: Cases, tmp_path: Path
) -> None:
    expected = {}
    for name, (estimator, rows) in cases.items():
        expected[name] = rows[:9], answer(estimator, rows[:9])
        assert np.isfinite(expected[name][1]).all()
        save(estimator, tmp_path / f"{name}.skvae")
    (tmp_path / "rows.pkl").write_bytes(pickle.dumps(expected))
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", READER, str(tmp_path), root],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(len(cases))]


def test_pickles_are_the_same_to_the_bit(cases: Cases) -> None:
    for name, (estimator, rows) in cases.items():
        again = pickle.loads(pickle.dumps(estimator))
        expected, found = (answer(each, rows[:9]) for each in (estimator, again))
        np.testing.assert_array_equal(found, expected, err_msg=name)


def test_skops_opens_what_it_trusts(cases: Cases) -> None:
    """Its list of types is the one that is published."""
    import skops.io

    for name in ("pipeline", "detector", "frame", "alarm"):
        estimator, rows = cases[name]
        blob = skops.io.dumps(estimator)
        assert set(skops.io.get_untrusted_types(data=blob)) <= set(TRUSTED_TYPES)
        again = skops.io.loads(blob, trusted=list(TRUSTED_TYPES))
        expected, found = (answer(each, rows[:9]) for each in (estimator, again))
        np.testing.assert_array_equal(found, expected, err_msg=name)


def test_a_file_is_the_same_to_the_byte(density: VAEDensity, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("one", "two")]
    for path in paths:
        save(density, path)
    again = tmp_path / "again"
    save(load(paths[0]), again)
    contents = {path.read_bytes() for path in (*paths, again)}
    assert len(contents) == 1


def test_anyone_can_read_the_arrays(density: VAEDensity, tmp_path: Path) -> None:
    save(density, tmp_path / "density")
    with np.load(tmp_path / "density", allow_pickle=False) as archive:
        arrays = [archive[n] for n in archive.files if n.startswith("arrays/")]
    weights = sum(p.numel() for p in density.model_.parameters())
    assert sum(array.size for array in arrays) >= weights


def test_estimators_that_are_not_fitted(tmp_path: Path) -> None:
    density = VAEDensity(prior=MixturePrior(n_modes=3), random_state=1)
    save(density, tmp_path / "density")
    assert repr(load(tmp_path / "density")) == repr(density)


def test_a_failed_save_leaves_the_old_file(density: VAEDensity, tmp_path: Path) -> None:
    path = tmp_path / "density"
    save(density, path)
    before = path.read_bytes()
    with pytest.raises(TypeError, match=r"prior\.n_modes is <built-in function print>"):
        save(VAEDensity(prior=MixturePrior(n_modes=print)), path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["density"]


def test_only_estimators_are_saved(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="must be an estimator, got dict"):
        save({"a": 1}, tmp_path / "file")  # type: ignore[arg-type]


class WidePrior(PriorSpec):
    """A user's component."""

    def __init__(self, width: float = 3.0) -> None:
        self.width = width

    def build(self, context: Any) -> "WidePriorModule":
        return WidePriorModule(self.width, context.n_components)


class WidePriorModule(PriorModule):
    def __init__(self, width: float, n_components: int) -> None:
        super().__init__()
        self.layer = nn.Linear(1, n_components, dtype=torch.float64)
        nn.init.zeros_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)
        self.width = width

    def forward(self) -> DiagonalGaussian:
        location = self.layer(torch.ones(1, dtype=self.layer.weight.dtype))
        return DiagonalGaussian(location, self.width + 0 * location)

    def initialise(self, start: Any) -> None:
        pass


def test_own_components_have_to_be_named(table: NDArray[Any], tmp_path: Path) -> None:
    density = VAEDensity(**{**TINY, "prior": WidePrior()}).fit(table)
    save(density, tmp_path / "own")
    with pytest.raises(ValueError, match=r"WidePrior is not one that may be built"):
        load(tmp_path / "own")
    with pytest.raises(ValueError, match="WidePriorModule is not one"):
        load(tmp_path / "own", components=[WidePrior])
    again = load(tmp_path / "own", components=[WidePrior, WidePriorModule])
    expected = density.score_samples(table)
    np.testing.assert_array_equal(again.score_samples(table), expected)


def test_types_of_other_libraries_have_to_be_trusted(
    density: VAEDensity, tmp_path: Path
) -> None:
    pipeline = make_pipeline(FunctionTransformer(os.path.basename), density)
    save(pipeline, tmp_path / "pipeline")
    with pytest.raises(ValueError, match=r"types that are not trusted: .*basename"):
        load(tmp_path / "pipeline")


def rewritten(
    content: bytes,
    change: Callable[[dict[str, Any]], None] = lambda tree: None,
    entries: dict[str, bytes] | None = None,
    compression: int = zipfile.ZIP_STORED,
) -> bytes:
    """Return a file with another document or other entries, and right checksums."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        found = {name: archive.read(name) for name in archive.namelist()}
    found |= entries or {}
    tree = json.loads(found.pop("skvae.json"))
    tree["sha256"] = {
        name: hashlib.sha256(of_entry).hexdigest() for name, of_entry in found.items()
    }
    change(tree)
    text = json.dumps(tree).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, of_entry in {"skvae.json": text, **found}.items():
            archive.writestr(name, of_entry)
        archive.comment = b"sha256:" + hashlib.sha256(text).hexdigest().encode()
    return buffer.getvalue()


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return the file of a small density."""
    path = tmp_path_factory.mktemp("files") / "density"
    save(VAEDensity(**{**TINY, "likelihood": "auto"}).fit(FRAME), path)
    return path.read_bytes()


class Planted:
    def __reduce__(self) -> Any:
        return exec, ("raise RuntimeError('executed')",)


def planted_array() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([Planted()], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def set_in(*path: Any, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(tree: dict[str, Any]) -> None:
        place: Any = tree
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = to

    return change


MADE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "pickle": (lambda _: pickle.dumps(Planted()), "not a zip file"),
    "empty": (lambda _: b"", "not a zip file"),
    "cut": (lambda c: c[: len(c) // 2], "not a zip file"),
    "planted array": (
        lambda c: rewritten(c, entries={"arrays/0.npy": planted_array()}),
        "arrays/0.npy",
    ),
    "declared as objects": (
        lambda c: rewritten(
            c,
            set_in("arrays", 0, to={"dtype": "|O", "shape": [1]}),
            {"arrays/0.npy": planted_array()},
        ),
        "arrays/0.npy|allow_pickle|Object arrays",
    ),
    "more entries": (
        lambda c: rewritten(c, entries={"evil.pkl": pickle.dumps(Planted())}),
        "entries are not those",
    ),
    "compressed": (lambda c: rewritten(c, compression=zipfile.ZIP_DEFLATED), "compr"),
    "huge array": (
        lambda c: rewritten(
            c, set_in("arrays", 0, to={"dtype": "<f8", "shape": [2**50]})
        ),
        r"not the size of an array of shape \(1125899906842624,\)",
    ),
    "negative": (
        lambda c: rewritten(c, set_in("arrays", 0, "shape", to=[-1])),
        r"shape \[-1\]",
    ),
    "later": (
        lambda c: rewritten(c, set_in("format", to=99)),
        "format is 99, written by skvae 0",
    ),
    "other class": (
        lambda c: rewritten(c, set_in("root", "class", to="subprocess.Popen")),
        "subprocess.Popen is not one that may be built",
    ),
    "no document": (
        lambda c: rewritten(c, lambda tree: tree.clear()),
        "which format",
    ),
    "checksum": (
        lambda c: c.replace(b'"random_state":0', b'"random_state":1'),
        "checksum|CRC",
    ),
}


@pytest.mark.parametrize("name", MADE)
def test_files_that_others_made(name: str, content: bytes, tmp_path: Path) -> None:
    make, reason = MADE[name]
    path = tmp_path / "file"
    path.write_bytes(make(content))
    with pytest.raises(ValueError, match=reason) as caught:
        load(path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nothing")


def nodes(node: Any) -> Iterator[tuple[Any, Any]]:
    """Return all places of a tree, as containers and keys."""
    keys = list(node) if isinstance(node, dict) else range(len(node))
    for key in keys:
        yield node, key
        if isinstance(node[key], (dict, list)):
            yield from nodes(node[key])


VALUES = [None, True, -1, 2**40, 0.5, "x", "skvae.density.VAEDensity", [], {}, [[1]]]
VALUES += [{"is": kind} for kind in ("list", "same", "object", "tensor", "frame")]


def mutant(content: bytes, random: np.random.Generator) -> bytes:
    """Return a file that is changed somewhere: in its bytes, or in its document."""
    if random.random() < 0.5:
        changed = bytearray(content)
        for place in random.integers(len(changed), size=random.integers(1, 4)):
            changed[place] = random.integers(256)
        return bytes(changed)

    def change(tree: dict[str, Any]) -> None:
        places = list(nodes(tree))
        parent, key = places[random.integers(len(places))]
        kind = random.integers(3)
        if kind == 0:
            del parent[key]
        elif kind == 1:
            parent[key] = VALUES[random.integers(len(VALUES))]
        else:  # another part of the document
            other, of_other = places[random.integers(len(places))]
            parent[key] = json.loads(json.dumps(other[of_other]))

    return rewritten(content, change)


def open_mutants(content: bytes, n_mutants: int, path: Path) -> int:
    """Open changed files; return how many were refused."""
    random = np.random.default_rng(0)
    n_refused = 0
    for _ in range(n_mutants):
        path.write_bytes(mutant(content, random))
        try:
            load(path)
        except ValueError as error:
            assert str(error).startswith(f"{path} cannot be opened: ")
            n_refused += 1
    return n_refused


def test_changed_files_are_errors(content: bytes, tmp_path: Path) -> None:
    """What is changed is refused with a reason, unless it says another thing."""
    assert open_mutants(content, 200, tmp_path / "file") > 100


@pytest.mark.slow
def test_ten_thousand_changed_files_are_errors(content: bytes, tmp_path: Path) -> None:
    assert open_mutants(content, 10_000, tmp_path / "file") > 5_000


@pytest.mark.parametrize("path", sorted(KEPT.glob("*.skvae")), ids=lambda p: p.stem)
def test_files_of_earlier_versions_open(path: Path) -> None:
    """``python tests/persistence/keep.py`` wrote them."""
    expected = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    rows = pd.DataFrame(expected["rows"])
    scores = load(path).score_samples(rows)
    # Other processors and libraries round in another way.
    np.testing.assert_allclose(scores, expected["scores"], rtol=1e-5)


def test_files_of_this_version_are_kept() -> None:
    assert {path.stem for path in KEPT.glob("*.skvae")} >= {"density-0.1.0"}
