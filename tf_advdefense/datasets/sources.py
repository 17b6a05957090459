"""Open a data set by name: any of TFDS, an image folder, or `digits`."""

import os
import pathlib
import shutil
import socket
import urllib.parse
import urllib.request

import tensorflow_datasets as tfds

from tf_advdefense import locks
from tf_advdefense.datasets.digits import Digits

_REMEDIES = (
    "Give a directory where it is prepared with `data_dir` (or TFDS_DATA_DIR), use "
    "images of your own with `dataset=folder:PATH`, or the embedded `dataset=digits`."
)
CHANNELS = {"rgb": 3, "grayscale": 1}
_CONNECT_SECONDS = 5.0


class DamagedData(ValueError):
    """Files of a data set are not what was prepared."""


def open_builder(
    name: str, data_dir: str | None = None, color: str | None = None
) -> tfds.core.DatasetBuilder:
    """Return a prepared TFDS builder.

    Args:
      name: a TFDS name such as `cifar10`, `folder:PATH`, or `digits`.
      data_dir: TFDS directory; default `TFDS_DATA_DIR`, then TFDS' own default.
      color: of a folder, "rgb", its default, or "grayscale": one channel.

    Raises:
      ValueError: no such data set, or not an image-classification one.
      FileNotFoundError: no such folder, or not prepared and not downloadable.
    """
    if name.startswith("folder:"):
        return _folder(pathlib.Path(name[7:]).expanduser(), color)
    if color is not None:
        raise ValueError(
            "`color` is for image folders; other data sets have the channels that they "
            f"were stored with. Received: color={color} for {name}."
        )
    if name == "digits":
        return _digits()
    return _tfds(name, data_dir or os.environ.get("TFDS_DATA_DIR"))


def stored(builder: tfds.core.DatasetBuilder) -> str:
    """The directory that a data set is read from."""
    is_folder = isinstance(builder, tfds.ImageFolder)
    return str(builder._data_dir if is_folder else builder.data_path)


def cache_directory() -> pathlib.Path:
    """Where this package keeps what it can make again."""
    cache = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(cache) / "tf_advdefense"


def _digits():
    tfds.disable_progress_bar()
    builder = _prepared(_digits_builder)
    if not builder.info.splits:
        raise DamagedData("`digits` is damaged: it has no splits")
    return builder


def _digits_builder():
    try:
        return Digits(data_dir=str(cache_directory()))
    except Exception as error:  # Of damaged metadata anything may come.
        raise DamagedData(f"`digits` is damaged: {_reason(error)}") from error


def forget_digits() -> None:
    """Removes what is kept of `digits`; it is made again when it is next read."""
    path = cache_directory() / "digits" / str(Digits.VERSION)
    with locks.held(path, wait=True):
        shutil.rmtree(path, ignore_errors=True)


def _folder(path, color):
    layout = "PATH/train/CLASS/*.png and PATH/test/CLASS/*.png"
    if not path.is_dir():
        raise FileNotFoundError(f"No image folder at {path}. It must hold {layout}.")
    channels = CHANNELS[color or "rgb"]
    builder = tfds.ImageFolder(str(path), shape=(None, None, channels))
    if not builder.info.splits:
        raise FileNotFoundError(f"No images in {path}. It must hold {layout}.")
    return builder


def _tfds(name, data_dir):
    directory = data_dir and os.path.expanduser(data_dir)
    if directory and not os.path.isdir(directory):
        raise FileNotFoundError(f"No data directory at {directory}. {_REMEDIES}")
    builder = _builder(name, directory)
    _check_features(builder.info.features, name)
    if builder.is_prepared():
        return builder
    _check_reachable(builder)
    return _prepared(lambda: _builder(name, directory))


def _builder(name, directory):
    try:
        return tfds.builder(name, data_dir=directory)
    except tfds.core.registered.DatasetNotFoundError as error:
        raise ValueError(
            f"Unknown data set '{name}': it is neither in TFDS' catalogue nor prepared "
            f"in {directory or 'the TFDS directory'}. {_REMEDIES}"
        ) from error
    except (ValueError, AssertionError) as error:  # Its configuration or version.
        reason = _reason(error)
        raise ValueError(f"TFDS cannot open data set '{name}': {reason}") from error
    except Exception as error:  # Of damaged metadata anything may come.
        raise DamagedData(
            f"The metadata of data set '{name}' must be as TFDS wrote them. Received: "
            f"{directory or 'the TFDS directory'}, where they are not "
            f"({_reason(error)}). Prepare it again."
        ) from error


def _reason(error):
    """The first line of an error, or its kind."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _check_features(features, name):
    if (
        "image" not in features
        or "label" not in features
        or not hasattr(features["label"], "num_classes")
    ):
        raise ValueError(
            "A data set must have the features `image` and `label` (one "
            f"class each). Received: dataset={name} with "
            f"{', '.join(features)}."
        )


def _check_reachable(builder):
    # TFDS retries an unreachable host for minutes, so ask the network first.
    host = urllib.parse.urlparse(builder.info.homepage).hostname
    if not _reachable(host):
        raise FileNotFoundError(
            f"Data set '{builder.info.full_name}' is not prepared in "
            f"{builder.data_path} and {host} cannot be reached to download it. "
            f"{_REMEDIES}"
        )


def _prepared(make):
    """A builder of `make`, prepared once, whoever else wants it at the same time."""
    builder = make()
    if not builder.is_prepared():
        with locks.held(builder.data_path, wait=True):
            builder = make()  # It knows what another has prepared by now.
            if not builder.is_prepared():
                builder.download_and_prepare()
    return builder


def _reachable(host):
    proxy = urllib.request.getproxies().get("https")
    address = urllib.parse.urlparse(proxy) if proxy else None
    target = (address.hostname, address.port or 443) if address else (host, 443)
    try:
        socket.create_connection(target, timeout=_CONNECT_SECONDS).close()
        return True
    except OSError:
        return False
