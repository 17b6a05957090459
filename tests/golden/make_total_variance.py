"""Makes total_variance.npz: images denoised by scikit-image's Chambolle iteration.

pip install scikit-image==0.26.0
python tests/golden/make_total_variance.py
"""

import pathlib

import numpy as np
from skimage.restoration import denoise_tv_chambolle

random = np.random.default_rng(0)
blocks = np.kron(random.random((3, 5, 4, 3)), np.ones((1, 4, 4, 1)))
images = 0.2 + 0.6 * blocks + 0.08 * random.standard_normal(blocks.shape)
images = np.clip(images, 0, 1).astype(np.float32)
# Its default, eps=2e-4, stops some hundredths away from the minimum.
denoised = {
    f"denoised_{weight}": np.stack(
        [
            denoise_tv_chambolle(
                image.astype(np.float64),
                weight,
                eps=1e-12,
                max_num_iter=20000,
                channel_axis=-1,
            )
            for image in images
        ]
    ).astype(np.float32)
    for weight in (0.03, 0.1)
}
path = pathlib.Path(__file__).with_name("total_variance.npz")
np.savez_compressed(path, images=images, **denoised)
