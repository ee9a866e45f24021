"""Benchmarks: each prints figures for people and, with --json, ends with one object on the last line; `ratio` is ours over naive."""
