"""The wheel and the sdist have what they should, and nothing else."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import skvae

pytestmark = pytest.mark.docs

ROOT = Path(__file__).parents[2]
UNWANTED = (".pyc", ".so", ".log", ".md5")


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--outdir", folder, ROOT]
    subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def in_git() -> set[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return {
        name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()
    }


def test_wheel_is_the_package(archives: Path, in_git: set[str]) -> None:
    (wheel,) = archives.glob("*.whl")
    assert wheel.name == f"skvae-{skvae.__version__}-py3-none-any.whl"
    names = set(zipfile.ZipFile(wheel).namelist())
    metadata = f"skvae-{skvae.__version__}.dist-info"
    files = {"METADATA", "RECORD", "WHEEL", "licenses/LICENSE"}
    assert {name for name in names if name.startswith(metadata)} == {
        f"{metadata}/{name}" for name in files
    }
    package = {name for name in names if not name.startswith(metadata)}
    assert package == {name for name in in_git if name.startswith("skvae/")}
    assert "skvae/py.typed" in package


def test_sdist_is_the_repository_without_how_it_is_run(
    archives: Path, in_git: set[str]
) -> None:
    (sdist,) = archives.glob("*.tar.gz")
    with tarfile.open(sdist) as file:
        members = file.getmembers()
    top = f"skvae-{skvae.__version__}/"
    names = {member.name.removeprefix(top) for member in members if member.isfile()}
    folders = ("skvae/", "tests/", "examples/", "docs/")
    expected = {name for name in in_git if name.startswith(folders)}
    more = {"LICENSE", "README.md", "pyproject.toml", ".gitignore", "PKG-INFO"}
    assert names == expected | more
    assert not any(name.endswith(UNWANTED) for name in names)


@pytest.mark.parametrize(
    "check", [["twine", "check", "--strict"], ["check_wheel_contents"]]
)
def test_archives_pass_the_checks_of_their_kind(
    check: list[str], archives: Path
) -> None:
    files = archives.glob("*.whl" if "wheel" in check[0] else "*")
    result = subprocess.run(
        [sys.executable, "-m", *check, *files], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr
