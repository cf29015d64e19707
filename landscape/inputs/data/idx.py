"""The IDX format of the original MNIST files: a typed array behind a short header, gzipped or not."""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from landscape.errors import BadInput
from landscape.inputs.data.files import read_bytes

# The third byte of the file names the type; the numbers are big-endian.
DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: Path) -> np.ndarray:
    """The array in an IDX file, in its own shape and in native byte order.

    Format: two zero bytes, a type byte, the number of axes in a byte, the axes' lengths as unsigned
    32-bit integers, the numbers in C order (http://yann.lecun.com/exdb/mnist).
    Raises BadInput for a file that is not IDX, or is shorter or longer than its header says.
    """
    content = _uncompressed(path)
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in DTYPES:
        raise BadInput(
            f"{path} is no IDX file: it begins with {content[:4].hex(' ') or 'nothing'}",
            "00 00, a type byte and the number of axes",
            "fetch it again",
        )
    dtype, num_axes = np.dtype(DTYPES[content[2]]), content[3]
    header = 4 + 4 * num_axes
    shape = np.frombuffer(content[4:header][: 4 * (len(content[4:header]) // 4)], ">u4").tolist()
    expected = header + dtype.itemsize * math.prod(shape)
    if len(shape) != num_axes or len(content) != expected:
        raise BadInput(f"{path} has {len(content)} bytes", f"{expected} as its header says", "fetch it again")
    return np.frombuffer(content, dtype, offset=header).reshape(shape).astype(dtype.newbyteorder("="))


def _uncompressed(path: Path) -> bytes:
    content = read_bytes(path)
    # Judged by content: browsers unzip and keep the name.
    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, OSError, zlib.error) as error:
        raise BadInput(f"{path} is damaged ({error})", "a whole gzip file", "fetch it again") from None
