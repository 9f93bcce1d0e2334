"""Self-supervised training of an encoder (NSA section 2)."""

from __future__ import annotations

import copy
import warnings
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler

from .._base import atomic_fit
from .._sklearn_compat import Interval, StrOptions, with_callbacks
from .._training import OPTIMIZERS, DeepEstimator, SeededDraws
from .._validation import check_samples, refuse_overflow
from ._architectures import MIN_IMAGE_SIZE
from ._augmentations import PRESETS, make_augmentation
from ._base_encoder import BaseEncoder
from ._encoder_network import make_network
from ._preprocessing import MAX_DEVIATIONS
from ._pretext import PretextTask
from ._pretrained import PretrainedEncoder
from ._tiles import Tiles
from .objectives import OBJECTIVES

COLLAPSED = 0.01  # of the spread that embeddings without a common direction have


class SelfSupervisedEncoder(DeepEstimator, BaseEncoder):
    """Learn features of images or tables from augmented views, without labels (NSA section 2).

    ``fit`` trains a network so that two random views of a sample agree; ``transform`` returns the
    outputs of its layers, one group of columns per layer. Images are arrays (n, height, width),
    (n, height, width, channels) or (n, channels, height, width) of uint8, or of floats in [0, 1];
    a 2-D X is a table unless `image_shape` says that its rows are flattened images.

    Started by ``torchrun``, ``fit`` trains on all processes together and ends with the same
    encoder in each of them.

    Parameters
    ----------
    objective : str or callable, default="simclr"
        What the views are trained for: "simclr", "simclr-shifted", "simsiam", "byol" or
        "mean-shifted". SimCLR learns fastest in short budgets; SimSiam and BYOL,
        which need no negative samples, are the paper's choice for thousands of epochs.
        "simclr-shifted" is the paper's SimCLR(-): rotations of an image by 90 degrees are
        negatives of it. "mean-shifted" is for pretrained backbones
        (:class:`~skanomaly.encoders.MeanShifted`). A callable, such as a subclass of
        ``skanomaly.encoders.Objective``, is called with the embedding's width and the two
        normalisations, and returns the objective.
    normalize : {"both", "embedding", "projection"} or None, default="both"
        Which of the paper's two normalisations to use: of the embedding, before the projector
        (section 2.3), and of the projection, before the predictor (section 2.4). For SimCLR the
        second has no effect. Table 3 compares the four settings.
    backbone : str, torch.nn.Module or PretrainedEncoder, default="auto"
        The network. "auto" is "compact" for images, made for training on CPUs, and "mlp" for
        tables. "resnet18", "resnet34" and "resnet50" keep the resolution in their first layers
        for images of up to 64 pixels, as in the paper, and have torchvision's stem for larger
        ones; the other names are of torchvision's classifiers. A module is copied, and trained
        from the weights that it has; of a :class:`PretrainedEncoder` the preprocessing is kept
        as well.
    layers : {"blocks", "all", "last"} or list of str, default="blocks"
        Layers that ``transform`` returns. "blocks" are ``conv_block_n`` (flattened) and
        ``conv_block_n (1x1)`` (averaged over positions) of images, ``columns`` (standardised)
        and ``dense_block_n`` of tables.
        "all" adds ``head_layer_n``, the projector's layers, which the paper's ensemble has too but
        which detect little after SimCLR. "last" is the last block. A list may also name submodules
        of the backbone, with " (1x1)" to average over positions, and "embedding", what the
        backbone returns.
    max_map_width : int or None, default=128
        Flattened maps with more values are projected to this many by a random projection that
        keeps angles on average, so that scoring them is cheap. None keeps all values.
    augment : str, callable or torch.nn.Module, optional
        Views of images: "color", "grayscale", "digits" (never mirrored) or "texture" (any
        orientation). A callable ``augment(batch, generator)`` returns a random view of a batch,
        on its device: floats of shape (n, channels, height, width) in [0, 1], or standardised
        columns (n, n_features). A callable of one argument, such as a module of kornia, may draw
        from torch's global generator: its draws are taken from a seeded generator instead. None
        is "color" or :class:`ColumnCorruption`.
    image_shape : tuple (height, width) or (height, width, channels), optional
        Shape of the images whose pixels are the rows of a 2-D X.
    tile_size : int, optional
        Side of the squares, in pixels, on which the network is trained instead of whole images; at
        least 8. This keeps small details of large images: "compact" then encodes whole images at
        their full resolution instead of 64 pixels. The memory of training depends on the tiles, not
        on the images. `layers` are averaged over positions; ``transform_map`` returns maps. None
        trains on whole images.
    temperature : float, default=0.2
        Divides the similarities in the losses of SimCLR and "mean-shifted".
    max_epochs : int or None, default=100
        Passes over the training samples. With 0 the network keeps its random weights, which is a
        baseline worth comparing with. None lets `max_time` alone decide.
    max_time : float, optional
        Seconds of training at most. The learning rate then decays over the time, and results are
        no longer the same on each run.
    batch_size : int, default=64
        Samples per step, of all processes together.
    accumulation_steps : int, default=1
        Parts into which a batch is split to save memory; their gradients are added up. Contrastive
        objectives find negatives, and batch normalisation its statistics, within the parts. When
        the device runs out of memory, it is doubled, with a warning.
    optimizer : {"adamw", "adam", "sgd"}, default="adamw"
        "sgd" has Nesterov momentum 0.9.
    learning_rate : float, default=3e-3
        Largest step size; it decays to 0 along a cosine.
    warmup : float, default=0.0
        Share of the training, below 1, in which the learning rate rises from 0.
    weight_decay : float, default=1e-4
        Weight decay, decoupled for "adamw".
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Arithmetic of the backbone in training. "auto" is bfloat16 where the device is faster with
        it: GPUs, and CPUs with such instructions. Features and scores are float32 or better.
    compile : bool, default=False
        Compile the network with ``torch.compile``, which needs a C++ compiler and pays off in long
        trainings on GPUs. Networks that draw random numbers, such as for dropout, are not compiled.
    callbacks : list of callable, optional
        Functions that are called after each epoch with ``history_`` so far; training ends when one
        returns True, as :class:`EarlyStopping` does. Objects with a method ``record``, such as
        :class:`~skanomaly.diagnostics.EmbeddingDiagnostics`, are passed the encoder as it is, and
        return a dict that is added to ``history_``.
        scikit-learn's own callbacks are set with ``set_callbacks``.
    checkpoint : path-like, optional
        File that keeps the state of the training. If the process is killed, the same call resumes
        the training, and on the same CPU ends with the same weights. Once training has ended, the
        call returns the trained network at once. A checkpoint that is damaged or belongs to
        another training is refused; continuing with ``partial_fit`` or `warm_start` is another
        training, too.
    warm_start : bool, default=False
        ``fit`` continues from the network of the last fit, with its backbone and objective and a
        fresh optimizer.
    device : str, default="auto"
        "auto" trains on the CUDA device, if there is one, and else on the CPU. The fitted
        network is kept on the CPU and moved for each ``transform``; where the device is missing,
        as on another machine, ``transform`` runs on the CPU.
    random_state : int, RandomState instance or None, default=None
        Seed of weights, order and views. With an int, refits on the same device are identical.
    verbose : int, default=0
        1 shows one progress bar, or about ten lines where standard error is not a terminal.

    Attributes
    ----------
    network_ : torch.nn.Module
        The trained network, on the CPU.
    scaler_ : StandardScaler
        Standardises the columns of tables; absent for images.
    layer_slices_ : dict of str to slice
        Columns of ``transform`` that belong to each layer.
    history_ : list of dict
        Per epoch: the mean ``loss``; ``embedding_std``, the spread of the normalised embedding (0
        is a collapse, 1 a uniform distribution); ``kappa``, the concentration of its directions
        (section 2.2); ``learning_rate``; ``seconds``; and ``samples_per_second``.
    sample_shape_ : tuple
        (channels, height, width) of the images or (n_features,).
    n_features_in_ : int
        Number of values per sample.
    feature_names_in_ : array of str
        Column names, if the training samples had any.

    See Also
    --------
    PretrainedEncoder : Features of a network that is trained already.
    NSADetector : Anomaly detector that trains this encoder and scores its features.

    References
    ----------
    .. [1] M. Yousef, M. Ackermann, U. Kurup and T. Bishop, "No Shifted Augmentations (NSA):
       compact distributions for robust self-supervised Anomaly Detection", 2022.
       `arXiv:2203.10344 <https://arxiv.org/abs/2203.10344>`_

    Examples
    --------
    >>> import numpy as np
    >>> from skanomaly import SelfSupervisedEncoder
    >>> images = np.random.default_rng(0).integers(0, 256, (20, 8, 8), dtype=np.uint8)
    >>> encoder = SelfSupervisedEncoder(layers="last", max_epochs=1, random_state=0).fit(images)
    >>> encoder.transform(images).shape
    (20, 128)
    """

    _parameter_constraints: dict = {
        **DeepEstimator._parameter_constraints,
        "objective": [StrOptions(set(OBJECTIVES)), callable],
        "normalize": [StrOptions({"both", "embedding", "projection"}), None],
        "backbone": [str, torch.nn.Module, PretrainedEncoder],
        "layers": [StrOptions({"blocks", "all", "last"}), list],
        "max_map_width": [Interval(Integral, 1, None, closed="left"), None],
        "augment": [StrOptions(set(PRESETS)), callable, None],
        "image_shape": [tuple, None],
        "tile_size": [Interval(Integral, MIN_IMAGE_SIZE, None, closed="left"), None],
        "temperature": [Interval(Real, 0, None, closed="neither")],
        "accumulation_steps": [Interval(Integral, 1, None, closed="left")],
        "optimizer": [StrOptions(set(OPTIMIZERS))],
        "warmup": [Interval(Real, 0, 1, closed="left")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "compile": ["boolean"],
        "warm_start": ["boolean"],
    }

    def __init__(
        self,
        objective="simclr",
        *,
        normalize="both",
        backbone="auto",
        layers="blocks",
        max_map_width=128,
        augment=None,
        image_shape=None,
        tile_size=None,
        temperature=0.2,
        max_epochs=100,
        max_time=None,
        batch_size=64,
        accumulation_steps=1,
        optimizer="adamw",
        learning_rate=3e-3,
        warmup=0.0,
        weight_decay=1e-4,
        precision="auto",
        compile=False,
        callbacks=None,
        checkpoint=None,
        warm_start=False,
        device="auto",
        random_state=None,
        verbose=0,
    ):
        super().__init__(
            max_epochs=max_epochs,
            max_time=max_time,
            batch_size=batch_size,
            learning_rate=learning_rate,
            precision=precision,
            callbacks=callbacks,
            checkpoint=checkpoint,
            device=device,
            random_state=random_state,
            verbose=verbose,
        )
        self.objective = objective
        self.normalize = normalize
        self.backbone = backbone
        self.layers = layers
        self.max_map_width = max_map_width
        self.augment = augment
        self.image_shape = image_shape
        self.tile_size = tile_size
        self.temperature = temperature
        self.accumulation_steps = accumulation_steps
        self.optimizer = optimizer
        self.warmup = warmup
        self.weight_decay = weight_decay
        self.compile = compile
        self.warm_start = warm_start

    @atomic_fit
    @with_callbacks
    def fit(self, X, y=None):
        """Train the network.

        Parameters
        ----------
        X : images or table
            Mostly normal samples, at least 2.
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            If X is not a table or images as described above, or if backbone, layers, objective
            or device do not fit it, or the checkpoint is damaged or of another training.
        OSError
            If the checkpoint cannot be written or read.
        MemoryError
            If the device has too little memory for 2 samples.
        FloatingPointError
            If training diverges.
        KeyboardInterrupt
            If interrupted before the first epoch ended.

        Warns
        -----
        ConvergenceWarning
            If the embedding collapsed to one direction, or if training was interrupted after its
            first epoch: the encoder can then be used as it is.
        UserWarning
            If batches were split for lack of memory, or the checkpoint can no longer be written.
        """
        return self._train(X, go_on=self.warm_start and hasattr(self, "network_"))

    @atomic_fit
    @with_callbacks
    def partial_fit(self, X, y=None):
        """Train the network for another `max_epochs` on X, from its weights as they are.

        The first call is that of ``fit``. Network, layers, and the scale of a table's columns stay
        as the first call chose them.

        Parameters
        ----------
        X : images or table
            Mostly normal samples, at least 2, of the shape that was fitted.
        y : ignored

        Returns
        -------
        self
        """
        return self._train(X, go_on=hasattr(self, "network_"))

    def _train(self, X, *, go_on: bool):
        self._check_training_parameters()
        X = check_samples(self, X, reset=not go_on, image_shape=self.image_shape)
        if len(X) < 2:
            raise ValueError(f"Found {len(X)} sample(s), a minimum of 2 is required to train")
        device, seed = self._start_training()
        if not go_on:
            self.__dict__.pop("scaler_", None)  # of an earlier fit on a table
            if X.ndim == 2:
                refuse_overflow(X)
                self.scaler_ = StandardScaler().set_output(transform="default").fit(X)
        samples = self._scale(X)
        samples = samples.astype(np.float32) if X.ndim == 2 else samples
        trained: Any = samples if self.tile_size is None else self._cut(samples, self.tile_size)
        with SeededDraws(seed):
            if go_on:
                network = copy.deepcopy(self.network_).to(torch.float32)
            else:
                backbone = self.backbone
                if isinstance(backbone, PretrainedEncoder):
                    backbone = backbone._load(trained.shape[1:])
                network = make_network(
                    trained, backbone, self.objective, self.normalize, self.temperature
                )
                self.layer_slices_ = self._prepare_layers(network, trained)
            task = PretextTask(network, make_augmentation(trained, self.augment, device))
        self._run_training(
            task.to(device).to(memory_format=torch.channels_last),
            trained,
            X,
            self._make_recipe(
                accumulation_steps=self.accumulation_steps,
                optimizer=self.optimizer,
                weight_decay=self.weight_decay,
                warmup=self.warmup,
                compile=self.compile,
            ),
            device=device,
            seed=seed,
            fitted_attributes=lambda task: {
                "network_": self._make_ready(copy.deepcopy(task.network), samples)
            },
            initial_network=network if go_on else None,
        )
        self._warn_if_collapsed()
        advice = f"pass a learning_rate below {self.learning_rate:g}"
        self._keep_network(network, trained, advice)
        return self

    def _cut(self, X: np.ndarray, size: int) -> Tiles:
        if X.ndim == 2:
            raise ValueError(f"tile_size={size} is for images, but X is a table")
        if min(X.shape[2:]) < size:
            height, width = X.shape[2:]
            raise ValueError(
                f"tile_size={size}, but the images have {height} x {width} pixels; pass "
                f"at most {min(height, width)}"
            )
        if isinstance(self.backbone, PretrainedEncoder) and self.backbone._is_resizing:
            raise ValueError(
                f"tile_size={size}, but the backbone resizes images; pass a "
                "PretrainedEncoder of a module, without an image_size"
            )
        return Tiles(X, size)

    def _scale(self, X):
        if X.ndim == 4:
            return X
        with np.errstate(over="ignore"):  # what overflows is clipped
            X = self.scaler_.transform(X.astype(np.float64, copy=False))
        return X.clip(-MAX_DEVIATIONS, MAX_DEVIATIONS)

    def _warn_if_collapsed(self) -> None:
        if self.history_ and self.history_[-1]["embedding_std"] < COLLAPSED:
            warnings.warn(
                "the embedding collapsed to one direction "
                f"(embedding_std={self.history_[-1]['embedding_std']:.2g}): try normalize='both', "
                "objective='simclr', a larger batch_size or a smaller learning_rate",
                ConvergenceWarning,
                stacklevel=5,
            )
