"""Tables larger than scikit-learn's `working_memory` are read a part at a time."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn import config_context

from skvae import VAEDensity
from skvae.tables.large import LargeTable, choose_rows, is_large

SMALL_LIMIT = 0.3  # MiB
N_ROWS = 10_000  # in two blocks


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(N_ROWS, 2))
    noise = 0.3 * rng.normal(size=(N_ROWS, 3))
    return np.c_[z, z @ [[1.0, 0, 1], [0, 1.0, -1]] + noise].astype(np.float32)


@pytest.fixture(scope="module")
def on_disk(table, tmp_path_factory):
    file = tmp_path_factory.mktemp("large") / "table.npy"
    np.save(file, table)
    return np.load(file, mmap_mode="r")


def quick(**settings):
    return VAEDensity(
        **{
            "decoder": "mlp",
            "companion": None,
            "max_iter": 2,
            "random_state": 0,
            "hidden_layer_sizes": (32,),
            **settings,
        }
    )


@pytest.fixture(scope="module")
def fitted(on_disk):
    with config_context(working_memory=SMALL_LIMIT):
        assert is_large(on_disk)
        return quick().fit(on_disk)


def test_the_limit_is_in_bytes_as_float64() -> None:
    with config_context(working_memory=1):
        assert not is_large(np.empty((2**15, 4), dtype=np.float32))
        assert is_large(np.empty((2**15 + 1, 4), dtype=np.float32))


def test_file_array_and_frame_of_the_same_numbers_give_the_same_fit(
    fitted, table, on_disk
):
    pandas = pytest.importorskip("pandas")
    rows = table[:50].astype(float)
    expected = fitted.score_samples(rows)
    with config_context(working_memory=SMALL_LIMIT):
        array = quick().fit(table.astype(np.float64))
        named = pandas.DataFrame(table.astype(np.float64), columns=list("abcde"))
        frame = quick().fit(named)
    np.testing.assert_array_equal(array.score_samples(rows), expected)
    np.testing.assert_array_equal(frame.score_samples(named[:50]), expected)


def test_the_density_is_as_good_as_from_memory(fitted, table) -> None:
    held_out = table[:200].astype(float)
    in_memory = quick().fit(table)
    assert fitted.score(held_out) == pytest.approx(in_memory.score(held_out), abs=0.1)


def test_scores_and_latents_do_not_depend_on_how_the_rows_are_read(
    fitted, on_disk
) -> None:
    rows = on_disk[:9000]
    in_memory = fitted.evidence(rows, proposal="encoder", max_samples=16).log_density
    latents = fitted.transform(rows)
    with config_context(working_memory=0.1):
        assert is_large(rows)
        large = fitted.evidence(rows, proposal="encoder", max_samples=16).log_density
        np.testing.assert_array_equal(fitted.transform(rows), latents)
    np.testing.assert_array_equal(large, in_memory)


def test_rows_without_weight_do_not_count(fitted, table) -> None:
    spoilt = np.concatenate([table, np.full((500, 5), 1e6, dtype=np.float32)])
    weight = np.r_[np.ones(len(table)), np.zeros(500)]
    with config_context(working_memory=SMALL_LIMIT):
        density = quick().fit(spoilt, sample_weight=weight)
    rows = table[:20]
    np.testing.assert_array_equal(
        density.score_samples(rows), fitted.score_samples(rows)
    )


def test_infinite_cells_are_named(table) -> None:
    bad = table.copy()
    bad[9_000, 3] = np.inf
    bad[100, 3] = np.nan
    with (
        config_context(working_memory=SMALL_LIMIT),
        pytest.raises(ValueError, match=r"infinity in column 3 \(first in row 9000\)"),
    ):
        quick().fit(bad)


def test_values_that_a_likelihood_does_not_take_are_named(table) -> None:
    bits = (table > 0).astype(np.int8)
    bits[9_500, 1] = 2
    with (
        config_context(working_memory=SMALL_LIMIT),
        pytest.raises(ValueError, match="column 1 has 2 in row 9500"),
    ):
        quick(likelihood="bernoulli").fit(bits)


def test_zeros_and_ones_in_one_byte(table) -> None:
    bits = (table > 0).astype(np.uint8)
    with config_context(working_memory=SMALL_LIMIT):
        density = quick(likelihood="bernoulli").fit(bits)
    frequency = bits.mean(0)
    independent = (bits * np.log(frequency) + (1 - bits) * np.log(1 - frequency)).sum(1)
    assert density.score(bits[:500]) > independent[:500].mean() + 0.2


def test_of_too_many_rows_some_are_chosen_by_weight(monkeypatch) -> None:
    monkeypatch.setattr("skvae.tables.large.MAX_TRAINING_ROWS", 1000)
    rng = np.random.default_rng(0)
    weight = rng.choice([0.0, 1.0, 3.0], size=20_000)
    rows, unit = choose_rows(np.arange(20_000.0)[:, None], weight)
    assert isinstance(rows, LargeTable)
    assert rows.shape == (1000, 1)
    assert (unit == 1).all()
    chosen = rows[np.arange(1000)][:, 0].astype(int)
    assert (np.diff(chosen) >= 0).all()
    # Rows of weight 3 are half of the rows that have a weight, and three quarters of
    # the weight. Their share of 1,000 draws strays from 0.75 by more than 0.06 with
    # probability below 1e-4.
    assert abs((weight[chosen] == 3).mean() - 0.75) < 0.06
    assert (weight[chosen] > 0).all()


@pytest.mark.slow
def test_a_table_beyond_the_memory_limit_fits_and_scores(tmp_path) -> None:
    """A file of 1.2 GB is fitted where all but mapped files may take 600 MB."""
    rng = np.random.default_rng(0)
    file = tmp_path / "table.npy"
    n_rows, n_columns = 10_000_000, 30
    rows = np.lib.format.open_memmap(
        file, mode="w+", dtype=np.float32, shape=(n_rows, n_columns)
    )
    for begin in range(0, n_rows, 500_000):
        z = rng.normal(size=(500_000, 1)).astype(np.float32)
        rows[begin : begin + 500_000] = z + rng.random(
            (500_000, n_columns), dtype=np.float32
        )
    rows.flush()
    del rows
    script = f"""
import resource, numpy as np, torch, skvae
torch.set_num_threads(1)
table = np.load({str(file)!r}, mmap_mode="r")
status = open("/proc/self/status").read()
used = int(status.split("VmData:")[1].split()[0]) * 1024
limit = used + 600 * 2**20
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
density = skvae.VAEDensity(
    max_iter=1, n_components=2, hidden_layer_sizes=(16,), marginal_transform=None,
    random_state=0, n_importance_samples=4, max_evidence_samples=4,
).fit(table)
log_density = density.evidence(table[:1_000_000], proposal="encoder").log_density
print(log_density.shape, np.isfinite(log_density).all())
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True
    )
    assert done.stdout.strip() == "(1000000,) True", done.stderr
