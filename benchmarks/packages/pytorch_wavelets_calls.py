"""pytorch_wavelets: banks of analysis and synthesis filters, the dual-tree transform, and scattering."""

import numpy as np
import pywt
import torch
from pytorch_wavelets.dtcwt.coeffs import biort
from pytorch_wavelets.dtcwt.lowlevel import prep_filt
from pytorch_wavelets.dwt import lowlevel
from pytorch_wavelets.scatternet.lowlevel import ScatLayerj1_f, SmoothMagFn, mode_to_int

import gradcheck_lab as gl

torch.manual_seed(0)
WAVELET = pywt.Wavelet("db2")
LOW, HIGH = np.array(WAVELET.dec_lo), np.array(WAVELET.dec_hi)
BACK_LOW, BACK_HIGH = np.array(WAVELET.rec_lo), np.array(WAVELET.rec_hi)
ANALYSIS = [f.double() for f in lowlevel.prep_filt_afb1d(LOW, HIGH)]
ANALYSIS_2D = [f.double() for f in lowlevel.prep_filt_afb2d(LOW, HIGH)]
SYNTHESIS = [f.double() for f in lowlevel.prep_filt_sfb1d(BACK_LOW, BACK_HIGH)]
SYNTHESIS_2D = [f.double() for f in lowlevel.prep_filt_sfb2d(BACK_LOW, BACK_HIGH)]
BIORT = [prep_filt(f, 1).double() for f in biort("near_sym_a")]
ZERO, PERIODIC, SYMMETRIC = (lowlevel.mode_to_int(mode) for mode in ("zero", "periodization", "symmetric"))
SIGNAL, IMAGE = torch.randn(2, 3, 8, dtype=torch.float64), torch.randn(1, 2, 8, 8, dtype=torch.float64)
COARSE, FINE = torch.randn(2, 3, 6, dtype=torch.float64), torch.randn(2, 3, 6, dtype=torch.float64)
COARSE_2D, FINE_2D = torch.randn(1, 2, 6, 6, dtype=torch.float64), torch.randn(1, 2, 3, 6, 6, dtype=torch.float64)
COLOURS = torch.randn(1, 3, 8, 8, dtype=torch.float64)


def analysis_zero(x):
    return lowlevel.AFB1D.apply(x, *ANALYSIS, ZERO)


def analysis_periodic(x):
    return lowlevel.AFB1D.apply(x, *ANALYSIS, PERIODIC)


def analysis_symmetric(x):
    return lowlevel.AFB1D.apply(x, *ANALYSIS, SYMMETRIC)


def analysis_2d_zero(x):
    return lowlevel.AFB2D.apply(x, *ANALYSIS_2D, ZERO)


def analysis_2d_symmetric(x):
    return lowlevel.AFB2D.apply(x, *ANALYSIS_2D, SYMMETRIC)


def synthesis_zero(low, high):
    return lowlevel.SFB1D.apply(low, high, *SYNTHESIS, ZERO)


def synthesis_of_high(high):
    """The low band is a constant: only the high one has a gradient."""
    return lowlevel.SFB1D.apply(COARSE, high, *SYNTHESIS, ZERO)


def synthesis_2d_zero(low, high):
    return lowlevel.SFB2D.apply(low, high, *SYNTHESIS_2D, ZERO)


def magnitude(x, y):
    return SmoothMagFn.apply(x, y, 0.01)


def scattering(x):
    return ScatLayerj1_f.apply(x, BIORT[0], BIORT[2], mode_to_int("symmetric"), 0.01, False)


def scattering_of_colours(x):
    return ScatLayerj1_f.apply(x, BIORT[0], BIORT[2], mode_to_int("symmetric"), 0.01, True)


if __name__ == "__main__":
    gl.check(analysis_zero, SIGNAL)
    gl.check(analysis_periodic, SIGNAL)
    gl.check(analysis_symmetric, SIGNAL)
    gl.check(analysis_2d_zero, IMAGE)
    gl.check(analysis_2d_symmetric, IMAGE)
    gl.check(synthesis_zero, COARSE, FINE)
    gl.check(synthesis_of_high, FINE)
    gl.check(synthesis_2d_zero, COARSE_2D, FINE_2D)
    gl.check(magnitude, FINE, COARSE)
    gl.check(scattering, IMAGE)
    gl.check(scattering_of_colours, COLOURS)
