"""The numbers of a picture for other programs: ParaView's XML and tables as text, written by plain rules."""

from typing import Any, NamedTuple
from xml.sax.saxutils import quoteattr

import numpy as np

from landscape.errors import BadInput
from landscape.plots.trajectories import runs_of
from landscape.result import Result, Variable


class Sheet(NamedTuple):
    """A function of two coordinates, and what else was measured in the same cells, (len(y), len(x))."""

    x: Variable
    y: Variable
    height: Variable
    others: list[Variable]


def sheet(result: Result) -> Sheet:
    """The first field over two coordinates and its companions. Raises BadInput where there is none."""
    arrays = {variable.name: variable for variable in result.arrays()}
    fields = [
        one
        for one in arrays.values()
        if len(one.dims) == 2
        and all(dim in arrays and arrays[dim].dims == (dim,) for dim in one.dims)
        and one.values.dtype.kind in "iufb"
    ]
    if not fields:
        raise BadInput(f"a result of kind {result.kind!r} as a surface", "a result over two coordinates")
    first = fields[0]
    y, x = (arrays[dim] for dim in first.dims)
    return Sheet(x, y, first, [one for one in fields[1:] if one.dims == first.dims])


def vts(result: Result, log: bool = False) -> str:
    """A structured grid (VTK XML, ASCII): points (x, y, height) with every field as point data.

    The x coordinate runs fastest. Readers of this format stop at NaN, so what is not finite stands as the least
    finite value, and 0 in a field ``NAME_known``; points without a height are hidden (``vtkGhostType`` 2).
    """
    one = sheet(result)
    heights, known = _heights(np.asarray(one.height.values, dtype=float), log)
    x, y = np.meshgrid(one.x.values, one.y.values)
    points = np.stack([x, y, heights], axis=-1).reshape(-1, 3)
    extent = f"0 {len(one.x.values) - 1} 0 {len(one.y.values) - 1} 0 0"
    fields = [_field(each.name, np.ravel(each.values)) for each in (one.height, *one.others)]
    fields.append(_data_array("vtkGhostType", np.where(known.ravel(), 0, 2), kind="UInt8"))
    body = (
        f'<StructuredGrid WholeExtent="{extent}"><Piece Extent="{extent}">\n'
        f"<Points>{_data_array('points', points)}</Points>\n"
        f'<PointData Scalars="{one.height.name}">{"".join(fields)}</PointData>\n'
        "</Piece></StructuredGrid>"
    )
    return _vtk("StructuredGrid", body)


def vtp(result: Any, log: bool = False) -> str:
    """The runs on the plane as poly lines (VTK XML, ASCII), each point with its loss, epoch, distance and run.

    Raises BadInput where there is no run.
    """
    runs = runs_of(result) if hasattr(result, "trajectory_alpha") else []
    if not runs:
        raise BadInput(f"a result of kind {result.kind!r} without a trajectory", "a plane with one")
    heights, known = _heights(np.concatenate([run.loss for run in runs]), log)
    flat = [np.concatenate([getattr(run, name) for run in runs]) for name in ("alpha", "beta")]
    points = np.stack([*flat, heights], axis=1)
    ends = np.cumsum([len(run.alpha) for run in runs])
    fields = {
        name: np.concatenate([getattr(run, name) for run in runs]) for name in ("loss", "residual", "epoch")
    }
    fields["run"] = np.repeat(np.arange(len(runs)), [len(run.alpha) for run in runs])
    told = "".join(_field(name, values) for name, values in fields.items())
    told += _data_array("vtkGhostType", np.where(known, 0, 2), kind="UInt8")
    body = (
        f'<PolyData><Piece NumberOfPoints="{len(points)}" NumberOfVerts="0" NumberOfLines="{len(runs)}" '
        'NumberOfStrips="0" NumberOfPolys="0">\n'
        f"<Points>{_data_array('points', points)}</Points>\n"
        f"<Lines>{_data_array('connectivity', np.arange(len(points)), kind='Int64')}"
        f"{_data_array('offsets', ends, kind='Int64')}</Lines>\n"
        f'<PointData Scalars="loss">{told}</PointData>\n'
        "</Piece></PolyData>"
    )
    return _vtk("PolyData", body)


def csv(result: Result) -> str:
    """One row for each cell, or for each value of the first coordinate: every array over the same dimensions.

    Numbers have as many digits as bring them back exactly. Raises BadInput for a result with no coordinate.
    """
    arrays = {variable.name: variable for variable in result.arrays()}
    try:
        one = sheet(result)
    except BadInput:
        dims = [each for each in arrays.values() if each.dims == (each.name,)]
        if not dims:
            raise BadInput(f"a result of kind {result.kind!r} as a table", "one over a coordinate") from None
        first = dims[0]
        others = [each for each in arrays.values() if each.dims == first.dims and each.name != first.name]
        columns = {each.name: np.asarray(each.values) for each in (first, *others)}
    else:
        x, y = np.meshgrid(one.x.values, one.y.values)
        columns = {one.x.name: x.ravel(), one.y.name: y.ravel()}
        columns.update({each.name: np.ravel(each.values) for each in (one.height, *one.others)})
    rows = [",".join(columns)]
    rows += [",".join(map(_cell, row)) for row in zip(*columns.values(), strict=True)]
    return "\n".join(rows) + "\n"


def _cell(value: Any) -> str:
    if isinstance(value, np.generic):
        value = value.item()
    text = (
        str(int(value)) if isinstance(value, bool) else str(value) if isinstance(value, str) else repr(value)
    )
    return '"' + text.replace('"', '""') + '"' if any(sign in text for sign in ',"\n') else text


def _heights(values: np.ndarray, log: bool) -> tuple[np.ndarray, np.ndarray]:
    """Heights that are all finite, and which of them are known."""
    known = np.isfinite(values) & ((values > 0) | (not log))
    found = np.where(known, values, 1.0)
    found = np.log10(found) if log else found
    return np.where(known, found, found[known].min() if known.any() else 0.0), known


def _field(name: str, values: np.ndarray) -> str:
    """Finite numbers, and beside them which of them are known where some are not."""
    finite, known = _heights(np.asarray(values, dtype=float), log=False)
    return _data_array(name, finite) + (
        "" if known.all() else _data_array(f"{name}_known", known, kind="UInt8")
    )


def _data_array(name: str, values: np.ndarray, kind: str = "Float64") -> str:
    parts = values.shape[1] if values.ndim == 2 else 1
    write = repr if kind == "Float64" else str
    text = " ".join(
        write(each) for each in np.asarray(values, dtype=float if kind == "Float64" else int).ravel().tolist()
    )
    return (
        f"<DataArray type={quoteattr(kind)} Name={quoteattr(name)} "
        f'NumberOfComponents="{parts}" format="ascii">{text}</DataArray>'
    )


def _vtk(kind: str, body: str) -> str:
    return (
        '<?xml version="1.0"?>\n'
        f'<VTKFile type="{kind}" version="1.0" byte_order="LittleEndian" header_type="UInt64">\n{body}\n</VTKFile>\n'
    )
