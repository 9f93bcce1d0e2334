"""
A folder of your own images
===========================

Detectors take a folder as it is: they read its files and give every score with the path of its
image. No labels are needed, and no subfolders for classes.

To have a folder to read, this page writes one, of pictures of T-shirts for training and of all
sorts of clothes to score. With images of your own, begin below.
"""

import tempfile
from pathlib import Path

from PIL import Image

from skanomaly.datasets import load_fashion_mnist_sample

data = load_fashion_mnist_sample("t-shirt")
temporary = tempfile.TemporaryDirectory()  # deleted when Python ends
folder = Path(temporary.name)
for name in "train", "test":
    (folder / name).mkdir()
for i, image in enumerate(data.X_train[:300]):
    Image.fromarray(image).save(folder / "train" / f"{i:03}.png")
for i, (image, kind) in enumerate(zip(data.X_test[::25], data.class_test[::25], strict=True)):
    Image.fromarray(image).save(folder / "test" / f"{i:03}-{kind.replace('/', '-')}.png")

# %%
# ``fit(folder / "train")`` reads the files too. :func:`~skanomaly.read_images` is for what a
# detector lacks: it skips broken files, and says how images of different sizes become one size.

from skanomaly import read_images

images = read_images(folder / "train", image_size=28, resize="pad", on_error="skip")
print(len(images), "images,", len(images.skipped), "skipped")

# %%
# Five epochs do for a first look; the default is 100.

from skanomaly import NSADetector, SelfSupervisedEncoder

encoder = SelfSupervisedEncoder(max_epochs=5, augment="grayscale")
detector = NSADetector(encoder, random_state=0).fit(images)

# %%
# The table has a row for each file: its score, which is higher for more normal images, its
# p-value, its label, and the training image that is most like it. The least normal come first.

frame = detector.predict_frame(folder / "test").sort_values("score")
for column in "path", "nearest":
    frame[column] = [Path(path).name for path in frame[column]]
frame.head(8)

# %%
# The most extreme images, and the training images that are nearest to them.

from skanomaly.plotting import ExtremeImagesDisplay

ExtremeImagesDisplay.from_estimator(detector, folder / "test", n_images=5, X_train=images)

# %%
# For colleagues without Python, a report is one file for the browser: the distribution of the
# scores, the extreme images with heatmaps, and the settings.

from skanomaly import write_report

write_report(detector, folder / "test", folder / "report.html", n_images=5)
print(f"report.html has {(folder / 'report.html').stat().st_size / 1000:.0f} kB")
