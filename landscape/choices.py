"""Every choice that has a name, once: the library checks it, the command line lists it. Nothing here is heavy."""

from typing import Literal

# Slices.
Directions = Literal["random", "pca", "pca-first", "eigen", "eigen-ends", "axes"]
Norm = Literal["filter", "layer", "none"]
Role = Literal["bias", "norm", "vector"]
# Batch-norm statistics between points; on a straight line they can be repaired too.
BatchNorm = Literal["frozen", "recalibrate"]
LineBatchNorm = Literal["frozen", "recalibrate", "repair"]

# Curvature.
Which = Literal["largest", "smallest", "both", "magnitude"]
OperatorName = Literal["hessian", "gauss-newton", "fisher", "empirical-fisher", "preconditioned"]
ProductBy = Literal["auto", "double-backward", "central-difference"]
Basis = Literal["device", "cpu"]
Residuals = Literal["together", "each"]
Rescaling = Literal["unit", "layer", "all", "none"]
KernelForm = Literal["dense", "lanczos"]

# Training.
Method = Literal["gd", "minibatch", "sgd"]
Sampling = Literal["uniform", "cycle", "reshuffle"]
# Beside these, as the samples come.
TrainingSampling = Literal["uniform", "cycle", "reshuffle", "ordered"]
Optimizer = Literal["sgd", "adam", "adamw"]
Schedule = Literal["constant", "piecewise", "exponential", "polynomial", "plateau"]
# Those whose steps are known beforehand.
KnownSchedule = Literal["constant", "piecewise", "exponential", "polynomial"]
TrainingNoise = Literal["none", "sphere", "ball", "gaussian"]
EscapeNoise = Literal["none", "sphere", "ball", "gaussian", "sgd"]

# Paths between points.
CurveMethod = Literal["bezier", "chain", "neb", "minmax"]
PathMethod = Literal["bezier", "chain", "neb", "minmax", "idle"]
CurveSchedule = Literal["garipov", "constant", "piecewise", "exponential", "polynomial", "plateau"]
Match = Literal["weights", "activations"]
Symmetries = Literal["permutation", "scaling", "orthogonal", "all"]

# Critical points.
Begin = Literal["random", "trajectory", "points"]
Search = Literal["newton", "gradient-norm", "hisd"]

# What a run is made from, beside the user's own.
Model = Literal[
    "mlp",
    "linear",
    "cnn",
    "resnet",
    "ntk-net",
    "toy-product",
    "toy-neuron",
    "toy-relu-neuron",
    "toy-saddle",
    "toy-chain",
    "toy-path",
    "ding",
    "spin",
]
Data = Literal["digits", "breast_cancer", "circles", "moons", "mnist", "housing", "cifar10", "point"]
LossName = Literal["cross_entropy", "bce", "mse", "output"]
Dtype = Literal["float32", "float64"]
