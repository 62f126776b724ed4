"""What a table cannot tell about a law: said by name, since predictions may be good all the same."""

import numpy as np

from workbench.laws.law import Array, Law
from workbench.laws.robust import Robust
from workbench.laws.sample import Sample

LINE = 0.05  # spread of ln(variable) about its line in the others below which they vary as one
FLAT = 1e-4  # singular value of the standardised Jacobian, of the largest: a direction that changes nothing
FACTOR, WIDTH = 2.0, 0.5  # how wide intervals may be: high / low of a coefficient, width / value of an exponent
FEW = 3  # rows a parameter below which resampling them tells too little
SMALL = 0.05  # half width of the predictions' intervals, relative: still good


def identified(law: Law, sample: Sample, whole: Robust, point: Array) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return warnings, and the parameters that the design leaves without any value of their own.

    Args:
        law: As fitted, with its draws.
        sample: The rows fitted.
        whole: The loss.
        point: Its optimum.
    """
    found, (n, p) = _design(sample), (len(sample.log_y), len(law.parameters))
    if n < FEW * p:
        found.append(f"{n} rows for {p} parameters: the intervals are too narrow")
    if flat := _flat(law, whole, point):
        found.append(f"{', '.join(flat)}: not identified by these rows; other values predict the same here")
    found += _bounds(law)
    wide = [name for name in _wide(law) if name not in flat]
    if wide and len(law.draws):
        inner = law.form.predict(sample.variables, {name: law.draws[name].to_numpy() for name in law.parameters})
        half = float(np.median(np.ptp(law._ends(inner), axis=0) / 2 / np.median(inner, axis=0)))
        good = f"although the law itself is known within {100 * half:.2g} % at the rows: report predictions"
        verdict = good if half < SMALL else f"and neither is the law, {100 * half:.2g} % at the rows"
        found.append(f"{', '.join(wide)}: poorly identified, {verdict}")
    return tuple(found), tuple(flat)


def _design(sample: Sample) -> list[str]:
    """Name variables of two values and variables that lie on one line in their logarithms."""
    logs = {name: np.log(values) for name, values in sample.variables.items()}
    two = [name for name, values in logs.items() if len(np.unique(values.round(9))) == 2]
    found = [f"{name}: two values only, so its exponent rests on the form" for name in two]
    names, x = list(logs), np.stack([*logs.values()], axis=1)
    for i, name in enumerate(names[1:], 1):
        others = np.column_stack([np.ones(len(x)), x[:, :i]])
        slope, *_ = np.linalg.lstsq(others, x[:, i], rcond=None)
        if (x[:, i] - others @ slope).std() < LINE:
            known = " and ".join(names[:i])
            line = f"all rows lie on one line, {name} ~ {known}^{slope[-1]:.2g}, and off it none is"
            found.append(f"{known} and {name}: {line}")
    return found


def _flat(law: Law, whole: Robust, point: Array) -> list[str]:
    """Name parameters that can change together without changing any prediction."""
    bare = whole.__class__(whole.form, whole.variables, whole.log_y, np.inf, whole.weights, whole.scale)
    curvature = bare(point[None], np.zeros(1, dtype=np.intp))[2][0]
    names = [*law.form.exponents, *law.form.coefficients]
    kept = [i for i, name in enumerate(names) if law.parameters[name] != 0 or name in law.form.exponents]
    scale = np.sqrt(np.diag(curvature) + 1e-200)
    values, vectors = np.linalg.eigh((curvature / np.outer(scale, scale))[np.ix_(kept, kept)])
    weak = vectors[:, values < FLAT**2 * values.max()]
    return [names[i] for i, row in zip(kept, weak, strict=True) if (np.abs(row) > 0.1).any()]


def _bounds(law: Law) -> list[str]:
    """Name exponents that ended where their range does and coefficients that ended at zero."""
    ends = [k for k, each in law.form.exponents.items() if np.isclose(law.parameters[k], [each.low, each.high]).any()]
    zero = [name for name in law.form.coefficients if law.parameters[name] == 0]
    found = [f"{', '.join(ends)}: at the end of the range tried"] if ends else []
    return found + ([f"{', '.join(zero)}: zero, the least it may be"] if zero else [])


def _wide(law: Law) -> list[str]:
    """Name parameters whose intervals are wide."""
    widths = {k: (high - low) / abs(law.parameters[k] or 1) for k, (low, high) in law.intervals.items()}
    found = [k for k in law.form.exponents if widths[k] > WIDTH]
    return [k for k, (low, high) in law.intervals.items() if k in law.form.coefficients and high > FACTOR * low] + found
