"""Image-classification data sets with a fixed train, validation and test split.

    data = load("cifar10", data_dir="~/tensorflow_datasets")
    data.test.images[:8], data.test.labels[:8], data.class_names, data.fingerprint

Names: any image-classification set of TFDS, `folder:PATH` (one folder a class),
`npz:FILE` (arrays) and the embedded `digits`. Shape, class names and sizes come from
the data set itself. To add a source, write its `sources.Source` and a line in
`sources.open_source`.
"""

from tf_advdefense.datasets.load import READING
from tf_advdefense.datasets.load import load
from tf_advdefense.datasets.splits import Dataset
from tf_advdefense.datasets.splits import Split

load_dataset = load

__all__ = ["READING", "Dataset", "Split", "load", "load_dataset"]
