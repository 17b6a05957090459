"""Image quilting: the image in patches of clean ones, sewn where they differ least."""

import keras
import numpy as np
import tensorflow as tf

from tf_advdefense.attacks.core import draws
from tf_advdefense.defenses.transforms.transform import Transform
from tf_advdefense.defenses.transforms.transform import check_range
from tf_advdefense.images import as_grey_levels


@keras.saving.register_keras_serializable("tf_advdefense")
class Quilting(Transform):
    """Images rebuilt from a database of patches, Guo et al. 2018 (arXiv:1711.00117), 4.

    Each patch of the image is replaced by one of its nearest in the database, drawn
    uniformly, and neighbouring patches are joined along the path through their overlap
    on which they differ least (Efros and Freeman 2001, doi:10.1145/383259.383296).

    Deviations: patches are joined to rows and rows to the image, all seams at once,
    where the original goes patch by patch; the nearest are the exact ones, in 8-bit
    values, where the authors' index is approximate; and the default database has 20,000
    patches instead of a million, which here would take a second per four images.

    Args:
      patch, overlap: sizes in pixels; two overlaps fit into a patch.
      neighbours: how many nearest a patch is drawn from; of 1, nothing is random.
      patches: size of the database that `adapt` cuts, and of the one that is loaded.
      database: `[m, patch, patch, channels]`, uint8, or float in [0, 1] and rounded to
        8 bits; or None, and `adapt` cuts one from training images.
    """

    def __init__(
        self,
        database=None,
        *,
        patch=5,
        overlap=2,
        neighbours=10,
        patches=20000,
        **kwargs,
    ):
        check_range("quilting", 2, 9, patch=patch)
        check_range("quilting", 1, patch // 2, overlap=overlap)
        super().__init__(**kwargs)
        self.patch, self.overlap, self.neighbours = patch, overlap, neighbours
        self.patches = patches
        self.cut = None
        if database is not None:
            self._take(database)
        check_range("quilting", 1, 10**7, patches=self.patches)
        check_range("quilting", 1, self.patches, neighbours=neighbours)
        self.random = neighbours > 1

    def adapt(self, images: np.ndarray, seed: int = 0) -> None:
        """Cuts the database at random places of clean training images.

        Args:
          images: uint8 or float in [0, 1], `[n, height, width, channels]`.
        """
        random = np.random.default_rng(seed)
        side = self.patch
        room = np.array(images.shape[:3]) - [0, side - 1, side - 1]
        places = random.integers(0, room, (self.patches, 3))
        self._take(
            np.stack([images[i, y : y + side, x : x + side] for i, y, x in places])
        )

    def _take(self, database):
        database = np.asarray(database)
        if database.ndim != 4 or database.shape[1:3] != (self.patch,) * 2:
            raise ValueError(
                f"`database` of 'quilting' must have shape [m, {self.patch}, "
                f"{self.patch}, channels]. Received: {list(database.shape)}."
            )
        if database.dtype != np.uint8:
            database = as_grey_levels(np.clip(database, 0, 1))
        self.cut, self.patches = database, len(database)

    @property
    def adapted(self) -> bool:
        """Whether it has its database."""
        return self.cut is not None or self.built

    def build(self, input_shape):
        shape = (self.patches, self.patch, self.patch, input_shape[-1])
        # Beyond that, sums of squares of 8-bit values are not exact in float32.
        if np.prod(shape[1:]) > 258:
            raise ValueError(
                "A patch of 'quilting' must have at most 258 values. Received: "
                f"{list(shape[1:])}. Choose a smaller `patch`."
            )
        self.database = self.add_weight(
            shape, "zeros", "uint8", trainable=False, autocast=False, name="database"
        )
        if self.cut is not None:
            self.database.assign(self.cut)

    def transform(self, images: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
        height, width = images.shape[1:3]
        stride = self.patch - self.overlap
        missing = [-(side - self.overlap) % stride for side in (height, width)]
        padded = tf.pad(
            images, [[0, 0], [0, missing[0]], [0, missing[1]], [0, 0]], "SYMMETRIC"
        )
        queries = tf.image.extract_patches(
            padded,
            [1, self.patch, self.patch, 1],
            [1, stride, stride, 1],
            [1, 1, 1, 1],
            "VALID",
        )
        down, across, values = queries.shape[1:]
        chosen = self._nearest(tf.reshape(queries, [-1, down * across, values]), keys)
        side, channels = self.patch, images.shape[-1]
        tiles = tf.reshape(chosen, [-1, across, side, side, channels])
        rows = _join(tiles, self.overlap)
        rows = tf.reshape(rows, [-1, down, side, rows.shape[2], channels])
        whole = _join(tf.transpose(rows, [0, 1, 3, 2, 4]), self.overlap)
        return tf.transpose(whole, [0, 2, 1, 3])[:, :height, :width]

    def _nearest(self, queries, keys):
        """One of the nearest patches of the database for each, float32 in [0, 1]."""
        database = tf.cast(tf.reshape(self.database, [self.patches, -1]), tf.float32)
        squares = tf.reduce_sum(database**2, axis=1)
        choice = draws.integer(keys, 0, (queries.shape[1],), self.neighbours)

        def pick(image):
            query, choice = image
            query = tf.round(tf.clip_by_value(query, 0.0, 1.0) * 255)
            closeness = 2 * tf.matmul(query, database, transpose_b=True) - squares
            nearest = tf.math.top_k(closeness, self.neighbours).indices
            return tf.gather(nearest, choice, batch_dims=1)

        # Image by image: of a batch, the distances would take gigabytes.
        indices = tf.map_fn(pick, (queries, choice), fn_output_signature=tf.int32)
        return tf.gather(database, indices) / 255


def _join(pieces, overlap):
    """Pieces side by side, `[n, k, length, breadth, c]` to `[n, length, total, c]`."""
    old, new = pieces[:, :-1, :, -overlap:], pieces[:, 1:, :, :overlap]
    error = tf.reduce_sum((old - new) ** 2, axis=-1)
    seams = tf.where(_beyond_seam(error)[..., tf.newaxis], new, old)
    middle, last = pieces[:, :, :, overlap:-overlap], pieces[:, -1, :, -overlap:]
    body = tf.concat([middle[:, :-1], seams], axis=3)
    body = tf.transpose(body, [0, 2, 1, 3, 4])
    length, columns = body.shape[1], body.shape[2] * body.shape[3]
    body = tf.reshape(body, [tf.shape(pieces)[0], length, columns, pieces.shape[-1]])
    return tf.concat([pieces[:, 0, :, :overlap], body, middle[:, -1], last], axis=2)


def _beyond_seam(error):
    """Where the new piece begins, bool `[..., length, overlap]`: the cheapest path.

    The path takes one column per row and moves by at most one column from row to row,
    by dynamic programming (Efros and Freeman 2001, section 2.1).
    """
    rows = tf.unstack(error, axis=-2)
    costs = [rows[0]]
    for row in rows[1:]:
        costs.append(row + tf.reduce_min(_neighbours(costs[-1]), axis=0))
    columns = tf.range(error.shape[-1])
    place = tf.argmin(costs[-1], axis=-1, output_type=tf.int32)
    places = [place]
    for cost in reversed(costs[:-1]):
        near = tf.abs(columns - place[..., tf.newaxis]) <= 1
        place = tf.argmin(tf.where(near, cost, np.inf), -1, output_type=tf.int32)
        places.append(place)
    return columns >= tf.stack(places[::-1], axis=-1)[..., tf.newaxis]


def _neighbours(cost):
    """The costs of the column itself, of the one before and of the one after."""
    none = tf.fill(tf.shape(cost[..., :1]), np.float32(np.inf))
    return tf.stack(
        [
            cost,
            tf.concat([none, cost[..., :-1]], -1),
            tf.concat([cost[..., 1:], none], -1),
        ]
    )
