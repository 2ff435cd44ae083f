"""Kernels: the libraries of this part's chapters."""
