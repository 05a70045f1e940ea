"""The three places samples come from: an .npz file, a folder of images by class, a user's function."""

from __future__ import annotations

import importlib
import sys
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, cast

import numpy as np
from edgepareto.host.config import is_function
from edgepareto.host.errors import ConfigError, DataError
from numpy.typing import NDArray

__all__ = ["read_arrays", "user_function"]

Array = NDArray[np.generic]
IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
IMAGE_CHANNELS = {1: "L", 3: "RGB", 4: "RGBA"}
WHAT_USER_CODE_RAISES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


class _Input(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def shape(self) -> Sequence[int | str | None]: ...


def read_arrays(source: str, inputs: Sequence[_Input], *, folder: Path) -> Mapping[str, Array]:
    """The arrays of a source by key (`x` or one per input, and `y`). DataError where there are none."""
    path = folder / source
    if is_function(source) and not path.exists():
        return _from_function(source, folder)
    if not path.exists():
        raise DataError(
            f"{source}: no such file or folder in {folder}; data is an .npz, a folder of images by class, "
            "or module:function"
        )
    if path.is_dir():
        return _from_images(source, path, inputs)
    return _from_npz(source, path)


def user_function(name: str, *, folder: Path) -> Callable[..., object]:
    """The function `module:function`, the module found in `folder` first. This runs the user's code.

    Only ever called with a name from the command line or a file that the user wrote. Raises ConfigError.
    """
    module_name, _, attribute = name.partition(":")
    sys.path.insert(0, str(folder))
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigError(
            f"{name}: cannot import {module_name} ({error}); it is looked for in {folder} and among the "
            "installed packages"
        ) from error
    finally:
        sys.path.remove(str(folder))
    function = getattr(module, attribute, None)
    if not callable(function):
        raise ConfigError(f"{name}: {module_name} has no function {attribute}")
    return cast(Callable[..., object], function)


def _from_function(source: str, folder: Path) -> Mapping[str, Array]:
    load = user_function(source, folder=folder)
    try:
        loaded = load()
    except WHAT_USER_CODE_RAISES as error:
        raise DataError(f"{source}: raised {type(error).__name__}: {error}") from error
    if not isinstance(loaded, Mapping):
        raise DataError(
            f"{source}: returned {type(loaded).__name__}; it must return a mapping of arrays with the keys "
            "of an .npz file, x and y"
        )
    return {str(key): np.asarray(value) for key, value in loaded.items()}


def _from_npz(source: str, path: Path) -> Mapping[str, Array]:
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if not isinstance(loaded, np.lib.npyio.NpzFile):
                raise DataError(f"{source}: holds one array; write keys x and y into an .npz with numpy.savez")
            return {key: loaded[key] for key in loaded.files}
    except DataError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{source}: cannot be read as .npz ({_reason(error)}); write it with numpy.savez") from error


def _reason(error: Exception) -> str:
    if "pickle" in str(error):
        return "it is no .npz, or holds Python objects, which are never loaded"
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _from_images(source: str, path: Path, inputs: Sequence[_Input]) -> Mapping[str, Array]:
    """Folder names in alphabetical order are the classes 0, 1, ...; images straight in the folder have no label.

    Images are turned to the model's channels and, where its height and width are known, resized to them.
    """
    if len(inputs) != 1 or len(inputs[0].shape) != 4:
        raise DataError(
            f"{source}: a folder of images fits a model with one image input (batch, channels, height, "
            "width); use an .npz here"
        )
    classes = sorted(child for child in path.iterdir() if child.is_dir())
    files = [(file, label) for label, child in enumerate(classes) for file in _image_files(child)]
    labelled = bool(files)
    files = files or [(file, 0) for file in _image_files(path)]
    if not files:
        raise DataError(
            f"{source}: holds no image ({', '.join(IMAGE_ENDINGS)}), neither in folders by class nor itself"
        )
    channels_first, channels, size = _image_shape(source, inputs[0].shape)
    images = [_read_image(file, channels, size) for file, _ in files]
    odd = next((i for i, image in enumerate(images) if image.shape != images[0].shape), None)
    if odd is not None:
        raise DataError(
            f"{source}: {files[odd][0].name} has shape {images[odd].shape}, {files[0][0].name} "
            f"{images[0].shape}; give the model's input size with --shape or make them equal"
        )
    stacked = np.stack(images)
    arrays: dict[str, Array] = {"x": np.moveaxis(stacked, -1, 1) if channels_first else stacked}
    if labelled:
        arrays["y"] = np.array([label for _, label in files], dtype=np.int64)
    return arrays


def _image_files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in IMAGE_ENDINGS)


def _image_shape(source: str, shape: Sequence[int | str | None]) -> tuple[bool, int, tuple[int, int] | None]:
    """Whether channels come first, how many, and (width, height) where known."""
    first, last = shape[1], shape[3]
    channels_first = first in IMAGE_CHANNELS or last not in IMAGE_CHANNELS
    channels, (height, width) = (first, shape[2:4]) if channels_first else (last, shape[1:3])
    if not isinstance(channels, int) or channels not in IMAGE_CHANNELS:
        raise DataError(f"{source}: the model takes {channels} channels; images give 1, 3 or 4, use an .npz here")
    known = (width, height) if isinstance(width, int) and isinstance(height, int) else None
    return channels_first, channels, known


def _read_image(file: Path, channels: int, size: tuple[int, int] | None) -> NDArray[np.uint8]:
    from PIL import Image, UnidentifiedImageError  # only image folders need pillow

    try:
        with Image.open(file) as opened:
            image: Image.Image = opened.convert(IMAGE_CHANNELS[channels])
    except (UnidentifiedImageError, OSError) as error:
        raise DataError(f"{file}: cannot be read as an image ({error})") from error
    if size is not None and image.size != size:
        image = image.resize(size, Image.Resampling.BILINEAR)
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels if pixels.ndim == 3 else pixels[:, :, None]
