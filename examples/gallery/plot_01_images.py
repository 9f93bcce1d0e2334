"""
Quick start: images
===================

A detector learns from pictures of T-shirts what T-shirts look like, and tells them from other
clothes that it has never seen.

The sample of Fashion-MNIST comes with the package. ``X_train`` are T-shirts. ``X_test`` are other
T-shirts, labelled +1, and clothes of nine other kinds, labelled -1.
"""

from skanomaly.datasets import load_fashion_mnist_sample

data = load_fashion_mnist_sample("t-shirt")
images, X, y = data.X_train[:500], data.X_test[::5], data.y_test[::5]

# %%
# By default :class:`~skanomaly.NSADetector` trains a network for 100 epochs. Ten epochs of a third
# of the images do for a first look. No label is passed.

from skanomaly import NSADetector, SelfSupervisedEncoder

encoder = SelfSupervisedEncoder(max_epochs=10, augment="grayscale")
detector = NSADetector(encoder, random_state=0).fit(images)

# %%
# ``score_samples`` is higher for more normal images, as in scikit-learn. The area under the ROC
# curve is the probability that a T-shirt scores higher than another piece of clothing. An
# isolation forest on the pixels stands beside it; after so short a training the two are about
# level. :doc:`/benchmarks/results/detection` has the figures of full trainings.

from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score

forest = IsolationForest(random_state=0).fit(images.reshape(len(images), -1))
print(f"NSA               {roc_auc_score(y, detector.score_samples(X)):.3f}")
print(f"isolation forest  {roc_auc_score(y, forest.score_samples(X.reshape(len(X), -1))):.3f}")

# %%
# The threshold flags 5% of the training images, which are scored leave-one-out so that they
# compare with new ones.

from skanomaly.plotting import ExtremeImagesDisplay, ScoreDisplay

ScoreDisplay.from_estimator(detector, X, y)

# %%
# The least normal images above, the most normal ones below, and the training images that are
# nearest to them.

ExtremeImagesDisplay.from_estimator(detector, X, n_images=6, X_train=images)
