"""How many samples to take at a time; sizes depend on the net and the device, never on timings, so that bits repeat."""

# Activations of one chunk at most, in numbers: about 128 MB of float32 on a CPU, eight times that elsewhere.
ACTIVATIONS = {"cpu": 2**25, "other": 2**28}
# On a CPU: so many activations of a chunk, but not fewer samples than that; for values, and for derivatives.
SWEPT_ACTIVATIONS, LEAST_SWEPT = 2**22, 128
CACHED_ACTIVATIONS, LEAST_SAMPLES = 2**20, 64


def for_values(activations_per_sample: int, device: str) -> int:
    """Samples at a time in a forward pass, which keeps nothing: bounded by memory.

    On a CPU by 16 MB of activations too, as larger pieces of memory come fresh from the system for every layer, page by
    page. Of six nets on one core, small convolutions to attention, five take 0.5 to 0.8 of the time so that chunks of
    128 MB take, and one as long; all are within a sixth of the time of their best size.
    """
    size = ACTIVATIONS["cpu" if device == "cpu" else "other"] // activations_per_sample
    if device == "cpu":
        size = min(size, max(LEAST_SWEPT, SWEPT_ACTIVATIONS // activations_per_sample))
    return max(1, size)


def for_derivatives(activations_per_sample: int, device: str, memory_limit: float, number_bytes: int) -> int:
    """Samples at a time in a derivative: what a processor's cache can hold, and ``memory_limit`` bytes.

    Hessian-vector products of the nets measured on one core are up to 1.5 times faster so than with all
    samples at once, and within a tenth of the best size: MLPs and CNNs on digits, MNIST and 32 × 32 images, a
    ResNet-20.
    """
    size = for_values(activations_per_sample, device)
    if device == "cpu":
        size = min(size, max(LEAST_SAMPLES, CACHED_ACTIVATIONS // activations_per_sample))
    # A graph keeps some three numbers per activation, and a product needs as many again.
    room = int(min(memory_limit, 2**62) // (6 * activations_per_sample * number_bytes))
    return max(1, min(size, room))


def even(size: int, count: int) -> int:
    """Of ``count`` samples, at most ``size`` at a time, the size that leaves no small rest.

    >>> even(541, 800), even(64, 64), even(7, 5)
    (400, 64, 5)
    """
    return -(-count // -(-count // size))
