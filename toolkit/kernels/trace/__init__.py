"""A microscope for Triton kernels: what each program reads, writes and computes, tile by tile.

    with trace() as launches:
        kernel[grid](...)
    (launch,) = launches

It needs no GPU: it watches Triton's interpreter. There it counts bytes moved and operations done,
and finds accesses out of bounds and races, which the interpreter hides by running one program after
another.

    record      what comes out: plain data
    seam        where it joins the interpreter
    launch      one launch, access by access
    arguments   whose element an address is
    shadow      who touched it before
"""

from .record import Access, KernelTrace, Problem, TracedTensor
from .seam import trace

__all__ = ["Access", "KernelTrace", "Problem", "TracedTensor", "trace"]
