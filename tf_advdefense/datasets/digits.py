"""`digits`: 1,797 handwritten digits that need no network, as a TFDS builder."""

import numpy as np
import tensorflow_datasets as tfds


class Digits(tfds.core.GeneratorBasedBuilder):
    """scikit-learn's bundled 8x8 digits, up-sampled to 32x32x3.

    Every fifth image is test (359), the others train (1,438). Each pixel is
    repeated 4x4 times and over three channels: exact on every machine, so that the
    fingerprint is the same everywhere.
    """

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            description="scikit-learn's bundled digits, up-sampled to 32x32x3.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(32, 32, 3)),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
            ),
            supervised_keys=("image", "label"),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        del dl_manager  # Nothing to download.
        return {
            "train": self._generate_examples(test=False),
            "test": self._generate_examples(test=True),
        }

    def _generate_examples(self, test):
        from sklearn import datasets  # Slow to import; only needed to prepare.

        bunch = datasets.load_digits()
        for index, (image, label) in enumerate(zip(bunch.images, bunch.target)):
            if (index % 5 == 4) == test:
                grey = np.round(image * (255 / 16)).astype(np.uint8)
                grey = grey.repeat(4, axis=0).repeat(4, axis=1)
                yield (
                    index,
                    {"image": np.stack([grey] * 3, axis=-1), "label": int(label)},
                )
