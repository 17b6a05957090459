"""Writes a TFDS data set of any size, for trying what does not fit in memory.

    python docs/make_large.py large --side=224 --train=18000 --test=2000

Its images are stripes of ten directions under noise, which a network learns in an
epoch. `--dataset=stripes --data_dir=large` then reads it.
"""

import argparse

import numpy as np
import tensorflow_datasets as tfds

_CLASSES = 10


def make(directory: str, side: int, sizes: dict[str, int], shards: int) -> None:
    """Writes the set `stripes` into a directory of TFDS data sets."""

    class Stripes(tfds.core.GeneratorBasedBuilder):
        """Stripes of ten directions."""

        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = {
                "image": tfds.features.Image(shape=(side, side, 3)),
                "label": tfds.features.ClassLabel(num_classes=_CLASSES),
            }
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, dl_manager):
            return {split: self._generate_examples(split) for split in sizes}

        def _generate_examples(self, split):
            rows, columns = np.mgrid[:side, :side] * (2 * np.pi * 8 / side)
            noise = np.random.default_rng(len(split))
            kept = noise.integers(0, 64, (8, side, side, 3))
            for i in range(sizes[split]):
                label = i % _CLASSES
                angle = np.pi * label / _CLASSES
                phase = noise.uniform(0, 2 * np.pi)
                waves = np.cos(np.cos(angle) * columns + np.sin(angle) * rows + phase)
                image = 96 + 64 * waves[..., np.newaxis] + kept[i % len(kept)]
                yield i, {"image": image.astype(np.uint8), "label": label}

    config = tfds.download.DownloadConfig(num_shards=shards)
    Stripes(data_dir=directory).download_and_prepare(download_config=config)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory")
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--train", type=int, default=18_000)
    parser.add_argument("--test", type=int, default=2_000)
    parser.add_argument("--shards", type=int, default=8)
    given = parser.parse_args()
    numbers = {"train": given.train, "test": given.test}
    make(given.directory, given.side, numbers, given.shards)
